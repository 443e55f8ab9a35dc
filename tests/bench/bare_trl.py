"""What a user of TRL writes: LoRA on chats, assistant turns only. The peer of bp-train in `make bench`.

python tests/bench/bare_trl.py MODEL RECORDS STEPS OUT: prints the seconds from its start to the first step.
"""

from __future__ import annotations

import json
import sys
import time

BEGUN = time.monotonic()


def main(model: str, records: str, steps: str, out: str) -> None:
    """Train."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)

    class First(TrainerCallback):  # type: ignore[misc]
        """Says when the first step is done, and keeps the losses."""

        losses: list[float] = []  # noqa: RUF012

        def on_log(
            self, args: object, state: object, control: object, logs: dict[str, float], **_: object
        ) -> None:
            if "loss" in logs:
                if not self.losses:
                    print(time.monotonic() - BEGUN, flush=True)
                self.losses.append(logs["loss"])

    with open(records, encoding="utf-8") as file:
        rows = [{"messages": json.loads(line)["messages"]} for line in file]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            out, per_device_train_batch_size=4, gradient_accumulation_steps=4, max_steps=int(steps),
            learning_rate=1e-3, lr_scheduler_type="cosine", warmup_steps=0.1, max_length=512,
            assistant_only_loss=True, optim="adamw_torch", seed=42, use_cpu=True, bf16=False,
            activation_checkpointing=False, logging_steps=1, report_to="none", save_strategy="no",
            disable_tqdm=True,
        ),
        callbacks=[First()],
    )  # fmt: skip
    trainer.train()
    trainer.save_model(out)
    print(json.dumps(First.losses))


if __name__ == "__main__":
    main(*sys.argv[1:])

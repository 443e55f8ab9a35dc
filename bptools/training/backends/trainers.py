"""The trainers: those of TRL and transformers, evaluating by token, taking rows as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.core.errors import UsageError
from bptools.training.backends.arguments import build, common
from bptools.training.rows import IGNORED

if TYPE_CHECKING:
    from bptools.training.settings import Settings


def make_trainer(
    settings: Settings,
    model: Any,
    tokenizer: Any,
    train: Any,
    evaluation: Any,
    *,
    output: str,
    micro: int,
    batch: int,
    device: str,
    dtype: str,
    peft_config: Any = None,
    reference: Any = None,
) -> Any:
    """Return the trainer of the settings' method; `train` and `evaluation` are rows (rows.py) or blocks.

    micro, batch: rows per forward pass and per optimizer step. evaluation: may be None.
    """
    arguments = common(settings, output=output, micro=micro, batch=batch, device=device, dtype=dtype)
    arguments["max_length"] = settings.max_length
    given = {
        "model": model,
        "train_dataset": train,
        "eval_dataset": evaluation,
        "processing_class": tokenizer,
    }
    method = settings.method
    if method == "pretrain":
        return _pretraining(arguments, given)
    if method in ("sft", "cpt"):
        trainer = _supervised(settings, arguments, given, peft_config)
    else:
        preference = {"dpo": _dpo, "orpo": _orpo, "kto": _kto}[method or "dpo"]
        trainer = preference(settings, arguments, given, peft_config, reference)
    if settings.quant not in ("nf4", "int8"):
        _train_in_float32(trainer.model)
    return trainer


def _train_in_float32(model: Any) -> None:
    """Keep what is trained in float32: in 16 bits most of Adam's steps are less than half a unit and vanish.

    PEFT does so with an adapter, but not with whole modules that are saved beside it.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.float()


def _supervised(
    settings: Settings, arguments: dict[str, Any], given: dict[str, Any], peft_config: Any
) -> Any:
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class Trainer(_with_embedding_rate(SFTTrainer)):  # type: ignore[misc]
        evaluate = _evaluate_by_token
        data_collator: Any

        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset  # tokenized and packed already

        def get_eval_dataloader(self, *given: Any) -> Any:
            # held-out rows are not packed: they come padded, with a mask
            collator: Any = self.data_collator
            self.data_collator = self.padded_collator
            try:
                return super().get_eval_dataloader(*given)
            finally:
                self.data_collator = collator

    arguments |= {"packing": settings.packing, "packing_strategy": "bfd"}
    if not settings.packing:
        arguments["max_length"] = None  # rows are cut already
    trainer = Trainer(args=build(SFTConfig, arguments), peft_config=peft_config, **given)
    trainer.embedding_learning_rate = settings.embedding_learning_rate
    trainer.padded_collator = DataCollatorForLanguageModeling(pad_token_id=trainer._tokenizer.pad_token_id)
    return trainer


def _pretraining(arguments: dict[str, Any], given: dict[str, Any]) -> Any:
    from transformers import Trainer, TrainingArguments

    from bptools.training.pretraining import collate

    class Pretrainer(Trainer):  # type: ignore[misc]
        evaluate = _evaluate_by_token

    del arguments["max_length"]
    return Pretrainer(args=build(TrainingArguments, arguments), data_collator=collate, **given)


def _dpo(
    settings: Settings, arguments: dict[str, Any], given: dict[str, Any], peft_config: Any, reference: Any
) -> Any:
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset  # tokenized already, by the rule of TRL

    arguments |= {"beta": settings.beta, "precompute_ref_log_probs": settings.precompute_reference}
    return Trainer(args=build(DPOConfig, arguments), peft_config=peft_config, ref_model=reference, **given)


def _kto(
    settings: Settings, arguments: dict[str, Any], given: dict[str, Any], peft_config: Any, reference: Any
) -> Any:
    from trl import KTOConfig, KTOTrainer

    class Trainer(KTOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
            if not self.calculate_KL:
                return dataset  # tokenized already
            return dataset.map(_mismatched, batched=True, batch_size=args.per_device_train_batch_size)

    if arguments["per_device_train_batch_size"] == 1:
        raise UsageError(
            "kto compares the rows of a micro batch; --micro-batch and --batch-size take 2 or more"
        )
    arguments["beta"] = settings.beta
    return Trainer(args=build(KTOConfig, arguments), peft_config=peft_config, ref_model=reference, **given)


def _mismatched(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Give each prompt of a micro batch the answer of the one before, as TRL does, to estimate KL from."""
    answers = rows["completion_ids"]
    return {"KL_completion_ids": answers[-1:] + answers[:-1]}


def _orpo(
    settings: Settings, arguments: dict[str, Any], given: dict[str, Any], peft_config: Any, reference: Any
) -> Any:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class Trainer(ORPOTrainer):  # type: ignore[misc]
        def tokenize_row(self, feature: dict[str, Any], *rest: Any) -> dict[str, list[int]]:
            return _pair(feature)  # TRL's own takes text, and ends it with one eos more

    arguments["beta"] = settings.beta
    return Trainer(args=build(ORPOConfig, arguments), peft_config=peft_config, **given)


def _pair(row: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return a row of tokens under the names of TRL's trainer of orpo."""
    prompt, made = row["prompt_ids"], {}
    for side in ("chosen", "rejected"):
        answer = row[f"{side}_ids"]
        made[f"{side}_input_ids"] = prompt + answer
        made[f"{side}_attention_mask"] = [1] * len(prompt + answer)
        made[f"{side}_labels"] = [IGNORED] * len(prompt) + answer
    return made


def _with_embedding_rate(base: Any) -> Any:
    """Return a trainer class that gives embeddings and head a learning rate of their own, if one is set."""

    class WithEmbeddingRate(base):  # type: ignore[misc]
        embedding_learning_rate: float | None = None

        def create_optimizer(self, *given: Any) -> Any:
            optimizer = super().create_optimizer(*given)
            rate = self.embedding_learning_rate
            if rate is None:
                return optimizer
            names = ("embed_tokens", "lm_head", "wte")
            apart = {
                id(parameter)
                for name, parameter in self.model.named_parameters()
                if parameter.requires_grad and any(part in name for part in names)
            }
            for group in list(optimizer.param_groups):
                moved = [parameter for parameter in group["params"] if id(parameter) in apart]
                if moved:
                    group["params"] = [
                        parameter for parameter in group["params"] if id(parameter) not in apart
                    ]
                    settings = {name: value for name, value in group.items() if name != "params"}
                    optimizer.add_param_group({**settings, "params": moved, "lr": rate})
            return optimizer

    return WithEmbeddingRate


def _evaluate_by_token(self: Any, *_: Any, **__: Any) -> dict[str, float]:
    """Return {eval_loss, eval_tokens}: nats per token that is learnt, over all of them.

    Transformers averages the means of batches, which hangs on the batch size and gives short answers the
    weight of long ones.
    """
    import torch

    training = self.model.training
    self.model.eval()
    one = torch.tensor(1.0, device=self.args.device)
    total, tokens = 0.0, 0
    with torch.no_grad(), self.compute_loss_context_manager():
        for batch in self.get_eval_dataloader():
            batch = self._prepare_inputs(batch)
            tokens += int((batch["labels"][..., 1:] != -100).sum())
            total += float(self.compute_loss(self.model, batch, num_items_in_batch=one))
    for measured in getattr(self, "_metrics", {}).values():
        measured.clear()
    metrics = {"eval_loss": total / max(1, tokens), "eval_tokens": tokens}
    if self.is_in_train:  # not that of the model without its adapter: trackers know one curve
        self.log(dict(metrics))
    self.model.train(training)
    self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
    return metrics

"""bp-train: records to an adapter, on any machine.

bp-train clean.jsonl --preset nano
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, Optional

from bptools.commands.shared import (
    ChatTemplate,
    Device,
    Number,
    Real,
    Revision,
    RoleMap,
    TemplateKwargs,
    Text,
    Texts,
    Threads,
)
from bptools.core import cli
from bptools.core.options import option, reading_command
from bptools.core.pipeline_settings import PipelineSettings

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@reading_command()
def train(
    reading: PipelineSettings,
    preset: Annotated[Text, option("--preset", metavar="NAME", help="Train this model with the settings that suit it; bptools presets lists them.")] = None,
    model: Annotated[Text, option("--model", metavar="MODEL", help="Train this model: nano, a folder, or OWNER/NAME of the hub.")] = None,
    revision: Revision = None,
    tokenizer: Annotated[Text, option("--tokenizer", metavar="FOLDER", help="Another tokenizer than the model's.")] = None,
    adapter: Annotated[Text, option("--adapter", metavar="FOLDER", help="Go on with this adapter instead of a fresh one.")] = None,
    method: Annotated[Optional[Literal["sft", "cpt", "dpo", "orpo", "kto", "pretrain"]], option("--method", help="How to learn; default: what the shape of the records asks for.")] = None,
    style: Annotated[Literal["fast", "balanced", "quality"], option("--style", help="What the preset's settings lean to.")] = "balanced",
    beta: Annotated[float, option("--beta", min=0, metavar="B", help="How near dpo, orpo and kto stay to the reference.")] = 0.1,
    ref_model: Annotated[Text, option("--ref-model", metavar="MODEL", help="The reference of dpo and kto; default: the model before training.")] = None,
    precompute_reference: Annotated[bool, option("--precompute-reference", "--precompute-ref-log-probs", help="Score the records with the reference once, before training.")] = False,
    full: Annotated[bool, option("--full", help="Train all weights instead of an adapter.")] = False,
    rank: Annotated[Number, option("--rank", "--lora-r", min=1, metavar="R", help="Rank of the adapter.")] = None,
    alpha: Annotated[Real, option("--alpha", "--lora-alpha", min=0.0001, metavar="A", help="Scale of the adapter; it counts A/R.")] = None,
    dropout: Annotated[float, option("--dropout", "--lora-dropout", min=0, max=0.9, metavar="P", help="Dropout before the adapter.")] = 0.0,
    targets: Annotated[Text, option("--targets", "--lora-target-modules", metavar="WHICH", help="Modules that get an adapter: all-linear, names with commas, or a regular expression.")] = None,
    rslora: Annotated[bool, option("--rslora", "--use-rslora", help="Scale by A/sqrt(R).")] = False,
    dora: Annotated[bool, option("--dora", "--use-dora", help="Learn direction and magnitude apart.")] = False,
    neftune: Annotated[Real, option("--neftune", "--neftune-noise-alpha", min=0, metavar="A", help="Add noise to the embeddings.")] = None,
    modules_to_save: Annotated[Texts, option("--modules-to-save", metavar="NAME", help="Train this module whole, for new words; may be repeated.")] = None,
    quant: Annotated[Literal["auto", "none", "nf4", "int8"], option("--quant", help="How the frozen weights are held on a GPU.")] = "auto",
    device: Device = "auto",
    dtype: Annotated[Text, option("--dtype", metavar="TYPE", help="float32, bfloat16 or float16; default: what the device computes in.")] = None,
    threads: Threads = None,
    trust_remote_code: Annotated[bool, option("--trust-remote-code", help="Run code that comes with the model; needs --revision.")] = False,
    chat_template: ChatTemplate = "auto",
    template_kwargs: TemplateKwargs = None,
    max_length: Annotated[Number, option("--max-length", "--max-seq-length", min=8, metavar="N", help="Longest row in tokens.")] = None,
    long: Annotated[Optional[Literal["truncate", "drop", "split"]], option("--long", help="What to do with longer records.")] = None,
    packing: Annotated[Optional[bool], option("--packing/--no-packing", help="Put several records into one row.")] = None,
    loss_on: Annotated[Literal["assistant", "all"], option("--loss-on", help="What of a chat is learnt.")] = "assistant",
    max_records: Annotated[Number, option("--max-records", "--max-samples", min=1, metavar="N", help="Train on the first N records.")] = None,
    role_map: RoleMap = None,
    eval: Annotated[Texts, option("--eval", metavar="SOURCE", help="Evaluate on these records instead of a part of the others; may be repeated.")] = None,
    eval_split: Annotated[str, option("--eval-split", metavar="SHARE|N", help="How much to hold out for evaluation, at most 200 records of a share.")] = "2%",
    eval_every: Annotated[Text, option("--eval-every", "--eval-steps", metavar="N|at:N,N|never", help="Evaluate every N steps, or at these, and at the end; or never.")] = None,
    early_stopping: Annotated[Number, option("--early-stopping", min=1, metavar="N", help="Stop after N evaluations without a better one.")] = None,
    epochs: Annotated[Real, option("--epochs", "--num-train-epochs", min=0.0001, metavar="X", help="How often to go through the records.")] = None,
    steps: Annotated[Number, option("--steps", "--max-steps", min=1, metavar="N", help="Optimizer steps, instead of --epochs.")] = None,
    batch_size: Annotated[Number, option("--batch-size", min=1, metavar="N", help="Records per optimizer step, however many fit at once.")] = None,
    micro_batch: Annotated[str, option("--micro-batch", "--per-device-train-batch-size", metavar="N|auto", help="Rows per forward pass.")] = "auto",
    learning_rate: Annotated[Real, option("--learning-rate", "--lr", min=0, metavar="R", help="Learning rate; default: by preset, method and number of records.")] = None,
    embedding_learning_rate: Annotated[Real, option("--embedding-learning-rate", min=0, metavar="R", help="Another one for embeddings and head.")] = None,
    schedule: Annotated[str, option("--schedule", "--lr-scheduler-type", metavar="NAME", help="cosine, linear, constant, constant_with_warmup, or another one of transformers.")] = "cosine",
    warmup: Annotated[Real, option("--warmup", "--warmup-ratio", min=0, metavar="X", help="Steps of warm-up; below 1 a share of all.")] = None,
    optimizer: Annotated[str, option("--optimizer", "--optim", metavar="NAME", help="adamw_torch, adamw_8bit, adafactor, or another one of transformers.")] = "adamw_torch",
    weight_decay: Annotated[Real, option("--weight-decay", min=0, metavar="W", help="Weight decay; default: 0, of --method pretrain 0.1.")] = None,
    max_grad_norm: Annotated[float, option("--max-grad-norm", min=0, metavar="X", help="Clip gradients to this norm; 0 does not.")] = 1.0,
    checkpointing: Annotated[Optional[bool], option("--checkpointing/--no-checkpointing", "--gradient-checkpointing", help="Compute activations twice to save memory; default: on a GPU.")] = None,
    seed: Annotated[int, option("--seed", min=0, max=(1 << 32) - 1, metavar="N", help="What chance begins with.")] = 42,
    deterministic: Annotated[bool, option("--deterministic", help="Only computations that give the same bits each time.")] = False,
    save_every: Annotated[Number, option("--save-every", "--save-steps", min=1, metavar="N", help="Write a checkpoint every N steps; default: a tenth of them, 10 to 500.")] = None,
    keep_checkpoints: Annotated[int, option("--keep-checkpoints", "--save-total-limit", min=1, metavar="N", help="Checkpoints that stay, and the best one.")] = 2,
    keep_best: Annotated[bool, option("--keep-best/--keep-last", help="End with the weights of the best evaluation.")] = True,
    samples: Annotated[int, option("--samples", min=0, metavar="N", help="Answers to show before and after.")] = 2,
    log: Annotated[Texts, option("--log", metavar="NAME", help="Report to wandb, tensorboard, trackio, mlflow or clearml too; may be repeated.")] = None,
    model_config: Annotated[Text, option("--model-config", metavar="FILE", help="JSON or YAML of the model that --method pretrain makes.")] = None,
    vocabulary: Annotated[int, option("--vocabulary", min=259, metavar="N", help="Size of the tokenizer that --method pretrain makes.")] = 4096,
    output: Annotated[Text, option("--output", "-o", metavar="DIR", help="The run's directory; default: a name of its own in --runs.")] = None,
    runs: Annotated[str, option("--runs", metavar="DIR", help="Where runs are kept.")] = "runs",
    name: Annotated[Text, option("--name", metavar="NAME", help="A name for the run in --runs.")] = None,
    fresh: Annotated[bool, option("--fresh", help="Begin anew, whatever an earlier run left.")] = False,
    wait: Annotated[Text, option("--wait", metavar="DURATION", help="How long to wait for another run in the same place: 30, 10m, 2h; default: not at all.")] = None,
    dry_run: Annotated[bool, option("--dry-run", "-n", help="Check everything, say what would be done, and stop.")] = False,
    show_rows: Annotated[int, option("--show-rows", min=0, metavar="N", help="Show N rows as the model sees them, marked what is learnt.")] = 1,
) -> None:  # fmt: skip
    """Train a model on records; print the path of the adapter."""
    from bptools.training.commanding import run

    own = dict(locals())
    run(own.pop("reading"), own)


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-train")

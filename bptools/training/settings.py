"""What a training is to be: every setting once, which of them change the result, and what was left open.

    settings = Settings(model="nano", epochs=2)
    complete(settings, preset, records=2000)        # the same, with every None decided

A field that is None is decided by the method, the preset, the style or the size of the data; `complete`
returns by which. Fields of the recipe change what is learnt and make the name of the run; the others say how,
where and how often to look.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bptools.models.presets import Preset

Method = Literal["sft", "cpt", "dpo", "orpo", "kto", "pretrain"]
SHAPES: dict[str, str] = {"sft": "chat", "cpt": "text", "pretrain": "text", "dpo": "preference",
                          "orpo": "preference", "kto": "rated"}  # fmt: skip
METHOD_OF_SHAPE: dict[str, Method] = {"chat": "sft", "text": "cpt", "preference": "dpo", "rated": "kto"}


def _recipe(default: Any = None, **more: Any) -> Any:
    return field(default=default, metadata={"recipe": True}, **more)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of a training. Lengths and sizes are in tokens and records, rates per optimizer step."""

    # the model
    model: str = "nano"
    revision: str | None = None
    tokenizer: str | None = _recipe()
    adapter: str | None = None  # trained further; its hash is in the recipe
    ref_model: str | None = None
    quant: str | None = _recipe()
    chat_template: str = _recipe("auto")
    template_kwargs: dict[str, Any] = field(default_factory=dict, metadata={"recipe": True})
    trust_remote_code: bool = False
    # the method
    method: Method | None = _recipe()  # noqa: RUF009
    style: str = "balanced"
    beta: float = _recipe(0.1)
    precompute_reference: bool = False
    model_config: dict[str, Any] | None = _recipe()  # pretrain: the config.json to be  # noqa: RUF009
    vocabulary: int = _recipe(4096)  # pretrain: size of the tokenizer that is made
    # LoRA
    full: bool = _recipe(False)
    rank: int | None = _recipe()
    alpha: float | None = _recipe()
    dropout: float = _recipe(0.0)
    targets: str | None = _recipe()
    rslora: bool = _recipe(False)
    dora: bool = _recipe(False)
    neftune: float | None = _recipe()
    modules_to_save: tuple[str, ...] = _recipe(())
    # the data
    max_length: int | None = _recipe()
    long: str | None = _recipe()
    packing: bool | None = _recipe()
    loss_on: str = _recipe("assistant")
    max_records: int | None = _recipe()
    eval_split: str = _recipe("2%")
    # the optimizer
    epochs: float | None = _recipe()
    steps: int | None = _recipe()
    batch_size: int | None = _recipe()
    learning_rate: float | None = _recipe()
    embedding_learning_rate: float | None = _recipe()
    schedule: str = _recipe("cosine")
    warmup: float | None = _recipe()
    optimizer: str = _recipe("adamw_torch")
    weight_decay: float | None = _recipe()
    betas: tuple[float, float] | None = _recipe()
    max_grad_norm: float = _recipe(1.0)
    dtype: str | None = _recipe()
    seed: int = _recipe(42)
    early_stopping: int | None = _recipe()
    # how, where, how often
    device: str = "auto"
    micro_batch: int | None = None
    checkpointing: bool | None = None  # of activations: the same numbers for less memory
    deterministic: bool = False
    threads: int | None = None
    eval_every: str | None = _recipe()  # with early stopping or a best checkpoint it changes the result
    save_every: int | None = None
    keep_checkpoints: int = 2
    keep_best: bool = _recipe(True)
    samples: int = 2
    log: tuple[str, ...] = ()

    def recipe(self) -> dict[str, Any]:
        """Return the settings that change the result."""
        return {
            entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata.get("recipe")
        }

    def as_json(self) -> dict[str, Any]:
        """Return all of them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def from_json(values: dict[str, Any]) -> Settings:
    """Return the settings that `as_json` wrote."""
    made: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Settings(**made)


def complete(
    settings: Settings, preset: Preset, method: Method, records: int
) -> tuple[Settings, dict[str, str]]:
    """Decide every setting that was left open; return them and {name: what decided it}.

    preset: in the style of the settings. records: how many there are to train on, before packing.
    """
    values: dict[str, Any] = {"method": method}
    reasons: dict[str, str] = {} if settings.method else {"method": "the shape of the records"}

    def decide(name: str, value: Any, reason: str) -> None:
        if getattr(settings, name) is None:
            values[name] = value
            reasons[name] = reason

    by_preset = f"preset {preset.name}, style {settings.style}"
    scratch = method == "pretrain"
    full = settings.full or scratch
    decide("rank", preset.rank, by_preset)
    decide("alpha", (settings.rank or values["rank"]) * preset.alpha / preset.rank, "twice the rank"
           if preset.alpha == 2 * preset.rank else by_preset)  # fmt: skip
    decide("targets", preset.targets, by_preset)
    decide("max_length", preset.max_length, by_preset)
    decide("batch_size", preset.batch_size, by_preset)
    if settings.steps is None:
        decide("epochs", preset.epochs, f"style {settings.style}")
    text = method in ("cpt", "pretrain")
    decide("long", "split" if text else "truncate" if method in ("dpo", "orpo", "kto") else "drop",
           f"method {method}")  # fmt: skip
    decide("packing", method in ("sft", "cpt", "pretrain"), f"method {method}")
    rate, warmup, reason = _rate(preset.learning_rate, method, full, records)
    decide("learning_rate", rate, reason)
    decide("warmup", warmup, f"{records} records")
    decide("weight_decay", 0.1 if scratch else 0.0, f"method {method}")
    decide("betas", (0.9, 0.95) if scratch else (0.9, 0.999), f"method {method}")
    if settings.embedding_learning_rate is None and set(settings.modules_to_save) & {
        "embed_tokens",
        "lm_head",
    }:
        decide(
            "embedding_learning_rate", (settings.learning_rate or rate) / 10, "a tenth of the learning rate"
        )
    return replace(settings, **values), reasons


def _rate(base: float, method: Method, full: bool, records: int) -> tuple[float, float, str]:
    """Return (learning rate, warm-up as a share of the steps, why).

    Few records bear a higher rate and want a longer warm-up: under 1,000 the rate is 2.5 times the preset's
    and the warm-up 15 %, under 10,000 the rate is the preset's and the warm-up 10 %, then 5 %. Preference
    methods move a model that is good already: a fortieth of the rate. All weights instead of an adapter: a
    tenth. From scratch: 3e-3, what tiny models bear.
    """
    share = 0.15 if records < 1_000 else 0.1 if records < 10_000 else 0.05
    if method == "pretrain":
        return 3e-3, 0.05, "from scratch"
    if method in ("dpo", "orpo", "kto"):
        return base / 40, 0.1, f"method {method}"
    few = 2.5 if records < 1_000 else 1.0
    return (
        base * few / (10 if full else 1),
        share,
        f"preset, {records} records" + (", all weights" if full else ""),
    )

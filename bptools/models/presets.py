"""Models by short name with settings that suit them, and the same derived for any other model.

    preset("qwen3b").hub.full            # 'Qwen/Qwen2.5-3B-Instruct'
    preset("qwen3b", "quality").rank     # 32
    derive(config).shape.layers          # from a config.json

The table is `presets.yaml`. No torch is needed, and nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bptools.core.errors import InputError, UsageError

PRESETS: tuple[str, ...] = (
    "nano", "qwen0.5b", "qwen1.5b", "qwen3b", "qwen7b", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b",
    "llama1b", "llama3b", "mistral7b", "gemma", "phi", "smollm",
)  # fmt: skip
"""The names in `presets.yaml`, here so that resolving a name reads no YAML; a test compares them."""
STYLES = ("fast", "balanced", "quality")
_GIB = 1 << 30
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # by family


@dataclass(frozen=True)
class HubNames:
    """Where a model lies on the hub: in 16 bits, in NF4 for bitsandbytes, in 4 bits for MLX."""

    full: str
    bnb4: str | None = None
    mlx: str | None = None


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder, as config.json has them."""

    hidden_size: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    experts: int = 1  # each of the width `intermediate`
    experts_used: int = 1  # of them by one token

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all blocks: what NF4 quantizes and LoRA adapts."""
        return self._linear(self.experts)

    @property
    def computed_parameters(self) -> int:
        """Those of them that one token goes through."""
        return self._linear(self.experts_used)

    def _linear(self, experts: int) -> int:
        attention = self.hidden_size * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate * experts)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the token embeddings, and of the output layer where it is not the same tensor."""
        return self.vocab * self.hidden_size * (1 if self.tied else 2)

    def lora_parameters(self, rank: int) -> int:
        """Weights of an adapter of this rank on all linear layers, of experts on one.

        transformers 5 holds experts in one tensor, which is no linear layer and gets no adapter.
        """
        heads, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        hidden, wide = self.hidden_size, self.intermediate
        sides = 2 * (hidden + heads) + 2 * (hidden + kv) + 3 * (hidden + wide)
        return self.layers * rank * sides


@dataclass(frozen=True)
class Preset:
    """Settings for one model in one style. Units: parameters in billions, max_length and batch_size in tokens
    and conversations; batch_size is the effective one, whatever the micro batch."""

    name: str
    hub: HubNames
    kind: Literal["instruct", "base"]
    parameters: float
    shape: Shape
    rank: int
    alpha: int
    targets: str
    learning_rate: float
    max_length: int
    batch_size: int
    epochs: float = 1
    licence: str = ""

    @property
    def vram_gb(self) -> dict[str, float]:
        """GiB for LoRA training with a micro batch of 4,096 tokens, {"nf4", "16bit"}.

        A closed form with 1 GiB for CUDA, activations of one block and one checkpoint for each; not measured
        on every card.
        """
        shape = self.shape
        activations = 2 * 4096 * (shape.hidden_size * (shape.layers + 16) + 6 * shape.intermediate)
        fixed = activations + 16 * shape.lora_parameters(self.rank) + _GIB
        embeddings = 2 * shape.embedding_parameters
        nf4 = 0.52 * shape.linear_parameters + embeddings + fixed
        full = 2 * shape.linear_parameters + embeddings + fixed
        return {"nf4": round(nf4 / _GIB, 1), "16bit": round(full / _GIB, 1)}


def preset(name: str, style: str = "balanced") -> Preset:
    """Return a preset in a style: fast, balanced or quality. Raises InputError, UsageError."""
    table = _table()
    if name not in table["presets"]:
        raise InputError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
    entry = {**table["defaults"], **table["presets"][name]}
    made = Preset(
        name=name,
        hub=HubNames(**entry.pop("hub")),
        shape=Shape(**entry.pop("shape")),
        **entry,
    )
    return styled(made, style)


def styled(base: Preset, style: str) -> Preset:
    """Return a preset of the style `balanced` in another one. Raises UsageError for a style there is not."""
    styles = _table()["styles"]
    if style not in styles:
        raise UsageError(f"--style is {', '.join(STYLES)}, not '{style}'")
    chosen = dict(styles[style])
    factor = chosen.pop("learning_rate_factor")
    return dataclasses.replace(base, learning_rate=round(base.learning_rate * factor, 10), **chosen)


def derive(config: Mapping[str, Any], name: str = "derived", style: str = "balanced") -> Preset:
    """Return a preset for any other model from its config.json.

    The learning rate falls with size: 1e-3 below 0.05 billion parameters, 2e-4 up to 10, then 1e-4. Raises
    InputError for what is no text decoder.
    """
    shape = shape_of(config)
    parameters = (shape.linear_parameters + shape.embedding_parameters) / 1e9
    longest = int(config.get("max_position_embeddings") or 2048)
    defaults = _table()["defaults"]
    made = Preset(
        name=name,
        hub=HubNames(name),
        shape=shape,
        parameters=round(parameters, 4),
        **{
            **defaults,
            "learning_rate": 1e-3 if parameters < 0.05 else 2e-4 if parameters < 10 else 1e-4,
            "max_length": min(defaults["max_length"], longest),
        },
    )
    return styled(made, style)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Return the sizes that a config.json states. Raises InputError where it is no text decoder."""
    for part in ("vision_config", "audio_config"):
        if part in config:
            raise InputError(f"a model with {part} is not for text alone; vision and audio are not supported")
    try:
        hidden = int(config["hidden_size"])
        heads = int(config["num_attention_heads"])
        experts = next((int(config[name]) for name in _EXPERTS if config.get(name)), 1)
        wide = config.get("moe_intermediate_size") if experts > 1 else None
        return Shape(
            hidden_size=hidden,
            layers=int(config["num_hidden_layers"]),
            intermediate=int(wide or config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocab=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            experts=experts,
            experts_used=min(experts, int(config.get("num_experts_per_tok") or 1)),
        )
    except KeyError as missing:
        raise InputError(f"config.json has no {missing.args[0]}: no decoder that is known here") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"config.json cannot be used: {str(error).lower()}") from None


def as_json(entry: Preset) -> dict[str, Any]:
    """Return a preset as `bptools presets --json` shows it."""
    return {**dataclasses.asdict(entry), "vram_gb": entry.vram_gb}


def table(entries: list[Preset]) -> str:
    """Return presets as lines for a person, memory in GiB."""
    head = ("NAME", "MODEL", "SIZE", "4-BIT", "16-BIT", "RANK", "RATE", "LICENCE")
    rows = [head]
    for entry in entries:
        size = f"{entry.parameters:g}B" if entry.parameters >= 0.1 else f"{1000 * entry.parameters:g}M"
        memory = entry.vram_gb
        rows.append(
            (
                entry.name,
                entry.hub.full,
                size,
                f"{memory['nf4']:.1f}",
                f"{memory['16bit']:.1f}",
                str(entry.rank),
                f"{entry.learning_rate:g}",
                entry.licence,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


@functools.cache
def _table() -> dict[str, Any]:
    import yaml

    with open(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "presets.yaml"), encoding="utf-8"
    ) as file:
        table: dict[str, Any] = yaml.safe_load(file)
    return table

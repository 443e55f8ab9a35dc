"""Will it fit? Bytes that a training takes, in closed form from the sizes of the model; and what there is.

    need = estimate(preset.shape, settings, device="cuda", rows=4, length=1024)
    need.total, need.weights, need.activations

The closed form knows what a training holds: weights, adapter, gradients, Adam's two moments, activations.
It is meant to refuse early what cannot work; `exact` counts the live tensors of one step without computing
it, and takes seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.models.presets import Preset, Shape
    from bptools.training.settings import Settings

_CUDA_CONTEXT = 600 << 20  # bytes of context, kernels and workspace, on recent drivers
_CGROUP = "/sys/fs/cgroup"
_LIBRARIES = 1 << 30  # torch and transformers in main memory


@dataclass(frozen=True)
class Need:
    """Bytes by what holds them."""

    weights: int
    trained: int  # what is trained with gradients and Adam's moments
    activations: int
    fixed: int  # the CUDA context, or the libraries

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.trained + self.activations + self.fixed


def estimate(shape: Shape, settings: Settings, *, device: str, rows: int, length: int) -> Need:
    """Return what a training takes with `rows` rows of `length` tokens per forward pass.

    Activations: with checkpointing one hidden state per layer and the inside of one layer, else the inside of
    all; the head's logits come in pieces (TRL computes them for 256 tokens at a time).
    """
    all_weights = shape.linear_parameters + shape.embedding_parameters
    cuda = device.startswith("cuda")
    width = 4 if settings.full or (not cuda and settings.dtype != "bfloat16") else 2
    weights = all_weights * width
    if settings.quant in ("nf4", "int8") and not settings.full:
        per_weight = 0.52 if settings.quant == "nf4" else 1.02
        weights = round(shape.linear_parameters * per_weight) + shape.embedding_parameters * width
    trained = 12 * all_weights if settings.full else 16 * shape.lora_parameters(settings.rank or 16)
    tokens = rows * length
    # per token and layer, fitted to `exact` of Qwen2.5 0.5B and 3B: products in 16 bits, LoRA's inputs in 32
    wide = shape.intermediate * shape.experts_used
    inside = 2 * (8 * shape.hidden_size + 3 * wide + 2 * shape.heads * shape.head_dim)
    inside += 4 * (6 * shape.hidden_size + wide)
    if not cuda:  # without a fused kernel the attention matrix is there, and products are kept in float32
        inside += 8 * shape.heads * length
    layers = (
        2 * shape.hidden_size * shape.layers + inside if settings.checkpointing else inside * shape.layers
    )
    logits = 6 * min(tokens, 256) * shape.vocab
    return Need(weights, trained, tokens * layers + logits, _CUDA_CONTEXT if cuda else _LIBRARIES)


def available(device: str) -> int:
    """Return the bytes that are free on a device, 0 where that cannot be known; loads no torch."""
    if device.startswith("cuda"):
        return _free_on_gpu(int(device.partition(":")[2] or 0))
    return _free_in_main_memory()


def _free_in_main_memory() -> int:
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found += [int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    of_group = _free_in_group(_CGROUP)
    if of_group is not None:
        found.append(of_group)
    if found:
        return min(found)
    from bptools.models.devices import main_memory

    return main_memory()


def _free_in_group(folder: str) -> int | None:
    """Return the bytes that a container may still take, None without a limit.

    What it has read of files counts as taken there, and is given up where it is needed for something else.
    """
    try:
        with open(os.path.join(folder, "memory.max"), encoding="ascii") as file:
            limit = int(file.read())  # `max` is none
        with open(os.path.join(folder, "memory.current"), encoding="ascii") as file:
            taken = int(file.read())
    except (OSError, ValueError):
        return None
    try:
        with open(os.path.join(folder, "memory.stat"), encoding="ascii") as file:
            taken -= sum(int(line.split()[1]) for line in file if line.startswith("inactive_file "))
    except (OSError, ValueError):
        pass
    return max(0, limit - max(0, taken))


def _free_on_gpu(index: int) -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index)).free)
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # no package, no driver: it cannot be known
        return 0


def largest_micro_batch(shape: Shape, settings: Settings, *, device: str, length: int, free: int) -> int:
    """Return the most rows per forward pass that the closed form says fit, 0 for none."""
    batch = settings.batch_size or 1
    for rows in range(batch, 0, -1):
        if (
            batch % rows == 0
            and estimate(shape, settings, device=device, rows=rows, length=length).total <= free
        ):
            return rows
    return 0


def largest_preset(settings: Settings, *, device: str, free: int) -> Preset | None:
    """Return the largest preset that fits with one row per forward pass."""
    from bptools.models.presets import PRESETS, preset

    fitting = []
    for name in PRESETS:
        made = preset(name, settings.style)
        need = estimate(made.shape, settings, device=device, rows=1, length=min(made.max_length, 1024))
        if need.total <= free:
            fitting.append(made)
    return max(fitting, key=lambda made: made.parameters, default=None)


def exact(
    config: Any, rank: int | None, *, rows: int, length: int, dtype: str, checkpointing: bool
) -> dict[str, int]:
    """Return {weights, trained, activations, total}: bytes of one training step, by the model's config.

    The step is run on fake tensors (torch's FakeTensorMode): shapes and lifetimes are real, nothing is
    computed or allocated. rank: of an adapter on all linear layers, None where all weights are trained.
    `activations` is the most that lives at once beside the weights, gradients among them. Attention kernels
    of a GPU that keep less than the CPU's are not known to it, and neither is the allocator's waste.
    """
    import weakref

    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map_only
    from transformers import AutoModelForCausalLM

    alive: dict[int, int] = {}
    now = most = 0

    def see(tensor: Any) -> None:
        nonlocal now, most
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in alive or key in own:
            return
        alive[key] = storage.nbytes()
        now += alive[key]
        most = max(most, now)
        weakref.finalize(storage, gone, key)

    def gone(key: int) -> None:
        nonlocal now
        now -= alive.pop(key, 0)

    class Live(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            tree_map_only(torch.Tensor, see, result)
            return result

    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        if rank is not None:
            _add_lora(model, rank)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        weights = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
        trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        ids = torch.zeros(rows, length, dtype=torch.long)
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
        with Live():
            hidden = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
            _head_in_pieces(model, hidden).backward()
    found = {"weights": weights, "trained": 3 * trained, "activations": most}  # with Adam's two moments
    return found | {"total": sum(found.values())}


def _add_lora(model: Any, rank: int) -> None:
    """Give each linear layer an adapter in float32, freeze the rest: PEFT's own cannot be made of fakes."""
    import torch
    from torch.nn.functional import linear

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name.endswith("lm_head"):
            continue
        module.lora_a = torch.nn.Parameter(torch.empty(rank, module.in_features))
        module.lora_b = torch.nn.Parameter(torch.empty(module.out_features, rank))

        def forward(x: Any, module: Any = module) -> Any:
            added = linear(linear(x.float(), module.lora_a), module.lora_b)
            return linear(x, module.weight, module.bias) + added.to(x.dtype)

        module.forward = forward


def _head_in_pieces(model: Any, hidden: Any) -> Any:
    """Return the loss as TRL's fused head has it: logits of 256 tokens at a time, made again backwards."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    def loss_of(piece: Any) -> Any:
        logits = model.lm_head(piece).float().flatten(0, 1)
        return cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.long), reduction="sum")

    pieces = hidden.flatten(0, 1).split(256)
    return sum(checkpoint(loss_of, piece[None], use_reentrant=False) for piece in pieces)


def disk_need(records_bytes: int, tokens: int, need: Need, settings: Settings) -> int:
    """Return bytes of disk that a run takes at most: records, rows, checkpoints and the result."""
    checkpoint = need.trained + (need.weights if settings.full else 0)
    return records_bytes + 8 * tokens + (settings.keep_checkpoints + 2) * checkpoint


def free_disk(path: str) -> int:
    """Return the bytes free where a path lies."""
    import shutil

    return shutil.disk_usage(path if os.path.isdir(path) else os.path.dirname(path) or ".").free

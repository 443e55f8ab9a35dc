"""From a folder to a tokenizer and a model, quietly: nothing is printed, no code of the folder is run."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from bptools.core.errors import InputError, MissingExtra
from bptools.models.folders import read_config, require_adapter, require_weights

Quant = Literal["none", "nf4", "int8"]
# what transformers and peft raise of files; the last two of a configuration with values of other types
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)


def load_tokenizer(folder: str, trust_remote_code: bool = False) -> Any:
    """Return the transformers tokenizer of a folder; it has a pad token, the eos one if it had none.

    Raises InputError if there is none that can be read, MissingExtra.
    """
    transformers = import_transformers()
    with quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
        except Exception as error:
            raise InputError(f"'{folder}' has no tokenizer that can be read: {one_line(error)}") from None
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the tokenizer of '{folder}' has no tokenizer.json; convert it with transformers first"
        )
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    folder: str,
    *,
    device: str,
    dtype: str,
    adapter: str | Sequence[str] | None = None,
    quant: Quant = "none",
    trust_remote_code: bool = False,
) -> Any:
    """Return a causal LM in eval mode on the device, with a stock PEFT adapter (or several) if asked.

    device: cpu, cuda, cuda:1, mps. dtype: float32, bfloat16, float16. Several adapters are loaded under the
    names of their folders, the first one active (`model.set_adapter(name)` chooses another). Raises
    InputError for a folder that holds no model or adapter that can be read, MissingExtra.
    """
    adapters = [adapter] if isinstance(adapter, str) else list(adapter or [])
    read_config(folder)  # what a folder lacks is said before seconds are spent on imports
    require_weights(folder)
    for path in adapters:
        require_adapter(path)
    transformers = import_transformers()
    import torch
    from safetensors import SafetensorError

    settings: dict[str, Any] = {
        "dtype": getattr(torch, dtype),
        "trust_remote_code": trust_remote_code,
        "use_safetensors": True,
    }
    if quant != "none":
        settings["quantization_config"] = _quantization(quant, dtype)
        settings["device_map"] = {"": device}
    with quiet():
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, **settings)
        except torch.OutOfMemoryError:
            raise MemoryError from None
        except (*_UNREADABLE, SafetensorError) as error:
            raise InputError(f"'{folder}' cannot be loaded: {one_line(error)}") from None
        if quant == "none":
            model = _placed(model, device)
        elif device == "cpu":
            keep_gradients_on_cpu(model)
        for name, path in adapter_names(adapters).items():
            model = with_adapter(model, name, path, device)
        if adapters:
            model.set_adapter(next(iter(adapter_names(adapters))))
    return model.eval()


def _placed(model: Any, device: str) -> Any:
    import torch

    try:
        return model.to(device)
    except torch.OutOfMemoryError:
        raise MemoryError from None


def adapter_names(adapters: Sequence[str]) -> dict[str, str]:
    """Return {name: folder} for adapters, each named like its folder; a name that is taken gets a number."""
    names: dict[str, str] = {}
    for folder in adapters:
        stem = os.path.basename(os.path.abspath(folder)).replace(".", "_") or "adapter"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names[name] = folder
    return names


def keep_gradients_on_cpu(model: Any) -> int:
    """Keep bitsandbytes from repacking 4-bit weights for inference on CPUs with AVX512-BF16; return how many.

    The repacked kernel has no gradient: after one eval forward, training would lose it in every base layer
    without an error. unsloth_zoo has the same cure.
    """
    count = 0
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.support_avx512bf16_for_cpu = False
            count += 1
    return count


def with_adapter(model: Any, name: str, path: str, device: str, trainable: bool = False) -> Any:
    """Return a model with an adapter beside those it has. Raises InputError for one of another model."""
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtra("peft", "train") from None
    import torch
    from safetensors import SafetensorError

    try:
        if isinstance(model, PeftModel):
            model.load_adapter(path, adapter_name=name, torch_device=device, is_trainable=trainable)
            return model
        return PeftModel.from_pretrained(
            model, path, adapter_name=name, torch_device=device, is_trainable=trainable
        )
    except torch.OutOfMemoryError:
        raise MemoryError from None
    except (*_UNREADABLE, SafetensorError) as error:
        raise InputError(f"the adapter '{path}' does not fit the model: {one_line(error)}") from None


def _quantization(quant: Quant, dtype: str) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingExtra("bitsandbytes", "bnb") from None
    import torch
    from transformers import BitsAndBytesConfig

    if quant == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def import_transformers() -> Any:
    """Import transformers with bars and advice off. Raises MissingExtra."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)  # peft imports it where it is installed
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("torch", "train") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import transformers
    except ImportError:
        raise MissingExtra("transformers", "train") from None
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let transformers, peft and Python's warnings say nothing meanwhile."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def one_line(error: BaseException) -> str:
    """Return the message of a library's error as part of one of ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text[:1].lower() + text[1:200]).rstrip(".")

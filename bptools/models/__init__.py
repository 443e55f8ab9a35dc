"""A causal language model in use: its name, its files, its chat template, its tokens, its answers.

    from bptools.models import Generator, Renderer, fetch, load_model, load_tokenizer, resolve,
    resolve_template

    folder = fetch(resolve("qwen0.5b"))
    tokenizer = load_tokenizer(folder)
    renderer = Renderer(tokenizer, resolve_template(tokenizer, "auto", folder))
    model = load_model(folder, device="cpu", dtype="float32")
    answers = Generator(model, tokenizer, renderer, "cpu").complete([[{"role": "user", "content": "Hi"}]])

Names, presets and device policy need no torch; the rest loads it when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.models.devices import Machine, choose_device, choose_dtype, cpu_threads, this_machine
    from bptools.models.generating import Generator
    from bptools.models.hub import fetch, resolved_revision
    from bptools.models.loading import load_model, load_tokenizer
    from bptools.models.names import ModelName, resolve
    from bptools.models.presets import PRESETS, Preset, derive, preset
    from bptools.models.rendering import Renderer
    from bptools.models.sampling import Sampling
    from bptools.models.templates import Template, resolve_template

_HOMES = {
    "PRESETS": "presets",
    "Generator": "generating",
    "Machine": "devices",
    "ModelName": "names",
    "Preset": "presets",
    "Renderer": "rendering",
    "Sampling": "sampling",
    "Template": "templates",
    "choose_device": "devices",
    "choose_dtype": "devices",
    "cpu_threads": "devices",
    "derive": "presets",
    "fetch": "hub",
    "load_model": "loading",
    "load_tokenizer": "loading",
    "preset": "presets",
    "resolve": "names",
    "resolve_template": "templates",
    "resolved_revision": "hub",
    "this_machine": "devices",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "PRESETS",
    "Generator",
    "Machine",
    "ModelName",
    "Preset",
    "Renderer",
    "Sampling",
    "Template",
    "choose_device",
    "choose_dtype",
    "cpu_threads",
    "derive",
    "fetch",
    "load_model",
    "load_tokenizer",
    "preset",
    "resolve",
    "resolve_template",
    "resolved_revision",
    "this_machine",
]

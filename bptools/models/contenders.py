"""The models that answer side by side: each a model, or a model with one of the adapters given.

contenders = Contenders(["qwen0.5b"], ["none", "runs/a/adapter"])
contenders.load()
for contender in contenders: contender.select(); contender.generator.complete(...)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bptools.core.errors import UsageError
from bptools.models.devices import check_device, choose_device, choose_dtype, cpu_threads, this_machine
from bptools.models.folders import read_adapter_config, read_config, require_adapter, require_weights
from bptools.models.generating import Generator
from bptools.models.hub import fetch
from bptools.models.loading import Quant, adapter_names, import_transformers, load_model, load_tokenizer
from bptools.models.names import ModelName, resolve
from bptools.models.rendering import Renderer
from bptools.models.templates import check_choice, resolve_template

BASE_ALONE = "none"


@dataclass(frozen=True)
class Loading:
    """How models are loaded: what the options of that name say."""

    device: str = "auto"
    dtype: str = "auto"
    quant: Quant = "none"
    chat_template: str = "auto"
    template_kwargs: dict[str, Any] | None = None
    threads: int | None = None  # on a CPU; None: its idle cores


@dataclass
class Contender:
    """One of those that answer. `label` is its name in records, never an absolute path."""

    label: str
    generator: Generator
    adapter: str | None = None  # its name within the model
    adapted: bool = False  # whether the model carries adapters at all
    base: ModelName | None = None  # the model as it was named
    folder: str = ""  # the files of the model
    adapter_folder: str | None = None

    def select(self) -> None:
        """Make its adapter the active one, or none of them."""
        model = self.generator.model
        if not self.adapted:
            return
        if self.adapter is None:
            model.base_model.disable_adapter_layers()
        else:
            model.base_model.enable_adapter_layers()
            model.set_adapter(self.adapter)


class Contenders:
    """Names first, weights when `load` is called: a wrong name is found before anything heavy.

    Several adapters share one copy of their model; `none` among them is the model alone. Raises UsageError,
    InputError, Unavailable.
    """

    def __init__(
        self,
        models: list[str],
        adapters: list[str],
        revision: str | None = None,
        loading: Loading | None = None,
    ) -> None:
        if len(models) > 1 and adapters:
            raise UsageError(
                "--adapter goes with one --model; merge the adapter to compare it with other models"
            )
        if len(models) > 1 and revision is not None:
            raise UsageError("--revision goes with one --model; name the others OWNER/NAME@REVISION")
        self._folders = [folder for folder in adapters if folder != BASE_ALONE]
        named = None  # by the adapters, what it is of their base
        if not models:
            base, named = _base_of(self._folders) if self._folders else ("nano", None)
            models = [base]
        self.models = [resolve(name, revision or named) for name in models]
        if revision is not None and self.models[0].kind != "hub":
            raise UsageError(f"--revision is of a hub model, and '{self.models[0].name}' is none")
        for model in self.models:
            if model.kind == "folder":
                read_config(model.name)
                require_weights(model.name)
        for folder in self._folders:
            require_adapter(folder)
        self._adapters = adapters
        self._loading = loading or Loading()
        check_device(self._loading.device)
        check_choice(self._loading.chat_template)
        self._loaded: list[Contender] = []
        self.quant = self._loading.quant
        self.device = self.dtype = ""  # once they are loaded

    def __iter__(self) -> Iterator[Contender]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._adapters) or len(self.models)

    def load(self) -> None:
        """Fetch and load what was named, once. Raises as `fetch` and `load_model`."""
        if self._loaded:
            return
        import_transformers()  # what is missing is said before anything is done
        machine = this_machine()
        loading = self._loading
        self.device = device = choose_device(loading.device, machine)
        self.dtype = dtype = choose_dtype(loading.dtype, device, machine, "score")
        if device == "cpu":
            import torch

            torch.set_num_threads(loading.threads or cpu_threads())
        for name in self.models:
            folder = fetch(name)
            model = load_model(folder, device=device, dtype=dtype, adapter=self._folders, quant=loading.quant)
            if not self._adapters:
                generator = self._generator(folder, folder, model, device)
                self._loaded.append(Contender(label_of(name), generator, base=name, folder=folder))
                continue
            names = {path: adapter for adapter, path in adapter_names(self._folders).items()}
            for path in self._adapters:
                tokens = path if os.path.isfile(os.path.join(path, "tokenizer_config.json")) else folder
                generator = self._generator(tokens, folder, model, device)
                label = label_of(name) if path == BASE_ALONE else label_of_path(path)
                self._loaded.append(
                    Contender(
                        label,
                        generator,
                        names.get(path),
                        bool(self._folders),
                        name,
                        folder,
                        None if path == BASE_ALONE else path,
                    )
                )
        _tell_apart(self._loaded)

    def _generator(self, tokens: str, folder: str, model: Any, device: str) -> Generator:
        tokenizer = load_tokenizer(tokens)
        template = resolve_template(tokenizer, self._loading.chat_template, folder)
        return Generator(
            model, tokenizer, Renderer(tokenizer, template, self._loading.template_kwargs), device
        )


def label_of(model: ModelName) -> str:
    """Return a model's name for records: of a folder its last part."""
    return label_of_path(model.name) if model.kind == "folder" else model.shown


def label_of_path(path: str) -> str:
    """Return the last part of a path; of RUN/adapter that of the run."""
    parts = [part for part in os.path.abspath(path).split(os.sep) if part]
    if len(parts) > 1 and parts[-1] == "adapter":
        return parts[-2]
    return parts[-1] if parts else path


def _tell_apart(contenders: list[Contender]) -> None:
    seen: dict[str, int] = {}
    for contender in contenders:
        seen[contender.label] = count = seen.get(contender.label, 0) + 1
        if count > 1:
            contender.label += f"#{count}"


def _base_of(adapters: list[str]) -> tuple[str, str | None]:
    """Return (the base model that the adapters name, its revision if one does).

    Raises UsageError where they do not agree.
    """
    configs = [read_adapter_config(folder) for folder in adapters]
    bases = {str(config.get("base_model_name_or_path") or "") for config in configs}
    if len(bases) > 1 or "" in bases:
        shown = ", ".join(sorted(base or "none" for base in bases))
        raise UsageError(f"the adapters name different bases ({shown}); say which one with --model")
    revisions = {str(config["revision"]) for config in configs if config.get("revision")}
    if len(revisions) > 1:
        raise UsageError(
            f"the adapters name different revisions of '{bases.pop()}' ({', '.join(sorted(revisions))}); "
            "say which one with --revision"
        )
    return bases.pop(), revisions.pop() if revisions else None

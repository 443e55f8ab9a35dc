"""What can be told of the options alone, before a record is read: names, and files that options name.

The records may come from a pipe of hours, and an earlier run may lie in the place: nothing is begun that
would be refused. Runs in the parent, so no torch and no transformers is loaded; what only they can tell
(whether there is a GPU, whether a template can be rendered) is told by the child before its first step.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bptools.core.errors import InputError, UsageError
from bptools.core.suggesting import did_you_mean
from bptools.training.spool import evaluation_share
from bptools.training.triggers import parse_trigger

if TYPE_CHECKING:
    from bptools.training.settings import Settings

_ARGUED = {
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "reduce_lr_on_plateau",
    "greedy",
}
"""Schedules that transformers computes from more than steps and warm-up, or from evaluations of its own."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


def check_settings(settings: Settings) -> None:
    """Raise UsageError for what no training can be meant by, InputError for a file that is not there."""
    _check_device(settings)
    _check_names(settings)
    _check_files(settings)
    _check_method(settings)
    evaluation_share(settings.eval_split)
    if settings.eval_every:
        parse_trigger(settings.eval_every, "--eval-every")
    if settings.targets:
        target_names(settings.targets)


def _check_device(settings: Settings) -> None:
    from bptools.models.devices import DTYPES, Machine, check_device, choose_dtype

    try:
        check_device(settings.device)
    except UsageError as error:
        kind = settings.device.partition(":")[0]
        raise UsageError(f"{error}{did_you_mean(kind, ('auto', 'cuda', 'mps', 'cpu'))}") from None
    if settings.dtype is None:
        return
    try:
        choose_dtype(settings.dtype, settings.device, Machine())  # of `auto` as a device the child knows more
    except UsageError as error:
        raise UsageError(f"{error}{did_you_mean(settings.dtype, DTYPES)}") from None


def _check_names(settings: Settings) -> None:
    for option, given, default, enumeration in (
        ("--schedule", settings.schedule, "cosine", "SchedulerType"),
        ("--optimizer", settings.optimizer, "adamw_torch", "OptimizerNames"),
    ):
        if given == default:
            continue  # as nearly always: nothing is to be looked up
        names = names_of_transformers(enumeration)
        if names and given not in names:
            raise UsageError(
                f"{option}: transformers has no '{given}'{did_you_mean(given, names, _all(names))}"
            )
    if settings.schedule in _ARGUED:
        raise UsageError(
            f"--schedule {settings.schedule} needs arguments or evaluations that bp-train does not give it; "
            "take cosine or linear"
        )


def names_of_transformers(enumeration: str) -> list[str]:
    """Return the values of an enumeration of the transformers that is installed, read from its source.

    So they are those of any version, and 2 s of imports are saved. Empty where it is written otherwise.
    """
    spec = find_spec("transformers")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        for name in ("trainer_utils.py", "training_args.py"):
            try:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    source = file.read()
            except OSError:
                continue
            body = re.search(rf"^class {enumeration}\b.*\n((?:[ \t].*\n|\n)*)", source, re.MULTILINE)
            if body is not None:
                return re.findall(r"^    [A-Z][A-Z0-9_]* = [\"']([\w-]+)[\"']", body[1], re.MULTILINE)
    return []


def _check_files(settings: Settings) -> None:
    from bptools.models.folders import require_adapter
    from bptools.models.templates import check_choice

    check_choice(settings.chat_template)
    if settings.adapter:
        require_adapter(settings.adapter)
    folder = settings.tokenizer
    if folder and os.path.isdir(folder):
        if not any(os.path.isfile(os.path.join(folder, name)) for name in _TOKENIZER_FILES):
            raise InputError(f"--tokenizer '{folder}' is none: there is no tokenizer.json in it")
    elif folder and (folder.startswith((".", "/")) or folder.count("/") != 1):
        raise InputError(f"--tokenizer '{folder}': there is no such folder")  # else a name of the hub's cache


def _check_method(settings: Settings) -> None:
    if settings.alpha is not None and settings.alpha <= 0:
        raise UsageError(f"--alpha {settings.alpha:g} would switch the adapter off; take one above 0")
    if settings.adapter and (settings.full or settings.method == "pretrain"):
        instead = "--full" if settings.full else "--method pretrain"
        raise UsageError(f"--adapter goes on with an adapter, {instead} trains none; leave one out")
    if settings.method == "pretrain" and settings.model != "nano":
        raise UsageError(
            f"--method pretrain begins with random weights, not with '{settings.model}'; "
            "--method cpt goes on with a model"
        )
    if settings.quant in ("nf4", "int8") and (settings.full or settings.method == "pretrain"):
        instead = "--full" if settings.full else "--method pretrain"
        raise UsageError(f"--quant {settings.quant} holds frozen weights, {instead} has none; leave one out")
    if settings.ref_model:
        check_reference(settings)


OF_ADAPTER = {
    "rank": "r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "targets": "target_modules",
    "rslora": "use_rslora",
    "dora": "use_dora",
    "modules_to_save": "modules_to_save",
}
"""Settings that an adapter brings with it, as its adapter_config.json calls them."""


def with_adapters_sizes(settings: Settings) -> Settings:
    """Return the settings with rank and alpha of the adapter that is gone on with.

    Raises UsageError for what was given and is not so of that adapter: it would not be heard.
    """
    from bptools.models.folders import read_adapter_config

    if not settings.adapter:
        return settings
    config, default = read_adapter_config(settings.adapter), type(settings)()
    for name, key in OF_ADAPTER.items():
        given, there = getattr(settings, name), config.get(key)
        if given == getattr(default, name) or given == "all-linear" or _same(given, there):
            continue
        option = "--" + name.replace("_", "-")
        raise UsageError(
            f"{option} is for a fresh adapter; '{settings.adapter}' has {key} {there}: leave {option} out"
        )
    values = {name: config[OF_ADAPTER[name]] for name in ("rank", "alpha") if config.get(OF_ADAPTER[name])}
    return replace(settings, **values)


def _same(given: Any, there: Any) -> bool:
    if isinstance(there, list):
        return set(given.split(",") if isinstance(given, str) else given) == set(there)
    return bool(given == there)


def check_reference(settings: Settings) -> None:
    """Raise UsageError where --ref-model has no meaning, InputError where it names no model."""
    from bptools.models.names import resolve

    if settings.method not in ("dpo", "kto", None):  # None: the records decide, and it is asked again
        raise UsageError(f"--ref-model is for dpo and kto, not for {settings.method}")
    resolve(settings.ref_model or "")


def target_names(text: str) -> list[str] | None:
    """Return the names that --targets lists, None for all-linear and regular expressions.

    Raises UsageError for what is neither.
    """
    if text == "all-linear":
        return None
    if re.fullmatch(r"[\w.]+(,[\w.]+)*", text):
        return text.split(",")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"--targets '{text}' is no regular expression: {error}") from None
    return None


def _all(names: list[str]) -> str:
    return f"; it has {', '.join(names)}"

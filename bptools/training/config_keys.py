"""Configuration files of TRL, axolotl, LLaMA-Factory, bbml and mindprint as options of bp-train.

    bp-train -c axolotl.yaml -c mine.yaml --show-config

Only what a file says is taken over; what it leaves out is decided by bp-train, not by the other tool. The
layers are read one by one into {option: value}, later ones win, and what needs several keys (the batch is
rows times accumulation) is worked out at the end. core/settings.py loads this when a file says anything.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from bptools.core.errors import ConfigError
from bptools.core.settings import Layered
from bptools.core.suggesting import did_you_mean
from bptools.training.config_readers import MODEL_READERS, Layer, Reader
from bptools.training.config_running import RUN_READERS
from bptools.training.config_said import Atom, Said, disagree
from bptools.training.config_tables import NAMES, PHASES, REFUSED, SILENT, SWITCHES, TABLES, UNUSED

Atoms = dict[str, Atom]
READERS: dict[str, Reader] = {**MODEL_READERS, **RUN_READERS}
_TABLE_OPTIONS = frozenset(("map", "role_map", "template_kwargs"))
_EITHER = (("steps", "epochs"), ("model", "preset"), ("output", "name"))
_BBML = ("train_epochs", "max_training_steps", "logging_backends", "grad_clip_norm", "name_suffix",
         "validation_step_trigger", "test_step_trigger", "save_step_trigger")  # fmt: skip


def translate(layers: list[tuple[str, dict[str, Any]]], options: set[str]) -> Layered:
    """Return what files say, weakest first, as options with their origins. Raises ConfigError."""
    unused: dict[str, list[str]] = {}
    method = next((m for m in (_method(content) for _, content in reversed(layers)) if m), None)
    merged: Atoms = {}
    said: Layer = {}
    for path, content in layers:
        layer = flatten(path, content, options, method, unused.setdefault(path, []))
        said.update(layer)
        _merge(merged, read(layer, options, unused[path]), layer)
    values, origins = finish(merged, options, unused)
    return Layered(values, origins, _warnings(unused, said, values), _EITHER)


def _method(content: dict[str, Any]) -> str | None:
    """Return the method that a file names, to know which of mindprint's tables is meant."""
    found = content.get("method") or content.get("rl") or content.get("stage")
    return str(found) if found else None


def flatten(
    path: str, content: dict[str, Any], options: set[str], method: str | None, unused: list[str]
) -> Layer:
    """Return {key: what is said}, the known tables opened. Raises ConfigError for unknown keys."""
    layer: Layer = {}

    def add(said: Said) -> None:
        other = layer.setdefault(said.key, said)
        if other is not said and other.value != said.value:  # nan is not even itself
            raise disagree(other, said)

    phase = _phase(path, content, method)
    for written, value in content.items():
        key = written.replace("-", "_")
        inside = TABLES.get(key)
        if inside is None or not isinstance(value, dict):
            if key in PHASES:
                raise ConfigError(f"{path}: '{written}' is no table")
            if key not in options and not _is_known(key):
                raise _unknown(path, written, options | _KNOWN)
            add(Said(path, key, written, value))
        elif key in PHASES and key != phase:
            unused.append(written)
        else:
            if key in PHASES and method is None:
                add(Said(path, "method", written, key))
            for inner, item in value.items():
                name = inside.get(str(inner).replace("-", "_"), inside.get("*"))
                if name is None:
                    raise _unknown(path, f"{written}.{inner}", {f"{written}.{known}" for known in inside})
                shown = f"{written}.{inner}"
                if name:
                    add(Said(path, name, shown, item))
                elif _says_something(item):
                    unused.append(shown)
    return layer


def _phase(path: str, content: dict[str, Any], method: str | None) -> str | None:
    """Return which of the tables sft, dpo and orpo is to be trained. Raises ConfigError if that is open."""
    present = [name for name in PHASES if isinstance(content.get(name), dict)]
    if method in present or not present:
        return method
    if len(present) > 1 and method is None:
        raise ConfigError(
            f"{path}: {' and '.join(present)} are {len(present)} trainings; choose with method: {present[0]}"
        )
    return present[0] if method is None else None


def _unknown(path: str, key: str, known: set[str]) -> ConfigError:
    meant = did_you_mean(key, (name.replace("_", "-") for name in known))
    return ConfigError(f"{path}: unknown key '{key}' for bp-train{meant}")


_KNOWN = {*NAMES, *SWITCHES, *READERS, *REFUSED, *SILENT, *TABLES, *(key for key in UNUSED if "*" not in key),
          "ref_model", "packing", "use_cache"}  # fmt: skip


def _is_known(key: str) -> bool:
    return key in _KNOWN or any(fnmatchcase(key, pattern) for pattern in UNUSED)


def _says_something(value: Any) -> bool:
    return value not in (None, False, "", [], {})


def read(layer: Layer, options: set[str], unused: list[str]) -> Atoms:
    """Return what one file says of each option. Raises ConfigError where two of its keys disagree."""
    atoms: Atoms = {}
    for key, said in layer.items():
        if key == "adapter" and said.value is None and "base_model" in layer:
            meaning: dict[str, Any] | None = {"full": True}  # axolotl: blank is all weights
        elif said.value is None:
            continue
        else:
            meaning = _meaning(key, said, layer, options)
        if meaning is None:
            unused.append(said.shown)
            continue
        unused += meaning.get("unused", [])
        for option, value in meaning.items():
            if option == "unused":
                continue
            other = atoms.setdefault(option, Atom(value, said))
            if option == "log":
                atoms[option] = Atom(list(dict.fromkeys([*other.value, *value])), other.said)
            elif other.said is not said and other.value != value:
                raise disagree(other.said, said)
    return atoms


def _meaning(key: str, said: Said, layer: Layer, options: set[str]) -> dict[str, Any] | None:
    if key in REFUSED:
        if _says_something(said.value):
            raise said.refuse(REFUSED[key])
        return {}
    if key == "batch_size" and any(word in layer for word in _BBML):
        return {"micro_batch": said.whole()}
    passes = layer.get("gradient_accumulation_steps")
    if key == "batch_size" and passes and passes.value and "base_model" in layer:
        return _whole_batch(said, passes, "micro_batch_size" in layer)
    if key == "strict" and "base_model" in layer:
        return {}  # axolotl's: of the file, not of the data
    if key == "model_config" and isinstance(said.value, dict):
        return None
    if key in READERS:
        return READERS[key](said, layer)
    if key in NAMES:
        return {NAMES[key]: said.value}
    if key in SWITCHES:
        return {SWITCHES[key]: said.truth()}
    if key in options:
        return {key: said.value}
    return {} if key in SILENT or not _says_something(said.value) else None


def _whole_batch(said: Said, passes: Said, with_rows: bool) -> dict[str, Any]:
    """Read axolotl's batch_size, which is that of a step."""
    if with_rows:
        return {"batch_size": said.value}
    if said.whole() % passes.whole():
        raise disagree(said, passes)
    return {"batch_size": said.value, "micro_batch": said.whole() // passes.whole()}


def _merge(merged: Atoms, atoms: Atoms, layer: Layer) -> None:
    """Put a stronger file over the weaker ones; a key without a value leaves its option open again."""
    rows, below = atoms.get("micro_batch"), merged.get("micro_batch")
    if rows and below and rows.said.key == "micro_batch" != below.said.key:
        _batch(merged)  # our own micro_batch changes how, not how much
    for one, other in (*_EITHER, ("batch_size", "accumulation")):
        if one in atoms or other in atoms:
            if one not in atoms:
                merged.pop(one, None)
            if other not in atoms:
                merged.pop(other, None)
    empty = {NAMES.get(key) or SWITCHES.get(key) or key for key, said in layer.items() if said.value is None}
    for option in [name for name, atom in merged.items() if name in empty or _said_again(name, atom, layer)]:
        del merged[option]
    for option, atom in atoms.items():
        below = merged.get(option)
        if (
            option in _TABLE_OPTIONS
            and below is not None
            and isinstance(below.value, dict)
            and isinstance(atom.value, dict)
        ):
            atom = Atom({**below.value, **atom.value}, atom.said)
        merged[option] = atom


def _said_again(option: str, atom: Atom, layer: Layer) -> bool:
    """Say whether a stronger file has the key an option is from: `bf16: false` takes `bf16: true` back."""
    return atom.said.key in layer and option not in _TABLE_OPTIONS and " x " not in atom.said.shown


def finish(
    atoms: Atoms, options: set[str], unused: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Work out what needs several keys; return the values and origins of options. Raises ConfigError."""

    def drop(option: str) -> None:
        said = atoms.pop(option).said
        unused[said.path].append(said.shown)

    _batch(atoms)
    if "accumulation" in atoms:
        drop("accumulation")
    foreign = {option for option, atom in atoms.items() if atom.said.shown != option}
    if {"steps", "epochs"} <= set(atoms) and foreign & {"steps", "epochs"}:
        drop("epochs")  # max_steps counts, in all of them
    if {"output", "name"} <= set(atoms) and "output" in foreign:
        drop("name")
    loss = atoms.pop("pref_loss", None)
    if (
        loss is not None
        and loss.value == "orpo"
        and ("method" not in atoms or atoms["method"].value == "dpo")
    ):
        atoms["method"] = loss
    when = atoms.pop("eval_strategy", None)
    if when is not None:
        if "eval_every" in foreign:
            drop("eval_every")
        if when.value == "no":
            atoms.setdefault("eval_every", Atom("never", when.said))
            if "eval" not in atoms:
                atoms.setdefault("eval_split", Atom("0", when.said))
        else:
            unused[when.said.path].append(when.said.shown)
    if (
        atoms.get("full")
        and atoms["full"].value is True
        and "quant" in atoms
        and atoms["quant"].value != "none"
    ):
        raise disagree(atoms["full"].said, atoms["quant"].said)
    if "eval" in atoms and "eval_split" in atoms and atoms["eval_split"].value == "0":
        del atoms["eval_split"]
    values = {option: atom.value for option, atom in atoms.items()}
    origins = {option: atom.said.origin(option) for option, atom in atoms.items()}
    return values, origins


def _batch(atoms: Atoms) -> None:
    """Make the batch of a step from the rows of a pass and the passes. Raises ConfigError."""
    rows, passes, batch = (atoms.get(name) for name in ("micro_batch", "accumulation", "batch_size"))
    if passes is None:
        if rows is not None and rows.said.key != "micro_batch" and batch is None:
            atoms["batch_size"] = rows  # one pass a step, unless more is said
        return
    if rows is None or rows.value == "auto":
        if batch is None:
            return  # passes of how many rows?
        raise ConfigError(
            f"{batch.said.path}: '{batch.said.shown}: {batch.value}' and "
            f"'{passes.said.shown}: {passes.value}': is the batch that of a step or of a pass? "
            "write batch_size alone, or per_device_train_batch_size"
        )
    size = rows.said._replace(value=rows.value).whole() * passes.value
    if batch is not None and batch.said._replace(value=batch.value).whole() != size:
        raise ConfigError(
            f"{batch.said.path}: '{batch.said.shown}: {batch.value}' is not "
            f"'{rows.said.shown}: {rows.value}' times '{passes.said.shown}: {passes.value}'"
        )
    where = "" if passes.said.path == rows.said.path else f" of {passes.said.path}"
    shown = f"{rows.said.shown} x {passes.said.shown}{where}"
    atoms["batch_size"] = Atom(size, rows.said._replace(shown=shown))
    del atoms["accumulation"]


def _warnings(unused: dict[str, list[str]], said: Layer, values: dict[str, Any]) -> list[str]:
    named = [f"{', '.join(dict.fromkeys(keys))} ({path})" for path, keys in unused.items() if keys]
    warnings = ["not used: " + "; ".join(named)] if named else []
    if "base_model" in said and "full" not in values and not {"rank", "adapter"} & set(values):
        warnings.append(
            "base_model without adapter: axolotl would train all weights, bp-train does with --full"
        )
    return warnings

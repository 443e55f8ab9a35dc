"""What a folder of a model or an adapter must hold, looked at before anything heavy is loaded.

config = read_config("runs/a-merged")       # its config.json
require_weights("runs/a-merged")
adapter = require_adapter("runs/a/adapter")  # its adapter_config.json
"""

from __future__ import annotations

import json
import os
from typing import Any

from bptools.core.errors import InputError
from bptools.core.streams import reason_of

_CONFIG, _ADAPTER_CONFIG, _ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def read_config(folder: str) -> dict[str, Any]:
    """Return the config.json of a model's folder. Raises InputError."""
    return _table(folder, _CONFIG, "model")


def read_adapter_config(folder: str) -> dict[str, Any]:
    """Return the adapter_config.json of an adapter's folder; nobody asks for weights. Raises InputError."""
    return _table(folder, _ADAPTER_CONFIG, "adapter")


def require_adapter(folder: str) -> dict[str, Any]:
    """Return the adapter_config.json of a folder that holds the weights too. Raises InputError."""
    config = read_adapter_config(folder)
    if not os.path.isfile(os.path.join(folder, _ADAPTER_WEIGHTS)):
        raise InputError(
            f"'{folder}' is no adapter: there is no {_ADAPTER_WEIGHTS} in it{_of_pickles(folder)}"
        )
    return config


def require_weights(folder: str) -> None:
    """Refuse a folder that lacks weights of its model. Raises InputError."""
    missing = missing_weights(folder)
    if missing is not None:
        raise InputError(
            f"'{folder}' has no weights that can be read: there is no {missing} in it{_of_pickles(folder)}"
        )


def missing_weights(folder: str) -> str | None:
    """Return the name of a file of weights that a model's folder lacks, None where it has all of them.

    Raises InputError for an index that cannot be read.
    """
    names = os.listdir(folder)
    there = {name for name in names if name.endswith(".safetensors")}
    wanted: set[str] = set()
    for name in names:
        if name.endswith(".safetensors.index.json"):
            places = _table(folder, name, "model").get("weight_map")
            wanted |= set(map(str, places.values())) if isinstance(places, dict) else set()
    if "model.safetensors" in there:  # what transformers takes first, whatever an index says
        return None
    if not there and not wanted:
        return "model.safetensors"
    return min(wanted - there, default=None)


def _table(folder: str, name: str, kind: str) -> dict[str, Any]:
    """Return a JSON object that a folder holds; `kind` is what the folder is without it no more."""
    if not os.path.isdir(folder):
        raise InputError(f"'{folder}' is no {kind}: there is no such folder")
    try:
        # not orjson: transformers writes Infinity into some
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            table = json.load(file)
    except FileNotFoundError:
        inside = os.path.join(folder, kind)  # a run of bp-train was named, its adapter was meant
        meant = f"; did you mean '{inside}'?" if os.path.isfile(os.path.join(inside, name)) else ""
        raise InputError(f"'{folder}' is no {kind}: there is no {name} in it{meant}") from None
    except OSError as error:
        raise InputError(f"cannot read {name} of '{folder}': {reason_of(error)}") from None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise InputError(f"{name} of '{folder}' is no JSON object; fetch or save it again")
    return table


def _of_pickles(folder: str) -> str:
    """Return why weights that are there do not count, for a message."""
    if not any(name.endswith(_PICKLES) for name in os.listdir(folder)):
        return ""
    return ", and pickles are not read; save it again as safetensors"

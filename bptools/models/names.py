"""What a model name means: nano, a folder, a preset, or a model of the hub.

resolve("qwen3b")             # ModelName(kind='hub', name='Qwen/Qwen2.5-3B-Instruct', preset='qwen3b')
resolve("runs/a-merged")      # ModelName(kind='folder', name='runs/a-merged')
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from bptools.core.errors import InputError, Unavailable
from bptools.core.suggesting import did_you_mean

NANO_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nano")
_HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@dataclass(frozen=True)
class ModelName:
    """A model that was named. `name` is the folder, or owner/name on the hub; `nano` for the embedded one."""

    kind: Literal["nano", "folder", "hub"]
    name: str
    revision: str | None = None  # as given; `hub.resolved_revision` has the commit
    preset: str | None = None

    @property
    def shown(self) -> str:
        """The name for people and records: the preset's where it was one."""
        return self.preset or self.name


def resolve(name: str, revision: str | None = None) -> ModelName:
    """Say what a model name means; nothing is fetched. OWNER/NAME@REVISION is understood.

    A preset goes first, then a folder with a config.json, then the hub. The embedded model of an installation
    that is gone, as adapters name it, is that of this one. Raises InputError for anything else,
    Unavailable for nano where its weights are missing.
    """
    from bptools.models.presets import PRESETS, preset

    if name == "nano" or _was_nano(name):
        if not os.path.isfile(os.path.join(NANO_FOLDER, "config.json")):
            raise Unavailable(
                "nano, the embedded model, is not in this installation; name a preset or a folder"
            )
        return ModelName("nano", "nano", preset="nano")
    if name in PRESETS:
        return ModelName("hub", preset(name).hub.full, revision, preset=name)
    if os.path.isdir(name):
        if os.path.isfile(os.path.join(name, "config.json")):
            return ModelName("folder", os.path.normpath(name))
        if os.path.isfile(os.path.join(name, "adapter_config.json")):
            raise InputError(
                f"'{name}' is an adapter, not a model; give it as --adapter, with its base as --model"
            )
        raise InputError(f"'{name}' is no model: there is no config.json in it")
    hub, at, pinned = name.partition("@")
    if _HUB_NAME.fullmatch(hub) and not (at and not pinned):
        return ModelName("hub", hub, revision or pinned or None)
    raise InputError(
        f"no model '{name}': neither a preset, nor a folder, nor OWNER/NAME of the hub"
        + did_you_mean(name, PRESETS, "; bptools presets lists the presets")
    )


def _was_nano(name: str) -> bool:
    """Say whether a path led to nano in an environment that was moved or removed since."""
    parts = os.path.normpath(name).replace("\\", "/").split("/")
    return os.path.isabs(name) and parts[-3:] == ["bptools", "models", "nano"] and not os.path.exists(name)

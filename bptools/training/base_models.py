"""What a training begins with beside records: model, template, adapter, reference; and what tells them apart.

Runs in the parent, which fetches all that is needed: the child asks nothing of the network.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from bptools.core.errors import InputError, UsageError
from bptools.core.hashing import sha256_of
from bptools.training.checking import check_reference
from bptools.training.settings import Settings

if TYPE_CHECKING:
    from bptools.models.names import ModelName
    from bptools.models.presets import Preset


def base_model(settings: Settings) -> tuple[dict[str, Any], Preset]:
    """Return (the model for the plan, the preset that holds for it). A preset needs no network for that.

    Raises InputError, Unavailable, UsageError.
    """
    from bptools.models import derive, preset, resolve
    from bptools.models.folders import read_config
    from bptools.models.hub import fetch

    if settings.method == "pretrain":
        return {
            "kind": "none",
            "name": "scratch",
            "shown": "scratch",
            "path": None,
            "revision": None,
        }, preset("nano", settings.style)
    name = resolve(settings.model, settings.revision)
    if settings.trust_remote_code and not (settings.revision or name.kind != "hub"):
        raise UsageError("--trust-remote-code runs code of the hub; pin it with --revision COMMIT")
    if name.preset is not None:
        found = preset(name.preset, settings.style)
    else:
        found = derive(read_config(fetch(name, "config")), style=settings.style)
    model = {"kind": name.kind, "name": name.name, "shown": name.shown, "path": None, "revision": None}
    return model, found


def resolve_revision(settings: Settings, model: dict[str, Any]) -> None:
    """Put the commit of a hub model into the plan's entry. Raises Unavailable where the hub is away."""
    from bptools.models.hub import resolved_revision

    if model["kind"] == "hub":
        model["revision"] = resolved_revision(_name_of(settings))


def fetch_model(settings: Settings, model: dict[str, Any]) -> None:
    """Put the folder of the model, and what identifies it, into the plan's entry; downloads if need be."""
    from bptools.models.hub import fetch

    if model["kind"] == "none":
        return
    model["path"] = os.path.abspath(  # of the commit that was resolved before
        fetch(_name_of(settings), code=settings.trust_remote_code)
    )
    if model["kind"] != "hub":
        model["sha256"] = folder_sha256(model["path"])


def _name_of(settings: Settings) -> ModelName:
    from bptools.models import resolve

    return resolve(settings.model, settings.revision)


def folder_sha256(folder: str) -> str:
    """Return a hash of all that is in the files of a folder, those of people aside."""
    digest = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith((".", "README")) or not os.path.isfile(path):
            continue
        digest.update(f"{name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


def fetch_template(settings: Settings) -> str | None:
    """Return a hash of the text that --chat-template names, None for auto and a family; downloads if need be.

    Raises as `fetch` does.
    """
    from bptools.models import fetch, resolve
    from bptools.models.templates import text_in_folder

    choice = settings.chat_template
    if choice.startswith("from:"):
        folder = fetch(resolve(choice.removeprefix("from:")), "tokenizer")
        return hashlib.sha256((text_in_folder(folder) or "").encode("utf-8", "replace")).hexdigest()
    return sha256_of(choice) if os.path.isfile(choice) else None


def fetch_reference(settings: Settings) -> str:
    """Return the folder of the model that --ref-model names. Raises as `fetch` does."""
    from bptools.models import fetch, resolve

    check_reference(settings)
    return os.path.abspath(fetch(resolve(settings.ref_model or "")))


def identity_of(model: dict[str, Any]) -> str:
    """Return what tells a model of a plan from others: its commit, its hash, or that there is none."""
    if model["kind"] == "hub":
        return f"{model['name']}@{model['revision']}"
    return str(model.get("sha256") or model["name"])


def adapter_sha256(folder: str) -> str:
    """Return a hash of an adapter. Raises InputError."""
    try:
        return "".join(
            sha256_of(os.path.join(folder, name))
            for name in ("adapter_model.safetensors", "adapter_config.json")
        )
    except OSError:
        raise InputError(
            f"--adapter '{folder}' is no adapter: there is no adapter_model.safetensors in it"
        ) from None

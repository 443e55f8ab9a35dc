"""The files of a model: where they lie, fetched from the hub if they were named there.

    fetch(resolve("qwen0.5b"), "tokenizer")     # a local folder

The endpoint, token, cache and offline mode are what huggingface_hub reads from the environment. Of a
repository only safetensors, JSON, Jinja and tokenizer files are taken, never a pickle, and code only where it
is trusted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from typing import Any, Literal

from bptools.core.errors import BpError, InputError, MissingExtra, Unavailable
from bptools.core.sources.hub import out_of_reach
from bptools.models.folders import missing_weights
from bptools.models.names import NANO_FOLDER, ModelName, resolve

What = Literal["all", "config", "tokenizer"]
_CONFIG = ["config.json", "generation_config.json"]
_TOKENIZER = [
    *_CONFIG, "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.*", "*.jinja",
    "additional_chat_templates/*",
]  # fmt: skip
PATTERNS: dict[What, list[str]] = {
    "config": _CONFIG,
    "tokenizer": _TOKENIZER,
    "all": [*_TOKENIZER, "*.safetensors", "*.safetensors.index.json", "adapter_config.json"],
}
_CODE = ["*.py"]
_IGNORED = ["*/*.safetensors"]  # some repositories hold a second copy in a folder
_COMMIT = re.compile(r"[0-9a-f]{40}")
_out_of_reach = False  # whether the hub did not answer in this process


def fetch(model: ModelName, what: What = "all", code: bool = False) -> str:
    """Return a local folder with the files, with `code` the Python in it too; the cache needs no network.

    Raises InputError (no such model or revision, or its files are not ours to read), Unavailable (the hub
    cannot be reached and the cache lacks it), MissingExtra.
    """
    if model.kind == "nano":
        return NANO_FOLDER
    if model.kind == "folder":
        return model.name
    hub = _hub()
    revision = resolved_revision(model)
    try:
        folder = hub.snapshot_download(
            model.name,
            revision=revision or model.revision,
            allow_patterns=[*PATTERNS[what], *(_CODE if code else [])],
            ignore_patterns=_IGNORED,
            tqdm_class=None if sys.stderr.isatty() else _silent_bars(),
        )
    except Exception as error:
        raise _explained(error, model) from None
    _remember(model, revision)
    if what == "all":
        _require_weights(folder, model)
    return str(folder)


def tokenizer_file(name: str) -> str:
    """Return where the tokenizer.json of a model is; a path is returned as it is, whether it is there or not.

    Raises InputError for a model that has none, else as `resolve` and `fetch` do.
    """
    if os.path.exists(name) or name.endswith(".json") or name.startswith((".", "/", "~")):
        return name
    path = os.path.join(fetch(resolve(name), "tokenizer"), "tokenizer.json")
    if not os.path.isfile(path):
        raise InputError(f"'{name}' has no tokenizer.json; name a model that has one")
    return path


def resolved_revision(model: ModelName) -> str | None:
    """Return the commit that a hub model's name stands for, None for nano and folders.

    Offline it is what the cache knows the revision as. Raises as `fetch` does.
    """
    return _commit_of(model) if model.kind == "hub" else None


@functools.lru_cache(maxsize=64)
def _commit_of(model: ModelName) -> str | None:
    """Ask once per process, so that all files of a model are of one commit."""
    if model.revision and _COMMIT.fullmatch(model.revision):
        return model.revision
    global _out_of_reach
    hub = _hub()
    from huggingface_hub import constants

    cached = _cached_commit(model)
    if not constants.HF_HUB_OFFLINE:
        try:
            return str(hub.HfApi().model_info(model.name, revision=model.revision, timeout=30).sha)
        except Exception as error:
            if cached is None or not _is_connection(error):
                raise _explained(error, model) from None
            _out_of_reach = True
            return cached
    if cached is None:
        raise out_of_reach(f"'{model.shown}'")
    return cached


def _reference(model: ModelName) -> str:
    """Return the file in which the cache keeps what commit a revision was."""
    from huggingface_hub import constants

    storage = "models--" + model.name.replace("/", "--")
    return os.path.join(constants.HF_HUB_CACHE, storage, "refs", model.revision or "main")


def _cached_commit(model: ModelName) -> str | None:
    try:
        with open(_reference(model), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _remember(model: ModelName, commit: str | None) -> None:
    """Note the commit of the revision in the cache; huggingface_hub does it only for a revision by name."""
    path = _reference(model)
    if commit is None or model.revision == commit or _cached_commit(model) == commit:
        return
    with contextlib.suppress(OSError):  # a cache that cannot be written has served well so far
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(commit)
        os.replace(path + ".new", path)


def _hub() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtra("huggingface_hub", "train") from None
    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    for name in ("httpx", "httpx2", "urllib3", "filelock"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return huggingface_hub


@functools.cache
def _silent_bars() -> Any:
    from tqdm.auto import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})

    return Silent


def _require_weights(folder: str, model: ModelName) -> None:
    """Refuse a folder without its weights: pickles only, or what is left when the network went away."""
    if missing_weights(folder) is None:
        return
    if _reaches_nothing():
        raise Unavailable(f"the cache lacks weights of '{model.shown}', and the hub is not at hand")
    raise InputError(f"'{model.name}' has no safetensors, and pickles are not read; name a converted model")


def _reaches_nothing() -> bool:
    from huggingface_hub import constants

    return _out_of_reach or bool(constants.HF_HUB_OFFLINE)


def _is_connection(error: BaseException) -> bool:
    """Say whether the hub could not be reached, or broke off, or is out of order.

    huggingface_hub has come with requests, httpx and httpx2: their errors are known by name.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError)):
        return True
    return any(
        base.__name__ in ("TransportError", "ConnectionError", "Timeout", "ChunkedEncodingError")
        and base.__module__.partition(".")[0] in ("requests", "httpx", "httpx2")
        for base in type(error).__mro__
    )


def _explained(error: Exception, model: ModelName) -> BpError:
    """Return our error for one of huggingface_hub's."""
    from huggingface_hub import errors

    from bptools.models.loading import one_line

    shown = f"'{model.shown}'" if model.shown == model.name else f"'{model.shown}' ({model.name})"
    if isinstance(error, BpError):
        return error
    if isinstance(error, errors.GatedRepoError):
        return InputError(f"{shown} is gated; accept its terms on the hub and set HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{shown} has no revision '{model.revision}'")
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(f"{shown} is not on the hub, or private; check the name, or set HF_TOKEN")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return InputError(f"the hub refuses {shown} ({status}); check HF_TOKEN")
    if _is_connection(error):
        return out_of_reach(shown)
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return Unavailable(f"cannot fetch {shown}: {one_line(error)}")

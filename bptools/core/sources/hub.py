"""Data sets on the hub, streamed: hf:NAME[/CONFIG][@REV][:SPLIT].

    hf:owner/name                 split train, else the only one, else train_sft
    hf:owner/name/config@v2:test
    hf:name  hf:name//config      canonical names without an owner: two slashes before the config

The endpoint, token and offline mode are what huggingface_hub reads from the environment.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from bptools.core.errors import BpError, InputError, MissingExtra, Unavailable
from bptools.core.records import Record, Reject
from bptools.core.sources.base import Coerce, Reader, ReadOptions, RejectCallback, no_coercion
from bptools.core.sources.parquet import plain

_PREFERRED_SPLITS = ("train", "train_sft")
_MEDIA = frozenset(("Image", "Audio", "Video", "Pdf", "Nifti"))


class HubName(NamedTuple):
    """The parts of hf:NAME[/CONFIG][@REV][:SPLIT]; None where a part is not given."""

    name: str
    config: str | None = None
    revision: str | None = None
    split: str | None = None


def parse_hub_name(text: str) -> HubName:
    """Split hf:NAME[/CONFIG][@REV][:SPLIT]. Two parts are owner/name, three owner/name/config.

    `hf:name//config` is the config of a canonical name. Raises InputError for anything else.
    """
    body = text.removeprefix("hf:")
    body, colon, split = body.partition(":")
    body, at, revision = body.partition("@")
    parts = body.split("/")
    config: str | None = None
    if len(parts) == 3 and parts[2]:
        config = parts.pop()
        if not parts[1]:
            parts.pop()
    if len(parts) > 2 or not all(parts) or (colon and not split) or (at and not revision):
        raise InputError(f"cannot read '{text}': a data set is named hf:NAME[/CONFIG][@REV][:SPLIT]")
    return HubName("/".join(parts), config, revision or None, split or None)


class HubReader(Reader):
    """Streams one split of a data set; `line` is the record's number. Only the hub's own cache is written.

    Raises InputError: no such data set, revision, config or split, or a choice is needed; Unavailable:
    the hub cannot be reached, or wants a token; MissingExtra without `datasets`.
    """

    container = "hub"

    def __init__(
        self, name: str, options: ReadOptions, reject: RejectCallback, coerce: Coerce = no_coercion
    ) -> None:
        super().__init__(options, reject, coerce)
        self._shown = name
        self.parts = parse_hub_name(name)
        self.revision: str | None = None  # the commit that is read, once it is known
        self.ended = False  # whether all of it was read

    def __iter__(self) -> Iterator[tuple[None, Record]]:
        datasets = _import_quietly()
        with _ClearErrors(self._shown, self.parts):
            self.revision = _resolve(self.parts)
            rows = iter(_choose_split(self._load(datasets), self.parts, self._shown))
        while True:
            try:
                row = next(rows)
            except StopIteration:
                self.ended = True
                return
            except Exception as error:
                if _is_connection(error):
                    raise Unavailable(
                        f"{self._shown}: the connection to the hub broke off; try again"
                    ) from None
                self.reject(self._line + 1, Reject("corrupt-data", _one_line(error)), b"")
                return
            self._line += 1
            record = {name: cell for name, cell in plain(row).items() if cell is not None}
            if record:
                yield None, record
            else:
                self.blank += 1

    def entry(self) -> dict[str, Any]:
        """Return {name, revision, complete} for a manifest; the bytes of a data set are not seen here.

        `revision` is the commit, where the hub could not be asked what was asked for, which may be null.
        """
        return {"name": self._shown, "revision": self.revision, "complete": self.ended}

    def _load(self, datasets: Any) -> Any:
        parts = self.parts
        try:
            return datasets.load_dataset(parts.name, parts.config, revision=self.revision, streaming=True)
        except ValueError as error:
            message = str(error)
            if not ("Config name is missing" in message or "BuilderConfig" in message):
                raise
            configs = ", ".join(datasets.get_dataset_config_names(parts.name, revision=self.revision))
            if parts.config:
                raise InputError(f"{self._shown}: no config '{parts.config}'; it has {configs}") from None
            example = f"hf:{parts.name}{'/' if '/' in parts.name else '//'}CONFIG"
            raise InputError(f"{self._shown}: choose a config, as in {example}: {configs}") from None


def out_of_reach(shown: str) -> Unavailable:
    """Return the error for what is on the hub and not in the cache, when the hub cannot be asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Unavailable(f"{shown} is not in the cache, and HF_HUB_OFFLINE keeps from fetching it")
    return Unavailable(
        f"cannot reach {constants.ENDPOINT} for {shown}, and it is not in the cache; "
        "check the network, HF_ENDPOINT, HF_HUB_OFFLINE"
    )


def _import_quietly() -> Any:
    """Import datasets, its and huggingface_hub's bars and loggers silent, prompts off."""
    for name in ("HUB_DISABLE_PROGRESS_BARS", "DATASETS_DISABLE_PROGRESS_BARS", "HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(f"HF_{name}", "1")
    os.environ["HF_DATASETS_TRUST_REMOTE_CODE"] = "0"  # older releases ask otherwise
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "hf") from None
    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub", "fsspec", "httpx", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return datasets


def _resolve(parts: HubName) -> str | None:
    """Return the commit that the revision stands for now; the revision itself when the hub is offline."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return parts.revision
    try:
        return HfApi().dataset_info(parts.name, revision=parts.revision, timeout=30).sha
    except Exception as error:
        if any(map(_is_connection, _causes(error))):
            return parts.revision  # it may be in the cache
        raise


def _choose_split(splits: Any, parts: HubName, shown: str) -> Any:
    names = list(splits)
    if parts.split:
        chosen = parts.split if parts.split in names else None
        problem = f"no split '{parts.split}'"
    else:
        preferred = [name for name in _PREFERRED_SPLITS if name in names]
        chosen = names[0] if len(names) == 1 else preferred[0] if preferred else None
        problem = "no split train"
    if chosen is None:
        raise InputError(f"{shown}: {problem}; it has {', '.join(names)}: choose one with :SPLIT")
    data = splits[chosen]
    for column, feature in (data.features or {}).items():
        stored = _as_stored(feature)
        if stored is not feature:
            data = data.cast_column(column, stored)
    return data


def _as_stored(feature: Any) -> Any:
    """Return the feature with pictures and sounds left as they are stored: decoding wants more packages."""
    if type(feature).__name__ in _MEDIA and getattr(feature, "decode", False):
        stored = copy.copy(feature)
        stored.decode = False
        return stored
    inner = getattr(feature, "feature", None)
    if inner is not None and _as_stored(inner) is not inner:
        stored = copy.copy(feature)
        stored.feature = _as_stored(inner)
        return stored
    if type(feature) is dict:
        fields = {name: _as_stored(field) for name, field in feature.items()}
        return fields if any(fields[name] is not feature[name] for name in fields) else feature
    return feature


class _ClearErrors:
    """Turns what the libraries raise into one clear line."""

    def __init__(self, shown: str, parts: HubName) -> None:
        self.shown = shown
        self.parts = parts

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, BpError):
            return
        raise self._translated(error) from None

    def _translated(self, error: Exception) -> BpError:
        shown, name = self.shown, self.parts.name
        causes = _causes(error)
        kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
        if "GatedRepoError" in kinds:
            return Unavailable(
                f"{shown}: the data set is gated; accept its terms on the hub and set HF_TOKEN to your token"
            )
        if "RevisionNotFoundError" in kinds:
            return InputError(f"{shown}: no revision '{self.parts.revision}'")
        if "RepositoryNotFoundError" in kinds:
            return InputError(f"{shown}: no data set {name} on the hub, or it is private: then set HF_TOKEN")
        if "HFValidationError" in kinds:
            return InputError(f"cannot read '{shown}': {name} is no name a data set can have")
        if any(map(_is_connection, causes)):
            return out_of_reach(f"'{shown}'")
        if "DataFilesNotFoundError" in kinds or "EmptyDatasetError" in kinds:
            return InputError(f"{shown}: the data set holds no data files that can be read")
        if "DatasetNotFoundError" in kinds:
            return InputError(f"{shown}: no data set {name} on the hub, or it is private: then set HF_TOKEN")
        return InputError(f"{shown}: {_one_line(error)}")


_CONNECTION = frozenset(
    (
        "ConnectionError", "ConnectError", "ConnectTimeout", "ReadTimeout", "TimeoutError", "gaierror",
        "TransportError", "OfflineModeIsEnabled", "LocalEntryNotFoundError", "ClientConnectionError",
        "RequestException",
    )
)  # fmt: skip


def _is_connection(error: BaseException) -> bool:
    """Say whether the network is at fault. By name: the HTTP client below has changed over the releases."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and status >= 500:
        return True
    return any(kind.__name__ in _CONNECTION for kind in type(error).__mro__) and status is None


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what led to it."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return chain


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return (text[:1].lower() + text[1:]).rstrip(".")

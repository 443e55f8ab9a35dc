"""The graph of a trace: the artifact, the stages that made it, and what each of them read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from bptools.core.errors import BpError, Exit, InputError
from bptools.core.streams import reason_not_read
from bptools.core.trace.ledger import Ledger
from bptools.core.trace.stages import MANIFEST, OF_A_FILE, File, Stage, read_stage

WEIGHTS = "adapter_model.safetensors"


class Changed(BpError):
    """Files are not what they were: the answer to --verify is no."""

    exit_code = Exit.NO

    def __init__(self, files: list[File]) -> None:
        own, read = [file for file in files if file.own], [file for file in files if not file.own]
        said = [f"the artifact is not as it was made: {_named(own)}"] if own else []
        if read:
            said.append(f"not as recorded: {_named(read)}; what was made of it cannot be made again from it")
        super().__init__("; ".join(said))


def _named(files: list[File]) -> str:
    paths = list(dict.fromkeys(file.path or file.name for file in files))
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(f"'{path}'" for path in paths[:5]) + more


@dataclass
class Trace:
    """An artifact and where it comes from. `parts` are its files, where it is a folder."""

    artifact: File
    parts: list[File]
    stages: list[Stage] = field(default_factory=list)  # the maker of the artifact first, each once
    verified: bool = False

    def files(self) -> list[File]:
        """Return all files of it: the artifact's own, then what the stages read."""
        own = self.parts or [self.artifact]
        return own + [file for stage in self.stages for file in stage.inputs]

    def changed(self) -> list[File]:
        """Return what is not as it was; what stages read may be gone, but no part of the artifact."""
        return [
            file for file in self.files() if file.state == "changed" or (file.state == "missing" and file.own)
        ]


def trace(path: str, ledger: str | None = None, verify: bool = False) -> Trace:
    """Follow an artifact back as far as manifests and the ledger reach.

    ledger: the folder that BP_LEDGER named when things were made. verify: hash every file that is there.
    Raises InputError where there is no such file, or nothing that says who made it.
    """
    found = _Builder(Ledger(ledger)).build(path)
    if verify:
        from bptools.core.trace.verifying import verify_files

        verify_files(found)
    return found


class _Builder:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stages: dict[str, Stage] = {}
        self._passing: set[str] = set()  # keys of stages that are shown as having changed nothing
        self._pending: list[tuple[Stage, str | None]] = []

    def build(self, path: str) -> Trace:
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"cannot open '{path}': {reason_not_read(error)}") from None
        artifact = File(path, path=path, state="there")
        parts: list[File] = []
        if stat.S_ISDIR(status.st_mode):
            maker, parts = _maker_of_folder(path)
        else:
            artifact.bytes = status.st_size
            maker, recorded = _maker_of_file(path)
            if recorded is not None:
                artifact.bytes, artifact.sha256 = recorded.bytes, recorded.sha256
                artifact.state = _state(path, recorded)
        artifact.link = "manifest"
        if maker is None:
            maker, parts = self._from_ledger(path, artifact)
        if maker is None:
            pipes = "BP_LEDGER has no entry of it"
            if not self._ledger.used:
                pipes = "BP_LEDGER does not name the folder that knows what pipes made"
            raise InputError(f"nothing says where '{path}' comes from: no manifest is beside it, and {pipes}")
        artifact.maker = self._take(maker, None)
        while self._pending:
            stage, base = self._pending.pop(0)
            for file in stage.inputs:
                self._settle(file, stage, base)
        for file in (artifact, *parts):
            file.own = True
        return Trace(artifact, parts, list(self._stages.values()))

    def _take(self, stage: Stage, base: str | None) -> Stage:
        """Return the stage, or the one that it is the same as; its inputs wait to be followed."""
        if stage.key not in self._stages:
            self._stages[stage.key] = stage
            self._pending.append((stage, stage.base or base))
        return self._stages[stage.key]

    def _settle(self, file: File, stage: Stage, base: str | None) -> None:
        """Find where an input lies now, and who made it."""
        if file.name.startswith("hf:"):
            file.state = "hub"
            return
        folders = [base, os.curdir, os.path.dirname(os.path.abspath(stage.manifest))]
        places = [] if _is_stream(file.name) else [_place(at, file.name) for at in folders if at is not None]
        there = [place for place in places if os.path.isfile(place) or os.path.isdir(place)]
        if there:  # the first that has the size, else the first
            file.path = next((place for place in there if _state(place, file) == "there"), there[0])
            if os.path.isdir(file.path):
                self._settle_model(file, base)
                return
            file.state = _state(file.path, file)
        else:
            file.state = "missing" if places else "stream"
        for place in places:  # its manifest may be there though the file is not
            maker, recorded = _maker_of_file(place)
            if maker is not None and recorded is not None and recorded.sha256 == file.sha256:
                file.maker, file.link = self._take(maker, base), "manifest"
                return
        self._join(file, base)

    def _settle_model(self, file: File, base: str | None) -> None:
        """Find who made an adapter that a command was given."""
        assert file.path is not None
        maker, parts = _maker_of_folder(file.path)
        weights = next((part for part in parts if os.path.basename(part.name) == WEIGHTS), None)
        recorded = weights.sha256 if weights is not None else None
        file.bytes = weights.bytes if weights is not None else None
        there = os.path.join(file.path, WEIGHTS)
        file.state = "there" if os.path.isfile(there) else "missing"
        if file.sha256 is not None and recorded is not None and file.sha256 != recorded:
            file.state = "changed"  # another training has written into the same place since
        elif maker is not None:
            file.maker, file.link = self._take(maker, base), "manifest" if file.sha256 else "name"
            file.sha256 = file.sha256 or recorded
            return
        self._join(file, base)

    def _join(self, file: File, base: str | None) -> None:
        """Find the maker of an input in the ledger, by the hash of its bytes."""
        if file.sha256 is None:
            return
        makers = [stage for stage in self._ledger.makers(file.sha256) if stage.key not in self._passing]
        passing = [
            stage
            for stage in makers
            if _reads(stage, file.sha256) is not None and stage.key not in self._stages
        ]
        changing = [stage for stage in makers if _reads(stage, file.sha256) is None]
        if not changing and passing:
            changing = [stage for stage in passing if self._may_have_made(file, stage)][-1:]
            passing = [stage for stage in passing if stage not in changing]
        if changing:
            file.passed, file.others = passing, len(changing) - 1
            self._passing |= {stage.key for stage in passing}
            file.maker, file.link = self._take(changing[0], base), "ledger"

    def _may_have_made(self, file: File, stage: Stage) -> bool:
        """Say whether a stage that wrote what it read may be where a file comes from.

        What merely read the file did not make it: it read something else by name, or the file is none.
        """
        read = _reads(stage, file.sha256 or "") or file
        if _is_stream(read.name):
            return file.state == "stream" or not self._stages  # then it is the artifact that is asked for
        return os.path.basename(read.name) != os.path.basename(file.name)

    def _from_ledger(self, path: str, artifact: File) -> tuple[Stage | None, list[File]]:
        """Return (maker, parts) of something without a manifest, by the hash of what it holds."""
        if not self._ledger.used:
            return None, []
        from bptools.core.trace.verifying import digest_of

        if not os.path.isdir(path):
            artifact.sha256 = digest_of(path)
            self._join(artifact, None)
            return artifact.maker, []
        weights = os.path.join(path, WEIGHTS)
        makers = self._ledger.makers(digest_of(weights)) if os.path.isfile(weights) else []
        if not makers:
            return None, []
        artifact.link = "ledger"
        folder = next(os.path.dirname(name) for name in makers[0].made if os.path.basename(name) == WEIGHTS)
        return makers[0], _parts(makers[0], folder, path)


def _maker_of_file(path: str) -> tuple[Stage | None, File | None]:
    """Return (who made a file, what it recorded of it) by the manifest beside it or of its folder."""
    stage = read_stage(path + OF_A_FILE)
    if stage is not None and "" in stage.made:
        return stage, stage.made[""]
    folder, name = os.path.split(os.path.abspath(path))
    for inner in ("", os.path.basename(folder) + "/"):  # runs/bot/adapter/FILE: the run's manifest lists it
        stage = read_stage(os.path.join(folder, MANIFEST))
        if stage is not None and inner + name in stage.made:
            return stage, stage.made[inner + name]
        folder = os.path.dirname(folder)
    return None, None


def _maker_of_folder(path: str) -> tuple[Stage | None, list[File]]:
    """Return (who made a folder, its files) by the manifest in it, or in the run that it is the result of."""
    stage = read_stage(os.path.join(path, MANIFEST))
    if stage is not None:
        return stage, _parts(stage, "", path)
    parent, name = os.path.split(os.path.realpath(path))
    stage = read_stage(os.path.join(parent, MANIFEST))
    if stage is not None:
        parts = _parts(stage, name, path)
        if parts:
            return stage, parts
    return None, []


def _parts(stage: Stage, folder: str, path: str) -> list[File]:
    """Return the files that a stage made in a folder of it, which lies at `path`."""
    prefix = f"{folder}/" if folder else ""
    found = []
    for name, file in stage.made.items():
        if name.startswith(prefix) and name:
            file.path = os.path.join(path, *name[len(prefix) :].split("/"))
            file.name = name[len(prefix) :]
            file.state = _state(file.path, file)
            found.append(file)
    return found


def _place(folder: str, name: str) -> str:
    """Return the path of a file in a folder, relative where it lies in the current one."""
    path = os.path.normpath(os.path.join(folder, name))
    here = os.path.join(os.getcwd(), "")
    return path[len(here) :] if path.startswith(here) else path


def _state(path: str, file: File) -> str:
    """Say what the size alone tells of a file."""
    try:
        size = os.stat(path).st_size
    except OSError:
        return "missing"
    if file.bytes is None or size == file.bytes or (not file.complete and size > file.bytes):
        return "there"
    return "changed"


def _is_stream(name: str) -> bool:
    return name.startswith(("<", "/dev/"))


def _reads(stage: Stage, sha256: str) -> File | None:
    """Return the input of a stage that holds these bytes."""
    return next((file for file in stage.inputs if file.sha256 == sha256), None)

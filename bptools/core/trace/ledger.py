"""The ledger: entries found by the hash of what a run wrote.

An entry is called OUTPUT-COMMAND-INPUTS.json: the first 16 digits of the output's hash and, since several
stages of one pipe may write the same bytes, the first 8 of a hash over those of its inputs.
"""

from __future__ import annotations

import os

from bptools.core.trace.stages import Stage, read_stage

_DIGITS = 16
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing: whoever wrote nothing wrote this, so that it joins nobody."""


class Ledger:
    """The entries of a folder, read when they are asked for."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] | None = None
        self._of_folders: dict[str, list[Stage]] | None = None
        self._read: dict[str, Stage | None] = {}

    @property
    def used(self) -> bool:
        """Whether there is one."""
        return bool(self._folder)

    def makers(self, sha256: str) -> list[Stage]:
        """Return the runs that wrote these bytes as their output or as one of several files, newest first."""
        if not self._folder or sha256 == EMPTY:
            return []
        self._list()
        assert self._names is not None
        found = [self._stage(name) for name in self._names.get(sha256[:_DIGITS], ())]
        exact = [
            stage
            for stage in found
            if stage is not None and any(file.sha256 == sha256 for file in stage.made.values())
        ]
        return exact or self._folders().get(sha256, [])

    def _list(self) -> None:
        if self._names is not None:
            return
        self._names = {}
        try:
            with os.scandir(self._folder or ".") as entries:
                listed = [
                    (entry.stat().st_mtime_ns, entry.name)
                    for entry in entries
                    if entry.name.endswith(".json")
                ]
        except OSError:
            return
        for _, name in sorted(listed, reverse=True):
            self._names.setdefault(name[:_DIGITS], []).append(name)

    def _stage(self, name: str) -> Stage | None:
        if name not in self._read:
            self._read[name] = read_stage(os.path.join(self._folder or ".", name))
        return self._read[name]

    def _folders(self) -> dict[str, list[Stage]]:
        """Return the runs that wrote several files, by the hash of each, which their names do not say."""
        if self._of_folders is None:
            self._of_folders = {}
            for name in [name for names in (self._names or {}).values() for name in names]:
                stage = self._stage(name)
                if stage is None:
                    continue
                for made, file in stage.made.items():
                    if made and file.sha256 is not None:
                        self._of_folders.setdefault(file.sha256, []).append(stage)
        return self._of_folders

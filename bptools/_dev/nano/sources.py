"""The packages whose documentation the model learns from: pinned, verified, read member by member.

sources.json lists them. A source distribution comes by `unearth` (the finder of PDM, which does not build
what it downloads), a Debian package by `apt-get download`; neither is used before its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

LIST = Path(__file__).with_name("sources.json")
_SKIPPED = re.compile(
    r"(?:^|[/_.-])(?:releases?|release[_-]?notes|whats_?new\w*|change\w*|news|history|licen[cs]es?"
    r"|copying|authors"
    r"|contributors|credits|thanks|notices?|requirements|upcoming_changes|newsfragments|egg-info|tests?"
    r"|testing"
    r"|test_data|_?vendor(?:ed)?|subprojects|third_?party|locale|generated|benchmarks|bower_components"
    r"|node_modules|rsrc|genindex|search|py-modindex|searchindex|extern|externals)(?=$|[/_.\d-])",
    re.IGNORECASE,
)
_OTHER_TERMS = re.compile(
    r"creative\s*commons|\bCC[ -]BY\b|GNU Free Documentation|\A.{0,1500}General Public License",
    re.IGNORECASE | re.DOTALL,
)
_TRAITS = {
    "rust-doc": r"/html/(?:book|rust-by-example|reference|edition-guide|nomicon|rustc|cargo"
    r"|rustdoc)/"
    r"(?!.*(?:print|toc)\.html|.*(?:first|second|2018)-edition)",
    "apache2-doc": r"/manual/en/",
    "python3.11-doc": r"/_sources/(?!whatsnew|license)",
    "erlang-doc": r"erlang-doc/(?!.*(?:wx|jinterface|megaco|odbc|/man/))",
    "nodejs-doc": r"/api/(?!all\.html)",
}


class Source(NamedTuple):
    """One pinned package; kind is sdist or deb, and held_out keeps it from the training text."""

    name: str
    version: str
    kind: str
    file: str
    sha256: str
    license: str
    bytes: int
    held_out: bool

    @property
    def label(self) -> str:
        """Return what records call it: django-5.2."""
        return f"{self.name}-{self.version}"


def listed(path: Path = LIST) -> list[Source]:
    """Return the sources of the list."""
    return [Source(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def record(sources: list[Source], path: Path = LIST) -> None:
    """Write the list, one source a line."""
    rows = ",\n".join("  " + json.dumps(source._asdict()) for source in sources)
    path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def fetch(source: Source, folder: Path) -> Path:
    """Return the package's file in the folder, downloaded if it is not there. Raises ValueError, OSError."""
    path = folder / source.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if source.kind == "deb":
            command = ["apt-get", "download", f"{source.name}={source.version}"]
        else:
            wanted = f"{source.name}=={source.version}"
            command = [sys.executable, "-m", "unearth", wanted, "--no-binary", "--download", "."]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(f"{path.name}: SHA-256 is {found}, the list says {source.sha256}")
    return path


def _archive(source: Source, path: Path) -> tarfile.TarFile:
    if source.kind != "deb":
        return tarfile.open(path)
    command = ["dpkg-deb", "--fsys-tarfile", os.fspath(path)]
    return tarfile.open(fileobj=io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout))


def _wanted(source: Source, name: str, size: int) -> bool:
    if not 400 < size < 3_000_000:
        return False
    if source.kind == "deb":
        name = name.removeprefix("./usr/share/doc/").removeprefix(source.name)
        trait = _TRAITS.get(source.name)
        if trait and not re.search(trait, f"/{source.name}{name}"):
            return False
        ends: tuple[str, ...] = (".rst.txt",) if "/_sources/" in (trait or "") else (".html", ".html.en")
        return name.endswith(ends) and not _SKIPPED.search(name)
    inner = name.partition("/")[2]
    return inner.endswith((".rst", ".md", ".txt", ".py")) and not _SKIPPED.search(inner)


def members(source: Source, path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of every file of the package that may hold prose, by name.

    A file that speaks of other terms than the package's is left out: documentation under a Creative Commons
    licence lies in some packages whose code is free in our sense.
    """
    with _archive(source, path) as archive:
        chosen = {
            entry.name: entry
            for entry in archive
            if entry.isfile() and _wanted(source, entry.name, entry.size)
        }
        for name in sorted(chosen):
            stream = cast(io.BufferedReader, archive.extractfile(chosen[name]))
            text = stream.read().decode("utf-8", "replace")
            if not _OTHER_TERMS.search(text):
                yield name, text

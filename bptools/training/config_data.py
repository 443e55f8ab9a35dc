"""The data that a configuration file names, as sources: files, and hf:NAME for what is no file.

datasets: [{path: tatsu-lab/alpaca, split: train}]     ->  hf:tatsu-lab/alpaca:train
dataset: identity     with data/dataset_info.json      ->  data/identity.json
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from bptools.training.config_said import Said

_FORMATS = frozenset(("json", "jsonl", "csv", "tsv", "parquet", "text", "arrow"))
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILE = re.compile(r"\.(jsonl?|csv|tsv|parquet|txt|md|arrow|gz|zst|bz2|xz|ndjson)$", re.IGNORECASE)
_USED = frozenset(
    ("path", "id", "name", "config", "split", "data_files", "type", "ds_type", "revision", "columns")
)


def source(
    name: str, config: str | None = None, split: str | None = None, revision: str | None = None
) -> str:
    """Return the source of a data set's name: itself if it is a file, else hf:NAME[/CONFIG][@REV][:SPLIT]."""
    local = name.startswith((".", "/", "~", "hf:")) or os.path.exists(name) or "*" in name
    if local or _FILE.search(name) or not _HUB.fullmatch(name):
        return os.path.expanduser(name)
    text = f"hf:{name}"
    if config and config != "default":
        text += f"{'/' if '/' in name else '//'}{config}"
    return text + (f"@{revision}" if revision else "") + (f":{split}" if split else "")


def datasets(said: Said) -> tuple[list[str], list[str]]:
    """Read a list of {path, name, split, data_files}, as axolotl and TRL do: (sources, keys not used)."""
    entries = said.value if isinstance(said.value, list) else [said.value]
    sources: list[str] = []
    unused: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            sources.append(source(entry))
            continue
        if not isinstance(entry, dict) or not {"path", "id", "data_files"} & set(entry):
            raise said.refuse("a list of {path: NAME}")
        unused += [f"{said.shown}.{key}" for key, value in entry.items() if key not in _USED and value]
        if isinstance(entry.get("type"), dict):
            unused.append(f"{said.shown}.type")
        sources += _entry(said, entry, unused)
    return sources, list(dict.fromkeys(unused))


def _entry(said: Said, entry: dict[str, Any], unused: list[str]) -> list[str]:
    path = str(entry.get("path") or entry.get("id") or "json")
    files = entry.get("data_files") or []
    files = [str(name) for name in (files if isinstance(files, list) else [files])]
    if files and path in _FORMATS:
        return files
    if files and os.path.isdir(path):
        return [os.path.join(path, name) for name in files]
    if path in _FORMATS:
        raise said.refuse(f"'{path}' wants data_files")
    split = entry.get("split")
    made = source(path, entry.get("name") or entry.get("config"), split, entry.get("revision"))
    if files and made.startswith("hf:"):
        unused.append(f"{said.shown}.data_files")
    return [made]


def registered(said: Said, folder: str) -> list[str]:
    """Read names of LLaMA-Factory's data sets, looked up in FOLDER/dataset_info.json where that is."""
    try:
        with open(os.path.join(folder, "dataset_info.json"), encoding="utf-8") as file:
            registry = json.load(file)
    except (OSError, ValueError):
        registry = {}
    sources = []
    for name in said.words():
        info = registry.get(name)
        if not isinstance(info, dict):
            sources.append(source(name) if "/" in name else name)
        elif info.get("file_name"):
            sources.append(os.path.join(folder, str(info["file_name"])))
        elif info.get("hf_hub_url"):
            sources.append(source(str(info["hf_hub_url"]), info.get("subset"), info.get("split")))
        else:
            raise said.refuse(f"'{name}' is neither a file nor on the Hugging Face hub")
    return sources

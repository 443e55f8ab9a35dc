"""How an output came to be: `FILE.manifest.json` beside it, and a link in the ledger that BP_LEDGER names."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

from bptools import __version__
from bptools.core.output import write_file
from bptools.core.records import dumps_report

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline


def manifest_of(pipe: Pipeline) -> dict[str, Any]:
    """Return the manifest of a finished run: settings with origins, hashes of inputs and output, counts."""
    counts = pipe.counts.as_json(pipe.command, __version__)
    del counts["command"], counts["version"]
    made: dict[str, Any] = {
        "command": pipe.command,
        "version": __version__,
        "python": platform.python_version(),
        "settings": pipe.settings.resolved,
        "inputs": pipe.intake.hashes(),
    }
    if pipe.folder is None:  # which lists its files itself
        name, size = pipe.settings.output, pipe.output_bytes
        made["output"] = {"name": name, "bytes": size, "sha256": pipe.output_sha256}
    else:
        made["files"] = pipe.folder.files()
    return {**made, "counts": counts}


def record_run(pipe: Pipeline) -> None:
    """Write the manifest beside the output file, last, and a ledger entry where BP_LEDGER asks for one."""
    manifest = manifest_of(pipe)
    line = dumps_report(manifest)
    if pipe.output_is_file:
        write_file(pipe.settings.output + ".manifest.json", line)
    ledger = os.environ.get("BP_LEDGER")
    if ledger:
        os.makedirs(ledger, exist_ok=True)
        name = f"{_sha256_of(manifest)[:16]}-{pipe.command}.json"
        write_file(os.path.join(ledger, name), line)


def _sha256_of(manifest: dict[str, Any]) -> str:
    """Return the hash of the output, of a folder that of its files' names and hashes."""
    if "files" not in manifest:
        return str(manifest["output"]["sha256"])
    import hashlib

    listed = "".join(f"{entry['sha256']}  {name}\n" for name, entry in manifest["files"].items())
    return hashlib.sha256(listed.encode()).hexdigest()

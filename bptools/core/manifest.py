"""How an output came to be: `FILE.manifest.json` beside it, and a link in the ledger that BP_LEDGER names."""

from __future__ import annotations

import hashlib
import os
import platform
from typing import TYPE_CHECKING, Any

from bptools import __version__
from bptools.core.errors import OutputError
from bptools.core.output import write_file
from bptools.core.records import dumps_report
from bptools.core.streams import reason_of

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
    """Leave a ledger entry where BP_LEDGER asks for one."""
    if pipe.settings.output != os.devnull:  # bp-train's records go nowhere: its run is what it makes
        leave_in_ledger(manifest_of(pipe))


def open_ledger() -> str | None:
    """Return the folder that BP_LEDGER names, made if it is not there; None without. Raises OutputError.

    Called before the first record too: a ledger that takes nothing is told before an output is replaced.
    """
    ledger = os.environ.get("BP_LEDGER")
    if not ledger:
        return None
    try:
        os.makedirs(ledger, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the ledger '{ledger}': {reason_of(error)}") from None
    if not os.access(ledger, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into the ledger '{ledger}'; BP_LEDGER names it")
    return ledger


def leave_in_ledger(manifest: dict[str, Any]) -> None:
    """Put a manifest into the ledger, where BP_LEDGER asks for one. Raises OutputError, ReadWriteError.

    It is called OUTPUT-COMMAND-INPUTS.json, digits of hashes before and after: two stages of one pipe may
    write the same bytes, and neither may take the other's place.
    """
    ledger = open_ledger()
    if ledger is None:
        return
    name = f"{_sha256_of(manifest)[:16]}-{manifest['command']}-{_sha256_of_inputs(manifest)[:8]}.json"
    write_file(os.path.join(ledger, name), dumps_report(manifest))


def _sha256_of(manifest: dict[str, Any]) -> str:
    """Return the hash of the output, of a folder that of its files' names and hashes."""
    if "files" not in manifest:
        return str(manifest["output"]["sha256"])
    listed = "".join(f"{entry['sha256']}  {name}\n" for name, entry in manifest["files"].items())
    return hashlib.sha256(listed.encode()).hexdigest()


def _sha256_of_inputs(manifest: dict[str, Any]) -> str:
    inputs = manifest.get("inputs", ())
    listed = "".join(f"{entry.get('sha256') or entry.get('revision')}  {entry['name']}\n" for entry in inputs)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()

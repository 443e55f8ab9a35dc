"""From something that was made back to the raw files, by the manifests beside the files and the ledger's.

bptools trace runs/latest/adapter --verify
"""

from bptools.core.trace.graph import Changed, Trace, trace
from bptools.core.trace.text import as_json, as_text

__all__ = ["Changed", "Trace", "as_json", "as_text", "trace"]

"""Sources: files, folders, globs, standard input, hub data sets, in any container, as one stream."""

from bptools.core.sources.base import Coerce, Reader, ReadOptions, RejectCallback, Source, no_coercion

__all__ = ["Coerce", "ReadOptions", "Reader", "RejectCallback", "Source", "no_coercion"]

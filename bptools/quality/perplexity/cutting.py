"""What of the scored records is dropped: nothing, what lies outside of bounds, or outside of percentiles.

cut = Cut("ppl", keep=Keep.parse("5:95"), by="source")
cut.note("wiki"); ...                    # the group of each record
cut.find(values, states)                 # once all are known
cut.judge(912.4, "wiki")                 # Drop('ppl', 912.4, 812.1)
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from bptools.core.errors import ConfigError, InputError, UsageError
from bptools.core.records import Drop
from bptools.core.streams import reason_not_read
from bptools.quality.perplexity.cuts import Keep, Limits, percentiles
from bptools.quality.perplexity.score import METRICS

if TYPE_CHECKING:
    from bptools.quality.perplexity.scorer import Scorer

NONE = ""
"""The group of every record where there is no --by."""
_SAME = ("model", "revision", "weights", "adapter")  # of a scorer: what a file of cutoffs holds for
_OF_BASELINE = ("chat_template", "window", "stride")  # what may be another one than the scorer's
_FORMAT = "bptools-cutoffs"


class Cut:
    """At most one of bounds, keep and cutoffs (a file). Raises UsageError, InputError, ConfigError.

    metric: ppl, bpb or gain; None: what the cutoffs are of, else ppl. by: the path of the field whose values
    are the groups.
    """

    def __init__(
        self,
        metric: str | None = None,
        *,
        bounds: str | None = None,
        keep: str | None = None,
        cutoffs: str | None = None,
        by: str | None = None,
    ) -> None:
        given = [
            name for name, value in (("--keep", keep), ("--bounds", bounds), ("--cutoffs", cutoffs)) if value
        ]
        if len(given) > 1:
            raise UsageError(
                f"{given[0]} and {given[1]} exclude each other; make the second cut in a second bp-ppl"
            )
        if by is not None and not (keep or cutoffs):
            raise UsageError("--by is for --keep and --cutoffs; give one of them too")
        self.by = by
        self.cuts = bool(given)
        self.needs_all = keep is not None
        self.below: dict[str, int] = {}
        self.above: dict[str, int] = {}
        self._keep = Keep.parse(keep) if keep is not None else None
        self._overall: Limits | None = Limits.parse(bounds) if bounds is not None else None
        self._limits: dict[str, Limits] = {}
        self._made_by: dict[str, Any] | None = None
        self._judged: set[str] = set()  # groups
        self._numbers: dict[str, int] = {}  # of groups
        self._groups = array("I")
        if cutoffs is not None:
            metric = self._read(cutoffs, metric)
        self.metric = metric or "ppl"

    def note(self, group: str) -> None:
        """Note the group of the next record."""
        if self.by is not None:
            self._groups.append(self._numbers.setdefault(group, len(self._numbers)))

    def find(self, values: Sequence[float], states: Sequence[int]) -> None:
        """Find the percentiles of what was scored: where the state is 0."""
        import numpy as np

        assert self._keep is not None
        scored = np.array(values, np.float64)
        scored[np.asarray(states, np.uint8) != 0] = np.nan
        overall = percentiles(scored, None, self._keep)
        self._overall = overall.get(0)
        if self.by is not None:
            found = percentiles(scored, np.asarray(self._groups, np.uint32), self._keep)
            names = list(self._numbers)
            self._limits = {names[number]: limits for number, limits in found.items()}

    def judge(self, value: float, group: str = NONE) -> Drop | None:
        """Return why a value is cut, or None. A group that the cutoffs do not know is cut as all records."""
        self._judged.add(group)
        limits = self._limits.get(group, self._overall)
        bound = limits.broken(value) if limits is not None else None
        if bound is None:
            return None
        side = self.below if value < bound else self.above
        side[group] = side.get(group, 0) + 1
        return Drop(self.metric, value, bound)

    def as_json(self) -> dict[str, Any]:
        """Return the limits of each group and what they dropped.

        A group that the cutoffs do not know is there if any of it was dropped, with the limits of all.
        """
        groups: dict[str, Limits | None] = {NONE: self._overall} if self.by is None else {**self._limits}
        for name in (*self.below, *self.above):
            groups.setdefault(name, self._overall)
        return {
            "metric": self.metric,
            "groups": {
                name: {
                    "low": limits.low,
                    "high": limits.high,
                    "records": limits.records,
                    "below": self.below.get(name, 0),
                    "above": self.above.get(name, 0),
                }
                for name, limits in groups.items()
                if limits is not None
            },
        }

    def described(self) -> str:
        """Return the cut in a few words: `13.2 to 812; 50 below, 50 above`."""
        below, above = sum(self.below.values()), sum(self.above.values())
        text = f"{below:,} below, {above:,} above"
        if self.by is not None:
            return f"within limits of each of {len(self._judged):,} values of {self.by}; {text}"
        limits = self._overall
        if limits is None:
            return text
        if limits.low is None or limits.high is None:
            side = f"up to {limits.high:g}" if limits.low is None else f"{limits.low:g} and more"
            return f"{side}; {text}"
        return f"{limits.low:g} to {limits.high:g}; {text}"

    # files of cutoffs

    def cutoffs(self, scorers: Sequence[Scorer]) -> bytes:
        """Return what --save-cutoffs writes; no scorers: there was no record."""
        limits = {name: _written(each) for name, each in self._limits.items()}
        made_by = self._makers(scorers) if scorers else None
        table = {
            "format": _FORMAT,
            "metric": self.metric,
            "scorer": made_by,
            "by": self.by,
            "all": _written(self._overall),
            "groups": limits,
        }
        return orjson.dumps(table, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def _makers(self, scorers: Sequence[Scorer]) -> dict[str, Any]:
        """Return what cutoffs hold for; those of gain also for one baseline."""
        scorer, *others = scorers
        found = {name: scorer.identity[name] for name in _SAME}
        found |= {"quant": scorer.identity["quant"], **scorer.question}
        if self.metric == "gain":
            found["baseline"] = " ".join(str(each.identity[name]) for each in others for name in _SAME)
            for each in others:  # one
                found |= {f"baseline_{name}": each.question[name] for name in _OF_BASELINE}
        return found

    def check(self, scorers: Sequence[Scorer]) -> None:
        """Refuse cutoffs that other scorers made. Raises UsageError.

        What a file does not name is not compared: earlier versions wrote less.
        """
        if self._made_by is None:
            return
        ours = self._makers(scorers)
        for name, theirs in self._made_by.items():
            if ours.get(name) != theirs:
                raise UsageError(f"--cutoffs were made with {name} {theirs}, this is {ours.get(name)}")

    def _read(self, path: str, metric: str | None) -> str:
        try:
            with open(path, "rb") as file:
                table = orjson.loads(file.read())
        except OSError as error:
            raise InputError(f"cannot open '{path}': {reason_not_read(error)}") from None
        except ValueError:
            table = None
        try:
            if table["format"] != _FORMAT or table["metric"] not in METRICS:
                raise ValueError
            self._overall = _limits(table["all"])
            self._limits = {
                name: limits for name, each in table["groups"].items() if (limits := _limits(each))
            }
            self._made_by = dict(table["scorer"]) if table["scorer"] is not None else None
            theirs, by = str(table["metric"]), table["by"]
            if not (by is None or isinstance(by, str)):
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ConfigError(
                f"'{path}' is no file of cutoffs; bp-ppl --keep LO:HI --save-cutoffs writes one"
            ) from None
        if metric is not None and metric != theirs:
            raise UsageError(f"--cutoffs are of {theirs}, not of {metric}")
        if self.by is not None and self.by != by:
            raise UsageError(f"--cutoffs are by {by or 'nothing'}, not by {self.by}")
        self.by = by
        return theirs


def _written(limits: Limits | None) -> dict[str, Any] | None:
    return {"low": limits.low, "high": limits.high, "records": limits.records} if limits else None


def _limits(entry: dict[str, Any] | None) -> Limits | None:
    if entry is None:
        return None
    low, high = (float(value) if value is not None else None for value in (entry["low"], entry["high"]))
    return Limits(low, high, int(entry["records"]))

"""Every name that some reader looks for: what the left side of --map may be."""

from __future__ import annotations

from collections.abc import Iterable

from bptools.chat import comparison, preference
from bptools.chat import fields as names_of
from bptools.chat.roles import fold
from bptools.core.errors import UsageError
from bptools.core.suggesting import did_you_mean

_USUAL = ("messages", "instruction", "input", "output", "prompt", "completion", "chosen", "rejected", "text")
_ALONE = ("choices", "answerkey", "answers", "instances", "completions", "labels")


def known_fields() -> set[str]:
    """Return the names, folded."""
    found = {
        *names_of.CONVERSATION,
        *names_of.TRANSCRIPT,
        *names_of.HISTORY,
        *names_of.SYSTEM,
        *names_of.TOOLS,
        *names_of.MEDIA,
        *names_of.REASONING,
        *names_of.LABELS,
        *names_of.INPUT,
        *names_of.PROMPT_ONLY,
        *names_of.TEXT,
        *_ALONE,
    }
    for user, answers, _ in names_of.PAIRS:
        found |= {user, *answers}
    for pair in preference.PAIRS:
        found.update(pair)
    found.update(preference.PROMPTS)
    for first, second, verdicts, _, prompt in comparison.SETS:
        found |= {first, second, *verdicts, *([prompt] if prompt is not None else [])}
    return found


def check_fields(names: Iterable[str]) -> None:
    """Raise UsageError for a name that no reader looks for, with the nearest that one does."""
    known = known_fields()
    for name in names:
        folded = fold(name)
        if folded in known or folded.endswith("_trace"):  # a conversation, however it is called before that
            continue
        meant = did_you_mean(name, known, f"; known ones are {', '.join(_USUAL)}, ...")
        raise UsageError(f"--map: '{name}' is no known field{meant}")

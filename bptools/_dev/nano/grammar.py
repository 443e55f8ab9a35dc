"""A small template language: words, rules and tables in text files, expanded by a random choice.

    {fruit}         a word or rule by its name, chosen anew
    {fruit1}        the same one wherever it stands in one text
    {animal.food}   a column of a table; one row for the whole text, {animal2.food} another row
    (one|two|)      one of several wordings

Article, capitals and full stops are put right afterwards.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("grammar")
_SLOT = re.compile(r"\{([a-z_]+?)(\d?)(?:\.(\w+))?\}", re.IGNORECASE)
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?:[aeiou](?!ni[vfqtco]|s[ei]|uro|ne\b))|hour|honest)")
_ORDER = re.compile(
    r"((?:^|(?<=[.!] ))(?:Give|Tell|Find|List|Name|Explain|Describe|Define|Write|Make|Use|Please|I "
    r"|Suggest|Help)[^.?!]*)\?$"
)
_SINGULAR = re.compile(r"\b([Aa])n (?=one\b|uni[vfqt]|us[ei])")

Row = dict[str, str]


class Lexicon:
    """What the slots may hold: names to alternatives, names to rows."""

    def __init__(self) -> None:
        self.rules: dict[str, list[str]] = {}
        self.tables: dict[str, list[Row]] = {}

    def read_words(self, text: str) -> None:
        """Read lists of the form: name = word, word."""
        joined = re.sub(r"\n +", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
        for line in filter(None, joined.splitlines()):
            name, _, words = line.partition(" = ")
            self.rules[name] = [word.strip() for word in words.split(",")]

    def read_rules(self, text: str) -> None:
        """Read rules: a name with a colon, then an alternative a line behind one blank."""
        held: list[str] = []
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            if line and not line.startswith(" "):
                held = self.rules.setdefault(line.rstrip(":"), [])
            else:
                held.append(line[1:])

    def read_tables(self, text: str) -> None:
        """Read tables: table NAME: columns; then rows, columns divided by bars."""
        columns: list[str] = []
        rows: list[Row] = []
        for line in filter(None, text.splitlines()):
            if line.startswith("table "):
                name, _, heads = line[6:].partition(":")
                columns = [head.strip() for head in heads.split(",")]
                rows = self.tables.setdefault(name, [])
            elif not line.startswith("#"):
                rows.append(dict(zip(columns, (cell.strip() for cell in line.split("|")), strict=True)))


@cache
def lexicon() -> Lexicon:
    """Return all words, rules and tables of the folder."""
    found = Lexicon()
    for name, read in (
        ("words", found.read_words),
        ("parts", found.read_rules),
        ("stories", found.read_rules),
        ("tables", found.read_tables),
        ("tables2", found.read_tables),
        ("tables3", found.read_tables),
    ):
        read((FOLDER / f"{name}.txt").read_text(encoding="utf-8"))
    return found


class Expansion:
    """One text being made: it remembers the numbered slots and the rows."""

    def __init__(self, choice: random.Random) -> None:
        self._choice = choice
        self._words: dict[str, str] = {}
        self._rows: dict[str, Row] = {}
        self._latest: dict[str, list[str]] = {}

    def _slot(self, slot: re.Match[str]) -> str:
        name, number, column = slot.groups()
        if column:
            return self._row(name, number)[column]
        if name == "listed":
            return self._list()
        key = name + number
        if number and key in self._words:
            return self._words[key]
        word = self.fill(self._pick(name))
        if number:
            self._words[key] = word
        return word

    def _pick(self, name: str) -> str:
        """Choose an alternative that was not among the last ones of the same rule."""
        words = lexicon().rules[name]
        latest = self._latest.setdefault(name, [])
        fresh = [word for word in words if word not in latest] or words
        word = self._choice.choice(fresh)
        latest.append(word)
        return word

    def _row(self, name: str, number: str) -> Row:
        key = name + number
        if key not in self._rows:
            taken = [row for other, row in self._rows.items() if other.rstrip("0123456789") == name]
            heads = {next(iter(row.values())) for row in taken}
            rows = [row for row in lexicon().tables[name] if next(iter(row.values())) not in heads]
            self._rows[key] = self._choice.choice(rows)
        return self._rows[key]

    def _list(self) -> str:
        """Return three words of the kind that was asked for."""
        kinds = {
            "fruits": "fruit", "hobbies": "hobby", "kinds of food": "food", "tools and objects in a "
            "house": "object",
            "animals": "animal_word", "sports": "sport", "school subjects": "subject", "places in a "
            "city": "place",
            "character traits": "trait", "feelings": "feeling", "materials": "matter",
        }  # fmt: skip
        words = lexicon().rules[kinds[self._words["listable1"]]]
        one, two, three = self._choice.sample(words, 3)
        return f"{one}, {two} and {three}"

    def fill(self, template: str) -> str:
        """Return the template with choices and slots filled."""
        while found := _CHOICE.search(template):
            template = (
                template[: found.start()] + self._choice.choice(found[1].split("|")) + template[found.end() :]
            )
        return _SLOT.sub(self._slot, template)

    def text(self, template: str) -> str:
        """Return the template filled and put right as sentences."""
        return _ORDER.sub(r"\1.", polish(self.fill(template)))


def polish(text: str) -> str:
    """Put articles, blanks, capitals and stops right."""
    text = _ARTICLE.sub(r"\1n ", " ".join(text.split()))
    text = re.sub(r"([^.])\.\.(?!\.)", r"\1.", _SINGULAR.sub(r"\1 ", text))
    text = re.sub(r"([?!])[.,?](?=\s|$)", r"\1", text)
    text = re.sub(r"^([^.?!]*), please\.?\?$", r"\1, please?", text)
    text = re.sub(r"\b([Aa]n?) (?=(?:a|an|the|some) )", "", text)
    text = re.sub(r"\bthe (?=(?:a|an|the) )", "", text)
    text = re.sub(r",([\"”]) (said|asked)", r",\1 \2", text)
    return re.sub(
        r"(^[\"“]?|[.?!] [\"“]?|[.][\"”] |: \")([a-z])", lambda found: found[1] + found[2].upper(), text
    )

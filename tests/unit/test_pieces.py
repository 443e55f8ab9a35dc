"""Text records in pieces, through the conversion."""

from __future__ import annotations

import pytest

from bptools.chat import Converter, Options
from bptools.chat.pieces import cutting


def test_only_text_is_cut_and_other_fields_go_with_each_piece() -> None:
    change = cutting(Converter(), 2, "words", 0)
    record = {"text": "a b  c\n\td e", "id": 1, "bp": {"ppl": 2}}
    made = change(record)
    assert isinstance(made, list)
    assert "".join(piece["text"] for piece in made) == record["text"]
    assert [piece["bp"] for piece in made] == [
        {"ppl": 2, "chunk": number, "chunks": 3} for number in range(3)
    ]
    assert all(piece["id"] == 1 for piece in made)
    chat = {"messages": [{"role": "user", "content": "a b c d e"}, {"role": "assistant", "content": "f g h"}]}
    assert change(chat) is chat


def test_a_text_that_fits_is_the_same_object() -> None:
    record = {"text": "a b"}
    assert cutting(Converter(), 2, "words", 0)(record) is record


@pytest.mark.parametrize(
    ("more", "options"),
    [
        ({"messages": None}, Options()),
        ({"chosen": "x"}, Options()),
        ({"messages": [{"role": "user", "content": "x"}]}, Options(text_field="text")),
        ({"messages": 1}, Options(eos="!")),
    ],
)
def test_a_text_is_cut_whatever_stands_beside_it(more: dict[str, object], options: Options) -> None:
    made = cutting(Converter(options), 2, "words", 0)({"text": "a b c d!", **more})
    assert [(piece["text"], *more.items()) for piece in made] == [
        ("a b ", *more.items()),
        ("c d!", *more.items()),
    ]


def test_the_text_beside_a_verdict_is_not_cut() -> None:
    record = {
        "prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}],
        "label": True, "text": "a b c d",
    }  # fmt: skip
    assert cutting(Converter(), 2, "words", 0)(record) is record

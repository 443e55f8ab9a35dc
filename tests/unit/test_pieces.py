"""Text records in pieces, through the conversion."""

from __future__ import annotations

from bptools.chat import Converter
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

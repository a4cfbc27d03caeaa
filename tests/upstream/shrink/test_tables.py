"""How short can JSON be said, so that it can be read back exactly?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.upstream.shrink.tables import compact, restored, values
from tidegate.upstream.shrink.trees import NoTree, parsed, written

PEOPLE = [{"id": at, "name": name, "country": "DE"} for at, name in enumerate(("Ann", "Bob", "Cleo, the third"))]

_WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["a,b", "a\tb", "a|b", "a=b", "1.50", "null", " x", '"', "#1"]))
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _WORDS)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3), max_leaves=6
)
_TABLES = st.lists(_WORDS, min_size=1, max_size=4, unique=True).flatmap(
    lambda keys: st.lists(st.tuples(*[_VALUES for _ in keys]), min_size=2, max_size=6).map(
        lambda rows: [dict(zip(keys, row, strict=True)) for row in rows]
    )
)
_DOCUMENTS = st.one_of(
    _TABLES,
    st.dictionaries(_WORDS, _TABLES | _VALUES, min_size=1, max_size=3),
    st.lists(_TABLES | _VALUES, max_size=3),
)


@settings(max_examples=120, deadline=None)
@given(_DOCUMENTS, st.sampled_from([None, 2]), st.booleans())
def test_what_is_made_shorter_can_be_read_back_to_the_byte(document: Any, indent: int | None, plain: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=plain)
    short = compact(text)
    assert len(short) <= len(text)
    if short != text:
        bare = written(parsed(text))
        assert short == bare or restored(short) == bare
        assert json.loads(bare) == document


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    assert len(compact(text)) <= len(text)


def test_an_array_of_like_objects_says_each_key_once() -> None:
    assert compact(json.dumps(PEOPLE, indent=2)) == (
        "3 rows, split by tab:\nid\tname\tcountry=DE\n0\tAnn\n1\tBob\n2\tCleo, the third"
    )


def test_a_table_within_an_object_stands_below_it() -> None:
    text = json.dumps({"people": PEOPLE * 5, "next": None})
    assert compact(text).startswith('{"people":"#1","next":null}\n#1: 15 rows, split by tab:\n')
    assert json.loads(restored(compact(text))) == json.loads(text)


def test_numbers_and_escapes_stay_as_they_were_written() -> None:
    text = '[ {"price": 1.10, "name": "\\u00e9t\\u00e9", "big": 12345678901234567890}, {"price": 1e2} ]'
    assert compact(text) == '[{"price":1.10,"name":"\\u00e9t\\u00e9","big":12345678901234567890},{"price":1e2}]'


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2, "long": "0123456789012345678901234567890123456789012345678901234567890123456789"}',
        "[" * 100 + "]" * 100,
        "[" * 100_000,
        '{"not": closed, 0123456789012345678901234567890123456789012345678901234567890123456789',
        '{"one": 1} {"two": 2} 0123456789012345678901234567890123456789012345678901234567890123456789',
    ],
    ids=["a key twice", "deep", "very deep", "broken", "two values"],
)
def test_what_cannot_be_read_for_certain_stays_as_it_is(text: str) -> None:
    assert compact(text) == text


def test_a_text_that_looks_like_ours_is_made_no_table() -> None:
    assert json.loads(compact(json.dumps([{"a": "#1", "b": 2}] * 9, indent=2))) == [{"a": "#1", "b": 2}] * 9


@pytest.mark.parametrize("text", ["hello", "#1: many rows", '{"a":"#1"}\nno head', "2 rows, split by comma:\na"])
def test_what_is_no_table_cannot_be_read_back(text: str) -> None:
    with pytest.raises(NoTree):
        restored(text)


def test_json_is_found_where_it_begins_a_line_and_ends_one() -> None:
    text = 'Look:\n{"a": [1,\n 2]}\nand {"b": 1}\n{"c": 2} or so\n[3]'
    assert [text[start:end] for start, end in values(text)] == ['{"a": [1,\n 2]}', "[3]"]

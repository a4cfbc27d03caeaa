"""What is in a JSON text, to the byte?"""

from __future__ import annotations

import json

import pytest

from tidegate.upstream.shrink.trees import NoTree, parsed, value_end, written


def test_every_token_stays_as_it_is_written() -> None:
    text = '{ "a" : [ 1.10 , "\\u00e9 }", { } , [ ] , null ] }'
    assert written(parsed(text)) == '{"a":[1.10,"\\u00e9 }",{},[],null]}'


def test_a_key_that_stands_twice_makes_no_tree() -> None:
    with pytest.raises(NoTree, match='"a" stands twice'):
        parsed('{"a": 1, "a": 2}')


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[1] x", "[" * 70 + "]" * 70])
def test_what_is_no_json_makes_no_tree(text: str) -> None:
    with pytest.raises(NoTree):
        parsed(text)


def test_a_value_is_followed_to_its_end() -> None:
    text = 'x {"a": "}"} y'
    assert value_end(text, 2) == 12
    assert json.loads(text[2:12]) == {"a": "}"}
    assert value_end(text, 0) is None

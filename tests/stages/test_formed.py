from __future__ import annotations

import json

import pytest

from tidegate.stages.formed import asked_for, is_formed

SCHEMA = {
    "type": "object",
    "required": ["city", "tags"],
    "properties": {
        "city": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "people": {"type": ["integer", "null"]},
    },
}


@pytest.mark.parametrize(
    ("said", "well"),
    [
        ({"city": "Paris", "tags": []}, True),
        ({"city": "Paris", "tags": ["a"], "people": 2, "more": {}}, True),
        ({"city": "Paris", "tags": [], "people": None}, True),
        ({"city": "Paris"}, False),
        ({"city": 7, "tags": []}, False),
        ({"city": "Paris", "tags": ["c"]}, False),
        ({"city": "Paris", "tags": [], "people": 1.5}, False),
        ({"city": "Paris", "tags": [], "people": True}, False),
        ([], False),
    ],
)
def test_an_answer_has_the_form_or_has_not(said, well):
    assert is_formed(json.dumps(said), SCHEMA) is well


@pytest.mark.parametrize("said", ["", "Paris", "```json\n{}\n```", '{"city": '])
def test_what_is_no_json_has_no_form(said):
    assert not is_formed(said, SCHEMA)


def test_an_odd_schema_is_let_pass():
    assert is_formed("{}", {"type": "unheard-of", "properties": [], "required": "city", "enum": 7})
    assert is_formed("[" * 50 + "]" * 50, {"items": {"items": {}}})


def test_the_schema_is_what_the_call_asks_for():
    def body(**fields):
        return json.dumps({"model": "fast", **fields}).encode()

    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert asked_for(body(response_format=form)) == SCHEMA
    assert asked_for(body(response_format={"type": "json_object"})) == {"type": "object"}
    for other in (body(), body(response_format={"type": "text"}), body(response_format=7), b'{"response_format"'):
        assert asked_for(other) is None

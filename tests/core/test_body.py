"""Spans point at the very bytes of each value, a splice changes those bytes alone, and nothing is said twice."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.body import MAX_KEYS, checked, mistake, spans, splice
from tidegate.core.errors import BadRequest

# Text that a JSON document can say: no lone surrogates.
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
space = st.text(" \t\r\n", max_size=3)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """`text` as a JSON string, each character plain or escaped in one of the ways there are."""
    pieces = []
    for character in text:
        units = character.encode("utf-16-be")
        escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
        ways = [json.dumps(character, ensure_ascii=False)[1:-1], escaped, escaped.upper().replace("\\U", "\\u")]
        pieces.append(draw(st.sampled_from(ways)))
    return f'"{"".join(pieces)}"'


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """`value` as JSON, with any white space and any spelling of its strings."""
    if isinstance(value, str):
        return draw(spelled(value))
    if isinstance(value, list):
        return "[" + ",".join([draw(space) + draw(written(one)) + draw(space) for one in value]) + "]"
    if isinstance(value, dict):
        return draw(written_members(list(value.items())))
    return json.dumps(value)


@st.composite
def written_members(draw: st.DrawFn, members: list[tuple[str, Any]]) -> str:
    pieces = []
    for key, value in members:
        name, text = draw(spelled(key)), draw(written(value))
        pieces.append(draw(space) + name + draw(space) + ":" + draw(space) + text + draw(space))
    return "{" + (",".join(pieces) or draw(space)) + "}"


objects = st.dictionaries(words, values, max_size=6)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    value = draw(objects)
    return value, (draw(space) + draw(written(value)) + draw(space)).encode()


@given(bodies())
def test_a_span_is_exactly_the_text_of_its_value(made: tuple[dict[str, Any], bytes]) -> None:
    value, body = made
    found = spans(body)
    assert list(found) == list(value)
    for key, (start, end) in found.items():
        text = body[start:end]
        assert text == text.strip(b" \t\r\n")
        assert json.loads(text) == value[key]


@given(bodies(), st.data())
def test_a_splice_changes_those_values_and_no_other_byte(
    made: tuple[dict[str, Any], bytes], data: st.DataObject
) -> None:
    value, body = made
    found = spans(body)
    names = words | st.sampled_from(sorted(value)) if value else words
    changes = data.draw(st.dictionaries(names, values, max_size=4))
    spliced = splice(body, found, {key: data.draw(written(new)).encode() for key, new in changes.items()})
    assert json.loads(spliced) == value | changes
    kept = [body[start:end] for key, (start, end) in found.items() if key not in changes]
    after = spans(spliced)
    assert [spliced[slice(*after[key])] for key in found if key not in changes] == kept
    assert between(body, found, list(found)) == between(spliced, after, list(found))


def between(body: bytes, found: dict[str, tuple[int, int]], keys: list[str]) -> list[bytes]:
    """What stands around the values of `keys`, up to the last of them: braces, names, colons and all white space."""
    pieces, at = [], 0
    for key in keys:
        start, end = found[key]
        pieces.append(body[at:start])
        at = end
    return pieces


@given(bodies())
def test_a_splice_of_nothing_is_the_body_itself(made: tuple[dict[str, Any], bytes]) -> None:
    _, body = made
    assert splice(body, spans(body), {}) == body


@given(st.dictionaries(words, values, min_size=1, max_size=5), st.data())
def test_a_key_that_stands_twice_is_refused_by_name_however_it_is_spelled(
    value: dict[str, Any], data: st.DataObject
) -> None:
    again = data.draw(st.sampled_from(sorted(value)))
    members = list(value.items())
    members.insert(data.draw(st.integers(0, len(members))), (again, data.draw(values | st.just(value[again]))))
    body = data.draw(written_members(members)).encode()
    with pytest.raises(BadRequest) as refused:
        spans(body)
    assert refused.value.param == again
    assert repr(again) in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":12}',
        b'{"a":12,"a":1}',
        b'{"a":1.5,"a":1}',
        b'{"a":[1,2],"b":0,"a":[1,2]}',
        b'{"a":1,"\\u0061":1}',
        b'{"\\u0061":1,"a":1}',
        b'{"b":"\\"a\\":1","a":1,"a":1}',
        b'{"a":"x","a":"x\\""}',
        b' {\n"a" : {"a":1,"a":1} ,\t"a" :{"a":1,"a":1} }\r\n',
    ],
)
def test_a_repeated_key_is_found_in_all_these(body: bytes) -> None:
    with pytest.raises(BadRequest, match="the key 'a' stands twice"):
        spans(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":{"a":1,"a":1}}',
        b'{"a":[{"b":1},{"b":1}],"b":1}',
        b'{"a":"\\"b\\":1","b":1}',
        b'{"a\\\\":1,"a\\"":1,"a":1}',
        b'{"a\\n":1,"a\\\\n":1}',
        b'{"a":"}","b":"{"}',
        b'{"":1,"a":2}',
        b'{"\\u00e9":1,"e\\u0301":1}',
        b"{}",
        b" { } ",
    ],
)
def test_no_key_is_called_a_repeated_one_that_is_none(body: bytes) -> None:
    assert list(spans(body)) == list(json.loads(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \n", id="only white space"),
        pytest.param(b"{", id="half an object"),
        pytest.param(b'{"a":1', id="no end"),
        pytest.param(b'{"a":1}}', id="two ends"),
        pytest.param(b'{"a":1}{"b":2}', id="two objects"),
        pytest.param(b'{"a":1,}', id="a comma too many"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b"{a:1}", id="a bare key"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="Infinity"),
        pytest.param(b'{"a":-Infinity}', id="minus Infinity"),
        pytest.param(b'{"a":01}', id="a leading zero"),
        pytest.param(b'{"a":"\\x41"}', id="an unknown escape"),
        pytest.param(b'{"a":"\n"}', id="a line break in a string"),
        pytest.param(b'{"a":"\x00"}', id="NUL"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="a byte order mark"),
        pytest.param(b'{"\xff":1}', id="a key that is not UTF-8"),
        pytest.param(b'{"\\ud800":1}', id="a lone surrogate as a key"),
        pytest.param(b'{"a":"\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"a":"\\udc00\\ud800"}', id="surrogates the wrong way round"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"a"', id="a string"),
        pytest.param(b"1", id="a number"),
        pytest.param(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="depth 10,000"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="objects at depth 10,000"),
        pytest.param(b"[" * 1_000_000, id="a million brackets"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        spans(body)


@given(st.binary(max_size=60) | st.text('{}[]":,\\u01aeE+-. \n', max_size=40).map(str.encode))
@example(b'{"a":1,"a":2,"b":')
@example(b'{"\\u0061":1,"a"}')
def test_random_bytes_raise_nothing_but_a_bad_request(body: bytes) -> None:
    try:
        found = spans(checked(body))
    except BadRequest:
        return
    assert {key: json.loads(body[slice(*span)]) for key, span in found.items()} == json.loads(body)


@given(st.binary(max_size=40))
def test_a_body_is_text_or_refused_with_the_byte_that_is_none(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        with pytest.raises(BadRequest, match=rf"not valid UTF-8 \(byte {wrong.start}\)"):
            checked(body)
    else:
        assert checked(body) is body


def test_bad_utf8_is_seen_where_nobody_reads() -> None:
    with pytest.raises(BadRequest, match=r"not valid UTF-8 \(byte 27\)"):
        checked(b'{"model":"m","ignored":"abc\xffdef"}')


def test_as_many_keys_as_are_allowed_and_one_more() -> None:
    def body(keys: int) -> bytes:
        return json.dumps(dict.fromkeys(map(str, range(keys)), 1)).encode()

    assert len(spans(body(MAX_KEYS))) == MAX_KEYS
    with pytest.raises(BadRequest, match=f"{MAX_KEYS + 1} top-level keys; {MAX_KEYS} are allowed"):
        spans(body(MAX_KEYS + 1))


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        pytest.param(b"{" + b",".join(b'"%d":1' % at for at in range(1_000_000)) + b"}", True, id="a million keys"),
        pytest.param(b'{"a":1' + b',"a":1' * 1_000_000 + b"}", True, id="one key a million times"),
        pytest.param(b'{"\\u0061":1,"x":[' + b"[]," * 2_000_000 + b"0]}", False, id="brackets after an escaped key"),
        pytest.param(b'{"a":1,"x":[' + b"0," * 3_000_000 + b'0],"a":2}', True, id="commas between two of a key"),
        pytest.param(b"{" + b" " * (8 * MIB) + b'"a":1' + b"\n" * (8 * MIB) + b"}", False, id="white space"),
        pytest.param(b'{"' + b"\\\\" * (4 * MIB) + b'":1}', False, id="a key of escapes"),
    ],
)
def test_large_bodies_take_no_longer_than_their_decoding(body: bytes, refused: bool) -> None:
    """What is walked in Python is the keys alone: a client must not hold up the loop with a body of its choice."""
    began = time.process_time()
    json.loads(body)
    by_the_standard_library = time.process_time() - began
    began = time.process_time()
    if refused:
        with pytest.raises(BadRequest):
            spans(body)
    else:
        assert spans(body)
    assert time.process_time() - began < by_the_standard_library + 1.0


@pytest.mark.parametrize(
    ("said", "param"),
    [
        (b'{"n": {}}', "n.size"),
        (b'{"n": {"size": "x"}}', "n.size"),
        (b'{"n": {"size": 1, "more": 2}}', "n.more"),
        (b'{"n": {"size": 1, "": 2}}', "n"),
        (b"[]", "all of it"),
    ],
)
def test_a_mistake_says_which_field_it_is_about(said: bytes, param: str) -> None:
    class Inner(msgspec.Struct, forbid_unknown_fields=True):
        size: int

    with pytest.raises(msgspec.ValidationError) as wrong:
        msgspec.json.decode(said, type=msgspec.defstruct("Outer", [("n", Inner)], forbid_unknown_fields=True))
    assert mistake(wrong.value, "all of it").param == param

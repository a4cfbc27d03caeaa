"""An entry holds on to the one before, and says nothing that a person would not want to be read."""

from __future__ import annotations

import json

import msgspec
import pytest

from tidegate.core.audit import Broken, Head, canonical, chained, follow
from tidegate.core.guard import Verdict
from tidegate.core.ports import Acted, AttemptRow, Closed


def call(id: str, **fields: object) -> Closed:
    plain = Closed(
        id=id, at_ms=7, key_id="k", dialect="openai", operation="chat", outcome="ok", status=200, duration_us=1,
        overhead_us=1, organisation_id="acme",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


SAID = [
    call("a", guards=(Verdict("pii", "input", "mask", ("email",), ("user",), 2),), usage={"input": 3}, cost_nusd=9),
    Acted("b", 8, "key_created", "k2", "k1", "ops", None, {"role": "member"}),
    call("c", user="sub1", personal=b"\x01sealed", error="upstream_failed"),
]


def test_entries_follow_each_other_from_the_first():
    links = chained("w", Head(), SAID)
    head = Head()
    for link in links:
        head = follow(head, "w", link.entry, "here")
    assert head == Head(3, links[-1].hash)
    assert [link.subject for link in links] == ["", "", "sub1"]


def test_a_chain_goes_on_where_it_ended():
    whole = chained("w", Head(), SAID)
    first = chained("w", Head(), SAID[:1])
    assert [*first, *chained("w", Head(1, first[0].hash), SAID[1:])] == whole


def test_what_guards_made_of_a_call_stands_in_its_entry():
    (link, *_) = chained("w", Head(), SAID)
    (verdict,) = json.loads(link.entry)["guards"]
    assert (verdict["guard"], verdict["verdict"], verdict["rules"]) == ("pii", "mask", ["email"])


def test_names_and_words_stand_in_no_entry():
    attempt = AttemptRow("p", "m", "failed", 1, 2, said="he said SECRET")
    (link,) = chained(
        "w", Head(), [call("a", user="ANN", session="SESSION", tags=("TAG",), attempts=(attempt,), model="M")]
    )
    for word in (b"ANN", b"SESSION", b"TAG", b"SECRET", b'"M"'):
        assert word not in link.entry


def test_canonical_is_one_text_for_one_value():
    assert canonical({"b": [1, None], "a": 0.5}) == b'{"a":0.5,"b":[1,null]}'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b'"status":200', b'"status":500'), None),
        (lambda text: text.replace(b'"seq":0', b'"seq":1'), "where 0 is expected"),
        (lambda text: text.replace(b'"writer":"w"', b'"writer":"v"'), "stands among those of w"),
        (lambda text: text.replace(b'"prev":"00', b'"prev":"01'), "does not follow"),
        (lambda text: text.replace(b",", b", ", 1), "not canonical"),
        (lambda text: text[:-1], "is no entry"),
    ],
)
def test_what_was_changed_is_told(change, said):
    first, second, _ = chained("w", Head(), SAID)
    if said is None:  # by itself it could be true; the next one does not follow it
        head = follow(Head(), "w", change(first.entry), "line 1")
        with pytest.raises(Broken, match="line 2: entry 1 does not follow"):
            follow(head, "w", second.entry, "line 2")
        return
    with pytest.raises(Broken, match=f"line 1: .*{said}"):
        follow(Head(), "w", change(first.entry), "line 1")

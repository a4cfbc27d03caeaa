"""A line is read or says what is wrong with it; and when a batch is asked, and what it has come to."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.batches import (
    Config,
    Counts,
    Mistake,
    Question,
    Said,
    ended_as,
    may_ask,
    opens_ms,
    read,
    rendered,
    trouble,
)

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
BERLIN = ZoneInfo("Europe/Berlin")


def line(**fields: Any) -> bytes:
    return json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m"}} | fields).encode()


def test_a_good_line_is_what_is_asked_byte_for_byte() -> None:
    text = b'{"url": "/v1/chat/completions", "custom_id": "a", "body": {"model":  "m", "user": "ann", "x": 1.50}}'
    assert read(text, 1, CHAT) == Question("a", b'{"model":  "m", "user": "ann", "x": 1.50}', "ann")
    request = b'{"custom_id": "a", "params": {"model": "m", "metadata": {"user_id": "ann"}}}'
    assert read(request, 1, MESSAGES) == Question("a", b'{"model": "m", "metadata": {"user_id": "ann"}}', "ann")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "invalid_json_line"),
        (b"[]", "invalid_json_line"),
        (b"{" * 5_000, "invalid_json_line"),
        (b'{"custom_id": "\xff"}', "invalid_encoding"),
        (line(custom_id=""), "invalid_custom_id"),
        (line(custom_id=7), "invalid_custom_id"),
        (line(custom_id="x" * 513), "invalid_custom_id"),
        (line(url="/v1/embeddings"), "mismatched_endpoint"),
        (line(url=None), "mismatched_endpoint"),
        (line(method="GET"), "invalid_method"),
        (line(body=[]), "invalid_body"),
        (line(body="hi"), "invalid_body"),
        (line(body={"stream": True}), "invalid_body"),
    ],
)
def test_a_line_that_makes_no_sense_says_what_and_where(text: bytes, code: str) -> None:
    found = read(text, 7_341, CHAT)
    assert isinstance(found, Mistake) and (found.line, found.code) == (7_341, code)


@given(st.binary(max_size=200))
def test_whatever_a_line_holds_it_is_read_or_refused(text: bytes) -> None:
    for endpoint in (CHAT, MESSAGES):
        assert isinstance(read(text, 1, endpoint), Question | Mistake)


def test_what_came_of_a_line_is_said_in_the_words_of_whose_batch_it_is() -> None:
    said = Said("a", 200, b'{"answer": 1.50}', "own_1")
    assert b'"body":{"answer": 1.50}' in rendered(said, "done", anthropic=False)
    assert b'{"type":"succeeded","message":{"answer": 1.50}}' in rendered(said, "done", anthropic=True)
    for state, ours, theirs in (("expired", b"batch_expired", b'"expired"'), ("cancelled", b"batch_c", b'"canceled"')):
        assert ours in rendered(Said("a"), state, anthropic=False)  # type: ignore[arg-type]
        assert theirs in rendered(Said("a"), state, anthropic=True)  # type: ignore[arg-type]


def at(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=BERLIN)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        ("22:00-06:00", "2026-03-10T12:00", "2026-03-10T22:00"),
        ("22:00-06:00", "2026-03-10T23:00", "2026-03-10T23:00"),
        ("22:00-06:00", "2026-03-10T05:59", "2026-03-10T05:59"),
        ("22:00-06:00", "2026-03-10T06:00", "2026-03-10T22:00"),
        ("01:00-02:00", "2026-03-10T02:00", "2026-03-11T01:00"),
        ("01:00-02:00", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("02:30-05:00", "2026-10-25T02:10+02:00", "2026-10-25T02:30+02:00"),
        ("02:30-05:00", "2026-10-25T02:10+01:00", "2026-10-25T02:30+01:00"),  # for the second time
    ],
)
def test_hours_begin_where_the_clock_on_the_wall_says_so(hours: str, now: str, opens: str) -> None:
    assert opens_ms(hours, BERLIN, at(now)) == at(opens)


def test_what_would_expire_before_its_hours_is_asked_at_once() -> None:
    noon, evening = at("2026-03-10T12:00"), at("2026-03-10T22:00")
    assert not may_ask("22:00-06:00", BERLIN, noon, evening + 1)
    assert may_ask("22:00-06:00", BERLIN, noon, evening)
    assert may_ask("22:00-06:00", BERLIN, evening, evening + 1)
    assert may_ask(None, BERLIN, noon, noon + 1)


@pytest.mark.parametrize("hours", ["22-6", "24:00-01:00", "22:00-22:00", "night", ""])
def test_hours_that_are_none_are_told(hours: str) -> None:
    assert trouble(Config(hours=hours)) is not None
    assert trouble(Config(hours="22:00-06:00")) is None


@pytest.mark.parametrize(
    ("counts", "cancelled", "ended"),
    [
        (Counts(done=3), False, "completed"),
        (Counts(done=2, failed=1), False, "completed"),
        (Counts(failed=3), False, "completed"),
        (Counts(done=2, expired=1), False, "expired"),
        (Counts(done=2, cancelled=1), True, "cancelled"),
        (Counts(), False, "failed"),
    ],
)
def test_a_batch_has_come_to(counts: Counts, cancelled: bool, ended: str) -> None:
    assert ended_as(counts, cancelled) == ended

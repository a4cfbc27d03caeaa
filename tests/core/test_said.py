"""What a reply says is read from its bytes, whoever's dialect they are in and however they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.app import codecs
from tidegate.core.said import Answer, Called, answers, events_in

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"


def said(file: str, dialect: str, operation: str = "chat") -> list[Answer]:
    return answers(events_in(codecs()[dialect, operation], (TRANSCRIPTS / file).read_bytes()))


@pytest.mark.parametrize("file", ["anthropic-text.sse", "anthropic-text.json"])
def test_a_text_of_anthropic(file: str) -> None:
    (answer,) = said(file, "anthropic")
    assert answer.text and answer.finish == "stop" and not answer.tools


@pytest.mark.parametrize("file", ["anthropic-tools.sse", "anthropic-tools.json"])
def test_tools_that_are_called(file: str) -> None:
    (answer,) = said(file, "anthropic")
    assert answer.tools and all(one.name and one.id and one.arguments[:1] in ("", "{") for one in answer.tools)


def test_thoughts_are_no_text() -> None:
    (answer,) = said("openai-reasoning.sse", "openai")
    assert answer.text


def test_two_answers_are_two() -> None:
    assert len([one.text for one in said("openai-two-answers.sse", "openai") if one.text]) == 2


def test_a_plain_completion() -> None:
    assert said("openai-complete.sse", "openai", "complete")[0].text
    assert said("openai-complete.json", "openai", "complete")[0].text


def test_what_was_cut_off_says_what_had_come() -> None:
    whole = (TRANSCRIPTS / "openai-chat.sse").read_bytes()
    codec = codecs()["openai", "chat"]
    (all_of_it,), (some,) = (answers(events_in(codec, text)) for text in (whole, whole[: len(whole) * 2 // 3]))
    assert some.text and all_of_it.text.startswith(some.text) and some.finish is None


@pytest.mark.parametrize("reply", [b"", b"<html>", b"{", b'{"choices": 3}', b"data: {\n\n"])
def test_what_makes_no_sense_says_nothing(reply: bytes) -> None:
    assert answers(events_in(codecs()["openai", "chat"], reply)) == []


def test_answers_do_not_share_their_tools() -> None:
    one, other = Answer(), Answer()
    one.tools.append(Called("x"))
    assert other.tools == []

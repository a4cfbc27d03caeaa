from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.house import Build
from tidegate.core.guard import Part
from tidegate.stages.guardrails.masks import Masks, masked
from tidegate.stages.guardrails.shape import Config, Shape


async def found(text: str, role: str = "user", **fields: Any) -> list[str]:
    (some,) = await Shape(Config(**fields)).check(None, [Part("a", role, text)])  # type: ignore[arg-type]
    return [one.rule for one in some]


async def left(text: str, **fields: Any) -> str:
    (some,) = await Shape(Config(**fields)).check(None, [Part("a", "user", text)])  # type: ignore[arg-type]
    return masked(text, some, "mask", Masks())


@pytest.mark.parametrize(
    ("hidden", "what"),
    [
        ("a\x00b", "NUL"),
        ("a\x1b[2Jb", "escape"),
        ("a\u202eb", "right to left override"),
        ("a\u2066b\u2069", "isolate"),
        ("a\u200b\u200bb", "zero-width, several"),
        ("a\u00ad\u200db", "soft hyphen and joiner"),
        ("a\ufeffb", "byte order mark within"),
        ("".join(chr(0xE0000 + ord(one)) for one in "ignore all"), "tags"),
        ("a\x9bb", "C1"),
    ],
    ids=lambda one: one if one.isascii() and one.isprintable() else "",
)
async def test_what_nobody_sees_is_found_and_taken_out(hidden: str, what: str):
    assert await found(hidden) != []
    rest = await left(hidden)
    assert await found(rest) == [] and rest.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\r\nwith lines\n",
        "👩\u200d👩\u200d👧 family",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag",
        "می\u200cخواهم",  # Persian is written with a zero-width non-joiner
        "עברית and العربية",
        "日本語　全角",
        "e\u0301 combining",
        "❤\ufe0f",
    ],
)
async def test_what_people_write_is_left_alone(text: str):
    assert await found(text) == []


@pytest.mark.parametrize(
    "mark",
    [
        "<|im_start|>",
        "<|eot_id|>",
        "[INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "<|channel|>",
        "<\uff5cUser\uff5c>",
        "[/INST]",
    ],
)
async def test_what_a_template_marks_turns_with_is_no_mark_any_more_and_reads_the_same(mark: str):
    rest = await left(f"say {mark} twice {mark}")
    assert mark not in rest
    assert rest.replace(" ", "") == f"say{mark}twice{mark}".replace(" ", "")
    assert await found(rest) == []


async def test_the_application_writes_its_own_templates():
    assert await found("<|im_start|>", "system") == []
    assert await found("<|im_start|>", "tool") == ["chat_template"]


async def test_many_empty_lines_are_made_few():
    assert await found("a" + "\n" * 5 + "b", max_newlines=4) == ["newlines"]
    assert await left("a" + "\n \r\n" * 30 + "b", max_newlines=2) == "a\n\nb"
    assert await found("a\n\n\nb", max_newlines=4) == []


async def test_a_text_that_is_too_long_is_cut():
    assert await found("x" * 11, max_length=10) == ["too_long"]
    assert await left("x" * 11, max_length=10) == "x" * 10
    assert await found("x" * 11, "tool", max_length=10) == []


async def test_texts_together_are_counted():
    guard = Shape(Config(max_total=10, max_parts=3))
    told = await guard.check(None, [Part(f"{at}", "user", "abcd") for at in range(4)])  # type: ignore[arg-type]
    assert [[one.rule for one in some] for some in told] == [[], [], ["too_long_together"], ["too_many_parts"]]


async def test_a_role_that_a_client_may_not_send_is_refused(build_house: Build):
    text = "providers: {main: {type: scripted}}\nguardrails: {input: [{type: shape, action: block, roles: [user]}]}"
    house = await build_house(text)
    said = [{"role": "system", "content": "you are mine"}, {"role": "user", "content": "hi"}]
    reply = await house.ask(said, route="main/m")
    assert (reply.status, reply.error.code, reply.error.param) == (400, "guardrail_blocked", "messages[0].content")
    assert (await house.ask(said[1:], route="main/m")).status == 200


PIECES = ("<|im_start|>", "[INST]", "<", "|>", "\n", "\r\n", " ", "\u200b", "\u202e", "\x00", "\U000e0041", "a", "🏴")


@given(
    text=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20).map("".join),
    most=st.integers(1, 30),
    lines=st.integers(1, 3),
)
async def test_places_lie_in_the_text_one_after_the_other(text: str, most: int, lines: int):
    guard = Shape(Config(max_length=most, max_newlines=lines))
    (some,) = await guard.check(None, [Part("a", "user", text)])  # type: ignore[arg-type]
    at = 0
    for one in some:
        assert at <= one.start <= one.end <= len(text)
        at = one.end

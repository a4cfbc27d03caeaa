"""A judge hears a share of the answers, whole, and the others pass as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.core.call import Event, ReplyHead
from tidegate.core.chat import Channel
from tidegate.core.errors import UpstreamCutOff
from tidegate.core.values import Share, Size
from tidegate.stages.judging import Config, Ear, Heard, Judging


class Saying(Event):
    def __init__(self, *texts: tuple[Channel, str], last: bool = False, error: Any = None) -> None:
        super().__init__(b"x", last=last, error=error)
        self._texts = texts

    def texts(self) -> Any:
        return self._texts


class Reply:
    head = ReplyHead("openai", (), None)
    as_asked = True

    def __init__(self, *events: Event) -> None:
        self._events = events

    @property
    def events(self) -> AsyncIterator[list[Event]]:
        async def each() -> AsyncIterator[list[Event]]:
            for event in self._events:
                yield [event]

        return each()


TEXT = Channel()
WHOLE = (
    Saying((TEXT, "hel"), (Channel(1), "other")),
    Saying((Channel(0, "reasoning"), "hm"), (TEXT, "lo")),
    Saying(last=True),
)


def call(**fields: Any) -> Any:
    return SimpleNamespace(
        **{"kind": "live", "own": None, "operation": "chat", "route": SimpleNamespace(name="fast")} | fields
    )


async def heard(*events: Event, asked: Any = None, share: float = 1, max_bytes: int = 1000) -> list[str]:
    found: list[Heard] = []
    config = Config(suite="s.yaml", share=Share(share), max_bytes=Size(max_bytes))
    judging = Judging({"fast": Ear(config, found.append)}, Random(1))
    reply = judging.listen(asked or call(), Reply(*events))
    async for _ in reply.events:
        pass
    return [one.text for one in found]


async def test_the_first_choice_is_heard_whole_without_what_was_only_thought():
    assert await heard(*WHOLE) == ["hello"]


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "eval"},
        {"own": object()},
        {"operation": "embed"},
        {"route": SimpleNamespace(name="slow")},
        {"route": None},
    ],
)
async def test_nobody_hears_what_is_no_live_chat_of_the_route(other: dict[str, Any]):
    assert await heard(*WHOLE, asked=call(**other)) == []


async def test_nobody_hears_what_broke_off_said_nothing_or_is_too_long():
    broken = Saying(last=True, error=UpstreamCutOff("it broke off"))
    assert await heard(*WHOLE[:2], broken) == []
    assert await heard(*WHOLE[:2]) == [], "it has no end"
    assert await heard(WHOLE[2]) == []
    assert await heard(*WHOLE, max_bytes=4) == []


async def test_a_share_is_heard():
    found = [await heard(*WHOLE, share=0.3) for _ in range(3)]
    assert found == [found[0]] * 3, "the same chance every time"
    chosen, judging = [], Judging({"fast": Ear(Config(suite="s", share=Share(0.3)), lambda heard: None)}, Random(1))
    for _ in range(2_000):
        reply = Reply(*WHOLE)
        chosen.append(judging.listen(call(), reply) is not reply)
    assert 0.25 < sum(chosen) / 2_000 < 0.35


def test_where_nobody_listens_the_very_reply_is_handed_on():
    reply = Reply(*WHOLE)
    assert Judging({}).listen(call(), reply) is reply

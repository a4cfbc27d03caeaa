"""Replies of no dialect at all: events that are nothing but what they mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.providers.openai.transcripts import Meaning
from tidegate.core.call import Event
from tidegate.core.chat import Began, Change, Channel, Delta, Finished, ToolBegan
from tidegate.core.money import KINDS, Usage


class Foreign(Event):
    __slots__ = ("meant",)

    def __init__(self, *meant: Change, last: bool = False, usage: Usage | None = None) -> None:
        super().__init__(b"nuqneH", last=last, usage=usage)
        self.meant = meant

    def changes(self) -> Sequence[Change]:
        return self.meant

    @classmethod
    def of(cls, *texts: str) -> list[Foreign]:
        """The beginning of a reply."""
        return [cls(Began("id", "model", 1)), *(cls(Delta(Channel(), text)) for text in texts)]


words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
usages = st.builds(Usage, **{kind: st.integers(0, 99) for kind in KINDS if not kind.startswith("cached_write")})


@st.composite
def replies(draw: st.DrawFn) -> list[Foreign]:
    """A whole reply: answers, thoughts and tool calls, interleaved in any way, numbered as another dialect may."""
    tools = {
        Channel(choice, "tool", number): ToolBegan(Channel(choice, "tool", number), draw(words), draw(words))
        for choice in range(draw(st.integers(1, 2)))
        for number in draw(st.lists(st.integers(0, 9), max_size=3, unique=True))
    }
    spoken = [Channel(choice, kind) for choice in (0, 1) for kind in ("text", "reasoning", "refusal")]
    changes: list[Change] = [Began(draw(words), draw(words), draw(st.integers(1, 2**31)))]
    begun: set[Channel] = set()
    for channel in draw(st.lists(st.sampled_from([*spoken, *tools]), max_size=12)):
        if channel in tools and channel not in begun:
            changes.append(tools[channel])
        begun.add(channel)
        changes.append(Delta(channel, draw(words)))
    reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "other"])
    changes += [Finished(choice, draw(reasons)) for choice in sorted({0, *(channel.choice for channel in begun)})]
    events: list[Foreign] = []
    while changes:
        size = draw(st.integers(1, 3))
        events.append(Foreign(*changes[:size], usage=draw(st.none() | usages)))
        changes = changes[size:]
    return [*events, Foreign(last=True, usage=draw(usages))]


def expected(events: list[Foreign]) -> Meaning:
    """What `events` mean to a client of OpenAI's, who numbers the tool calls of an answer from 0."""
    numbers: dict[Channel, Channel] = {}
    texts: dict[Channel, str] = {}
    tools: dict[Channel, tuple[str, str]] = {}
    finished: dict[int, str] = {}
    began = Began("", "", 0)
    for change in [change for event in events for change in event.meant]:
        if isinstance(change, Began):
            began = change
        elif isinstance(change, ToolBegan):
            choice = change.channel.choice
            number = sum(other.choice == choice for other in numbers)
            numbers[change.channel] = Channel(choice, "tool", number)
            tools[numbers[change.channel]] = (change.id, change.name)
        elif isinstance(change, Delta):
            channel = numbers.get(change.channel, change.channel)
            texts[channel] = texts.get(channel, "") + change.text
        else:
            finished[change.choice] = "stop" if change.reason == "other" else change.reason
    return Meaning(texts, [event.usage for event in events if event.usage][-1], began.id, began.model, finished, tools)


def rows(stream: bytes) -> list[dict[str, Any]]:
    """The JSON of each frame of a stream, [DONE] left out."""
    frames = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n") if frame]
    return [json.loads(frame) for frame in frames if frame != b"[DONE]"]

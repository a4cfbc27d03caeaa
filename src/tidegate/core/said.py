"""What does a reply say? Its events, or the bytes kept of them, as answers: texts, and tools that are called."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.core.call import Event
from tidegate.core.chat import Began, Channel, Finished, ToolBegan
from tidegate.core.errors import TidegateError
from tidegate.core.ports import Codec


class Called(msgspec.Struct):
    """A tool that is asked for. `arguments` is JSON as the model wrote it, valid or not."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Answer(msgspec.Struct):
    """One of those that were asked for (`n`)."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tools: list[Called] = []
    finish: str | None = None  # stop | length | tool_calls | content_filter | other; None: it has not come to its end


def events_in(codec: Codec, reply: bytes) -> list[Event]:
    """Of a reply that is kept, as a stream or whole. What makes no sense, such as what was cut off, is not in it."""
    decoder = codec.decoder(stream=reply.lstrip()[:1] != b"{", withhold_usage=False)
    found: list[Event] = []
    try:
        found += decoder.feed(reply)
        found += decoder.end()
    except TidegateError:
        pass
    return found


def answers(events: Iterable[Event]) -> list[Answer]:
    """In order; none where nothing was said."""
    found: dict[int, Answer] = {}
    tools: dict[Channel, Called] = {}

    def answer(choice: int) -> Answer:
        return found.setdefault(choice, Answer())

    def tool(channel: Channel) -> Called:
        if channel not in tools:
            tools[channel] = Called()
            answer(channel.choice).tools.append(tools[channel])
        return tools[channel]

    for event in events:
        for change in event.changes():
            if isinstance(change, ToolBegan):
                called = tool(change.channel)
                called.id, called.name = change.id, change.name
            elif isinstance(change, Finished):
                answer(change.choice).finish = change.reason
            elif isinstance(change, Began):
                continue
            elif change.channel.kind == "tool":
                tool(change.channel).arguments += change.text
            else:
                one, field = answer(change.channel.choice), change.channel.kind
                setattr(one, field, getattr(one, field) + change.text)
    return [found[choice] for choice in sorted(found)]

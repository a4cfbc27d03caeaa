"""Is an answer what its schema asks for? Heard as it passes by, of calls in an experiment that wants to know."""

from __future__ import annotations

from typing import Any, Protocol

from tidegate.core.call import Call, Reply
from tidegate.core.chat import Channel
from tidegate.core.form import asked_for, is_formed
from tidegate.core.overheard import Overheard

MAX_BYTES = 64 * 1024  # of an answer; of a longer one nothing is said


class Wanted(Protocol):
    """Who wants to know."""

    def wants(self, call: Call) -> bool: ...

    def formed(self, call: Call, *, well: bool) -> None:
        """Must not wait."""


class Formed:
    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def listen(self, call: Call, reply: Reply) -> Reply:
        """The same reply, heard as it passes by. The very same where nobody wants to know."""
        if call.operation != "chat" or not self._wanted.wants(call):
            return reply
        schema = asked_for(call.outgoing)
        return reply if schema is None else Listening(call, reply, schema, self._wanted)


class Listening(Overheard):
    """A reply whose first choice is looked at when it has ended well."""

    def __init__(self, call: Call, reply: Reply, schema: dict[str, Any], wanted: Wanted) -> None:
        super().__init__(call, reply, MAX_BYTES)
        self._schema = schema
        self._wanted = wanted
        self._calls_tools = False

    def beside(self, channel: Channel) -> None:
        if channel.kind != "reasoning":
            self._calls_tools = True  # or it refuses: no answer of that form is due

    def ended(self, text: str | None) -> None:
        if text is not None and not self._calls_tools:
            self._wanted.formed(self._call, well=is_formed(text, self._schema))

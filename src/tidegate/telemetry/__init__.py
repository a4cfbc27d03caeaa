"""What can be seen from outside? Logs and metrics, from the events that the house tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.core.call import Call
from tidegate.core.ports import Closed, Events


class Listeners:
    """Everything that happens, told to each listener in turn."""

    def __init__(self, listeners: Sequence[Events]) -> None:
        self._listeners = [*listeners]

    def add(self, listener: Events) -> None:
        self._listeners.append(listener)

    def remove(self, listener: Events) -> None:
        """It is told no more; nothing happens where it was not told anyway."""
        self._listeners = [one for one in self._listeners if one is not listener]

    def call_began(self, call: Call) -> None:
        for listener in self._listeners:
            listener.call_began(call)

    def call_ended(self, call: Call, row: Closed | None) -> None:
        for listener in self._listeners:
            listener.call_ended(call, row)

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.notice(name, fields)

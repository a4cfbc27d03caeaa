"""What can be seen from outside? Logs and metrics, from the events that the house tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tidegate.core.call import Call
from tidegate.core.ports import Closed, Events


class Listeners:
    """Everything that happens, told to each listener in turn."""

    def __init__(self, listeners: Sequence[Events]) -> None:
        self._listeners: list[Events] = []
        self._began: list[Callable[[Call], None]] = []
        self._ended: list[Callable[[Call, Closed | None], None]] = []
        for listener in listeners:
            self.add(listener)

    def add(self, listener: Events) -> None:
        self._listeners.append(listener)
        self._began.append(listener.call_began)
        self._ended.append(listener.call_ended)

    def call_began(self, call: Call) -> None:
        for began in self._began:
            began(call)

    def call_ended(self, call: Call, row: Closed | None) -> None:
        for ended in self._ended:
            ended(call, row)

    def notice(self, name: str, fields: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.notice(name, fields)

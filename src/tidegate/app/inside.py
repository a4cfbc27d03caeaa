"""How do calls of our own come in? By the front door, seen from inside."""

from __future__ import annotations

from tidegate.core.call import Call, Event, Route
from tidegate.gateway import Gateway


class Inside:
    """The front door seen from inside: for calls of our own."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None

    async def hear(self, call: Call) -> list[Event]:
        """The whole reply. Raises TidegateError."""
        assert self.gateway is not None
        return await self.gateway.heard(call)

    async def ask(self, call: Call) -> str:
        """What is said to it. Raises TidegateError."""
        assert self.gateway is not None
        return await self.gateway.said(call)

    def route(self, name: str) -> Route:
        """As it is just now. Raises ModelNotFound."""
        return self.house().routes.find(name)

    def house(self) -> Gateway:
        """The one that answers now."""
        assert self.gateway is not None
        return self.gateway

"""What of operations that one dialect alone has? There is no neutral form, so nobody else can be asked."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from tidegate.core.call import Asked
from tidegate.core.chat import Conversation, Written
from tidegate.core.errors import BadRequest
from tidegate.core.ports import Encoder


class Untranslated:
    """The part of a codec that would translate. `why` is what a client is told."""

    why: ClassVar[str]

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> Encoder:
        self._refuse()

    def conversation(self, asked: Asked) -> Conversation:
        self._refuse()

    def render_request(self, conversation: Conversation, model: str) -> Written:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise BadRequest(self.why)

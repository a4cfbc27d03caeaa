"""What does a service of the operator's say of these texts? They are sent to its address, and it answers with places.

The address stands in the configuration and nowhere else: no call can choose or change it, and redirects are not
followed. Each request is signed, so that the service knows who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Direction, Finding, Part
from tidegate.core.ports import Exchange, Reach, Request, Timeouts
from tidegate.core.signed import is_address, signature
from tidegate.core.values import Duration, Secret

LONGEST = 1024 * 1024  # bytes of an answer
NAME = r"^[A-Za-z0-9_.\-]{1,64}$"  # of a rule: it goes into rows and heads


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service of yours that is asked by a POST of JSON, and answers what it found and where.

    url: where, best as env:NAME. Private addresses are allowed: you name it.
    secret: signs each request in x-tidegate-signature, best as env:NAME.
    timeout: how long it has; after that it has not looked, and `on_failure` says what follows.
    """

    url: Secret
    secret: Secret
    timeout: Duration = Duration(2)


class Told(msgspec.Struct, frozen=True):
    """One finding, as the service says it: in which text, from which character to which."""

    text: Annotated[int, Meta(ge=0)]
    rule: Annotated[str, Meta(pattern=NAME)]
    start: Annotated[int, Meta(ge=0)] = 0
    end: int | None = None  # None: to the end of the text
    score: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Answer(msgspec.Struct, frozen=True):
    findings: tuple[Told, ...]


_ANSWER = msgspec.json.Decoder(Answer)


class Webhook:
    waits = True

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        if not is_address(config.url.value):
            raise ConfigError("url: must be like https://HOST/PATH")  # never shown: it may hold a password
        self._config = config
        self._reach: Reach | None = None
        seconds = config.timeout
        self._timeouts = Timeouts(connect=seconds, first_byte=seconds, idle=seconds, total=seconds)
        self.fingerprint = hashlib.sha256(config.url.value.encode()).hexdigest()[:16]

    def join(self, reach: Reach) -> None:
        self._reach = reach

    def watch(self) -> None:
        """It is asked once about a text, when that is whole."""
        return

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        return await self._ask(call, parts, "input")

    async def check_answer(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        return await self._ask(call, parts, "output")

    async def _ask(self, call: Call, parts: Sequence[Part], direction: Direction) -> Sequence[Sequence[Finding]]:
        world = self._reach.world if self._reach is not None else None
        if world is None:
            raise ValueError("it asks a service, and only a Tidegate that serves does so")
        body = question(call, parts, direction)
        signed = signature(self._config.secret.value, world.clock.wall_ns() // 1_000_000_000, body)
        headers = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"tidegate"),
            (b"x-tidegate-request-id", call.id.encode()),
            (b"x-tidegate-signature", signed.encode()),
        ]
        exchange = world.transport.send(Request("POST", self._config.url.value, headers, body, self._timeouts))
        try:
            return placed(await _body(exchange), parts)
        finally:
            exchange.close()


async def _body(exchange: Exchange) -> bytes:
    status = (await exchange.head()).status
    if status != 200:
        raise ValueError(f"it answers {status}; 200 is expected")
    body = bytearray()
    while piece := await exchange.read():
        body += piece
        if len(body) > LONGEST:
            raise ValueError(f"its answer is longer than {LONGEST} bytes")
    return bytes(body)


def question(call: Call, parts: Sequence[Part], direction: Direction) -> bytes:
    """What the service is sent. `texts` are in the order of the request, or of the answer."""
    return msgspec.json.encode(
        {
            "id": call.id,
            "route": call.route.name if call.route is not None else None,
            "dialect": call.dialect,
            "operation": call.operation,
            "direction": direction,
            "texts": [{"path": part.path, "role": part.role, "text": part.text} for part in parts],
        }
    )


def placed(answer: bytes, parts: Sequence[Part]) -> list[list[Finding]]:
    """Its findings by text, in order. Raises ValueError for what makes no sense: then nobody has looked."""
    found: list[list[Finding]] = [[] for _ in parts]
    for one in _ANSWER.decode(answer).findings:
        if one.text >= len(parts):
            raise ValueError(f"it speaks of text {one.text}, and there are {len(parts)}")
        size = len(parts[one.text].text)
        end = size if one.end is None else one.end
        if not one.start <= end <= size:
            raise ValueError(f"text {one.text} has {size} characters, and it speaks of {one.start} to {end}")
        found[one.text].append(Finding(one.rule, one.start, end, one.score))
    return [apart(some) for some in found]


def apart(found: list[Finding]) -> list[Finding]:
    """In order of place; of two that overlap, the first."""
    left: list[Finding] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if not left or one.start >= left[-1].end:
            left.append(one)
    return left

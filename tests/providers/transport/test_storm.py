"""Thousands who leave at any moment, from servers in any mood: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
from collections import Counter
from contextlib import suppress

import pytest
import trustme

from tests.rawserver import Peer, Script, Server, get, nothing_left, serving, whole
from tidegate.core.ports import Transport, TransportError
from tidegate.providers.transport import Config, HttpTransport
from tidegate.providers.transport.aiohttp import AiohttpTransport

pytestmark = pytest.mark.timeout(30)


def moody(dice: random.Random) -> Script:
    """Echoes late, in pieces, with too much, with half, or not at all."""

    async def script(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            tag = asked.line.split(b" ")[1][1:]
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(tag), tag)
            mood = dice.random()
            if mood < 0.1:
                await asyncio.sleep(0.002)
            if mood < 0.75:
                peer.say(answer)
            elif mood < 0.85:
                head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(tag)
                await peer.dictate(head, tag[:1], tag[1:] + b"\r\n", b"0\r\n\r\n")
            elif mood < 0.9:
                peer.say(answer, b"surplus")
            elif mood < 0.95:
                peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                peer.close()
                return
            else:
                peer.reset()
                return

    return script


async def turns(dice: random.Random, most: int) -> None:
    for _ in range(dice.randrange(most)):
        await asyncio.sleep(0)


async def one(transport: Transport, server: Server, dice: random.Random, counts: Counter[str]) -> None:
    tag = b"%x" % dice.randrange(16**9)
    exchange = transport.send(get(server, f"/{tag.decode()}", method=dice.choice(("GET", "POST"))))
    ended: list[TransportError | None] = []
    mood = dice.random()
    try:
        if mood < 0.3:
            reading = asyncio.create_task(whole(exchange))
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())  # heard, whoever has left
            await turns(dice, 8)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            if dice.random() < 0.5:
                await whole(exchange)
        elif mood < 0.5:
            exchange.pipe(lambda data: exchange.close() if dice.random() < 0.5 else None, ended.append)
            for _ in range(dice.randrange(20)):
                dice.choice((exchange.pause, exchange.resume))()
                await asyncio.sleep(0)
        elif mood < 0.75:
            await turns(dice, 12)
        else:
            assert await whole(exchange) == tag
            counts["answered"] += 1
    except TransportError:
        counts["failed"] += 1
    finally:
        exchange.close()
        counts["left"] += 1
        assert len(ended) <= 1


async def storm(transport: Transport, server: Server, calls: int, dice: random.Random) -> Counter[str]:
    counts: Counter[str] = Counter()

    async def some() -> None:
        for _ in range(calls // 50):
            going = asyncio.create_task(one(transport, server, dice, counts))
            if dice.random() < 0.3:
                await turns(dice, 10)
                going.cancel()
            await asyncio.wait([going])
            if not going.cancelled():
                going.result()

    await asyncio.gather(*(some() for _ in range(50)))
    return counts


@pytest.mark.parametrize(
    ("adapter", "tls", "calls"),
    [
        (HttpTransport, False, 5000),
        (HttpTransport, True, 1000),
        (AiohttpTransport, False, 2000),
        (AiohttpTransport, True, 500),
    ],
    ids=["own", "own, tls", "aiohttp", "aiohttp, tls"],
)
async def test_nothing_is_left_of_those_who_leave_at_any_moment(
    adapter: type[HttpTransport] | type[AiohttpTransport], tls: bool, calls: int
) -> None:
    """No busy connection, no task, no descriptor; nobody got the answer of another; and the pool still works."""
    seed = random.randrange(10_000)
    dice = random.Random(seed)
    print(f"seed {seed}")
    authority = trustme.CA()
    client, of_server = (ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) if tls else (None, None)
    if client is not None and of_server is not None:
        authority.configure_trust(client)
        authority.issue_cert("127.0.0.1").configure_cert(of_server)
    async with nothing_left(), serving(of_server) as server:
        transport = adapter(Config(max_per_origin=20), ssl_context=client)
        server.script = moody(dice)
        counts = await storm(transport, server, calls, dice)
        assert calls * 0.8 < counts["left"] <= calls  # who is cancelled before the first step never sends
        assert counts["answered"] > calls / 20
        assert counts["failed"] > calls / 500
        async with asyncio.timeout(30):
            while transport.busy:  # connections that nobody waits for any more are being made to their end
                await asyncio.sleep(0.001)
        exchange = transport.send(get(server))
        with suppress(TransportError):
            await whole(exchange)
        exchange.close()
        await transport.aclose()
        assert transport.busy == 0
        gc.collect()  # what was forgotten, rather than closed, complains

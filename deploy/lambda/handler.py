"""What does a Lambda answer? A whole response to one event of a function URL, from the house that `app.build` makes.

Streams are answered whole, too: word by word is for the web adapter, docs/deploy/serverless.md. Between two events
nothing of this process runs; so each waits until its row is stored.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from tidegate import config
from tidegate.app import App, build

HELD_S = 5.0  # for what is still written after an answer, such as its entry in the cache


def scope_of(event: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """The request of an event of version 2.0, as ASGI has it; its length is that of the body as it came."""
    http = event["requestContext"]["http"]
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    headers.pop("transfer-encoding", None)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": http["method"],
        "scheme": "https",
        "path": event["rawPath"],
        "raw_path": event["rawPath"].encode("latin-1"),
        "query_string": event.get("rawQueryString", "").encode("latin-1"),
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers | {"content-length": str(len(body))}).items()
        ],
        "client": (http["sourceIp"], 0),
        "server": (event["requestContext"]["domainName"], 443),
        "extensions": {},
    }


def body_of(event: Mapping[str, Any]) -> bytes:
    text = event.get("body") or ""
    return base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()


async def answer(app: App, event: Mapping[str, Any]) -> dict[str, Any]:
    body = body_of(event)
    coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()  # after the body: silence, for the client stays
    coming.put_nowait({"type": "http.request", "body": body, "more_body": False})
    head: MutableMapping[str, Any] = {}
    said = bytearray()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            said.extend(message.get("body", b""))

    await app(scope_of(event, body), coming.get, send)
    await app.world.nursery.wait(HELD_S)
    await app.world.ledger.flush()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
    return {"statusCode": head["status"], "headers": headers} | text_of(bytes(said))


def text_of(said: bytes) -> dict[str, Any]:
    try:
        return {"body": said.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(said).decode(), "isBase64Encoded": True}


# Built while Lambda initialises, which is not charged at the pace of a call: the first one finds it ready.
LOOP = asyncio.new_event_loop()
APP = LOOP.run_until_complete(build(config.load(None, os.environ), os.environ))


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    return LOOP.run_until_complete(answer(APP, event))

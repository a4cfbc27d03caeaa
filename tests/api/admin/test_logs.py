"""What the log says is changed for a while, for all processes, and by whom is known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House, Reply


async def wanted(house: House, **said: Any) -> Reply:
    return await house.begin(path="/admin/logs/level", method="PUT", body=json.dumps(said).encode()).reply()


async def test_it_says_more_for_so_long_and_then_what_is_configured(house: House) -> None:
    before = (await house.get("/admin/logs/level")).events[0]
    assert before == {"level": "info", "until": None, "by": None}
    reply = await wanted(house, level="debug", **{"for": "10m"})
    assert (reply.status, reply.events[0]["level"]) == (200, "debug") and reply.events[0]["until"] is not None
    await house.clock.sleep(601)
    assert (await house.get("/admin/logs/level")).events[0] == before


async def test_it_can_be_put_back_at_once(house: House) -> None:
    await wanted(house, level="error")
    reply = await house.begin(path="/admin/logs/level", method="DELETE", body=b"").reply()
    assert reply.events[0] == {"level": "info", "until": None, "by": None}


@pytest.mark.parametrize(
    ("said", "words"),
    [({"level": "loud"}, "level"), ({}, "level"), ({"level": "debug", "for": "8d"}, "7 days at most"),
     ({"level": "debug", "for": "-1s"}, "for"), ({"level": "debug", "four": "1h"}, "four")],
)  # fmt: skip
async def test_what_cannot_be_is_told(house: House, said: dict[str, Any], words: str) -> None:
    reply = await wanted(house, **said)
    assert reply.status == 400 and words in (reply.error.message or "")

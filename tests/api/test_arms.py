"""Which of two configurations answers a request? Told by its head alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.house import House
from tidegate.api.arms import Chooser
from tidegate.api.heads import Head
from tidegate.api.incoming import Incoming
from tidegate.core.canary import Canary, Config, Unit, Wish
from tidegate.gateway import Gateway


class Asked:
    """As much of a request as is looked at."""

    def __init__(self, address: str = "10.0.0.1", **headers: str) -> None:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.head = Head({"method": "POST", "path": "/v1/x", "headers": sent})
        self.address = address
        self.tried: Any = None


def unit_of(kind: Unit, house: House, asked: Asked) -> str:
    known = Canary("f", "salt", Wish(0.5, kind), Config(), 0, 0, "k")
    return Chooser(known, house.app.gateway).unit_of(cast(Incoming, asked), house.app.gateway)


KEY = {"authorization": "Bearer tg_live_1"}


@pytest.mark.parametrize(
    ("kind", "headers", "unit"),
    [
        ("key", KEY, "tg_live_1"),
        ("key", {**KEY, "x_tidegate_user": "ann"}, "tg_live_1"),
        ("key", {"x_api_key": "tg_live_1"}, "tg_live_1"),
        ("key", {}, "10.0.0.1"),
        ("user", {**KEY, "x_tidegate_user": "ann"}, "tg_live_1\0ann"),
        ("user", KEY, "tg_live_1"),
        ("session", {**KEY, "x_tidegate_session": "s1"}, "tg_live_1\0s1"),
        ("session", {**KEY, "x_claude_code_session_id": "s2"}, "tg_live_1\0s2"),
    ],
)
async def test_a_unit_is_what_the_head_says(house: House, kind: Unit, headers: dict[str, str], unit: str):
    assert unit_of(kind, house, Asked(**headers)) == unit


async def test_each_request_can_be_one_of_its_own(house: House):
    assert len({unit_of("request", house, Asked(**KEY)) for _ in range(20)}) == 20


async def test_nothing_of_a_key_is_told(house: House):
    asked = Asked(**KEY)
    Chooser(Canary("f", "salt", Wish(0.5), Config(), 0, 0, "k"), house.app.gateway)(
        cast(Incoming, asked), cast(Gateway, house.app.gateway)
    )
    assert asked.tried.experiment == "config:f" and "tg_live_1" not in str(asked.tried)

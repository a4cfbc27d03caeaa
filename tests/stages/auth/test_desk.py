"""What is made at the desk is whole: of two who change one thing at once, one is told so, and nothing is half done."""

from __future__ import annotations

import asyncio

import pytest

from tests.stages.test_auth import Desk, desk
from tidegate.core.errors import BadRequest, Conflict, NotFound
from tidegate.core.limits import Budget, Limit
from tidegate.core.ports import Key, Organisation, Team, User

__all__ = ["desk"]


async def test_of_many_who_rotate_at_once_all_that_are_told_a_key_have_one_that_was_good(desk: Desk) -> None:
    """Whoever lost is told so; whoever won holds the key, or the one before it."""
    _, key = await desk.key()
    answers = await asyncio.gather(*(desk.auth.desk.rotate(key.id, 60) for _ in range(2)), return_exceptions=True)
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert won and all(isinstance(answer, Conflict) for answer in answers if isinstance(answer, BaseException))
    for text, _ in won:
        assert (await desk.auth.authenticate(text)).key_id == key.id


@pytest.mark.parametrize("kind", [Organisation, Team, User, Key])
async def test_what_is_not_there_is_neither_changed_nor_ended(desk: Desk, kind: type) -> None:
    for work in (desk.auth.desk.change(kind, "x", name="y"), desk.auth.desk.disable(kind, "x")):
        with pytest.raises(NotFound, match=f"there is no {kind.__name__.lower()} 'x'"):
            await work


async def test_ending_twice_keeps_the_first_time(desk: Desk) -> None:
    await desk.auth.desk.add(Team, "search", "Search")
    first = await desk.auth.desk.disable(Team, "search")
    desk.clock.seconds += 60
    assert await desk.auth.desk.disable(Team, "search") == first
    assert (await desk.auth.desk.enable(Team, "search")).disabled_ms is None
    assert (await desk.auth.desk.enable(Team, "search")).disabled_ms is None


async def test_a_change_is_checked_as_a_whole(desk: Desk) -> None:
    await desk.auth.desk.add(Team, "search", "Search")
    _, key = await desk.auth.desk.make_key("ci", role="manager", team_id="search")
    with pytest.raises(BadRequest, match="a manager needs a team"):
        await desk.auth.desk.change(Key, key.id, team_id=None)
    assert (await desk.auth.desk.find(Key, key.id)) == key


@pytest.mark.parametrize("overlap_s", [-1.0, 31 * 86_400.0, float("nan"), float("inf")])
async def test_an_overlap_that_would_never_end_is_refused(desk: Desk, overlap_s: float) -> None:
    text, key = await desk.key()
    with pytest.raises(BadRequest, match="the overlap must be from 0 to 30 days"):
        await desk.auth.desk.rotate(key.id, overlap_s)
    assert (await desk.auth.authenticate(text)).key_id == key.id


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": (Limit("tokens", -1, 60),)},
        {"limits": (Limit("tokens", 1, 0),)},
        {"limits": (Limit("at_once", 1, 60),)},
        {"limits": (Limit("requests", 1, 1),) * 201},
        {"budgets": (Budget(-1),)},
        {"budgets": (Budget(1, zone="Nowhere/Land"),)},
        {"budgets": (Budget(1, zone=""),)},
        {"budgets": (Budget(1, warn_at=(0.0,)),)},
        {"budgets": (Budget(1, warn_at=(float("nan"),)),)},
    ],
)
async def test_limits_and_budgets_that_cannot_be_are_refused(desk: Desk, fields: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        await desk.auth.desk.make_key("ci", **fields)
    with pytest.raises(BadRequest):
        await desk.auth.desk.add(Team, "search", "Search", **fields)
    assert await desk.store.every(Key) == [] and await desk.store.every(Team) == []

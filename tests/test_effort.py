"""A step is a line that runs, each turn of a loop again, or a built-in function that is called."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.effort import at_once, steps


def loop(turns: int) -> None:
    for _ in range(turns):
        abs(-1)


def test_each_turn_of_a_loop_counts_and_each_builtin_that_it_calls():
    assert steps(lambda: loop(101)) - steps(lambda: loop(1)) == 100 * 3


def test_what_a_builtin_does_is_one_step_however_much_it_is():
    assert steps(lambda: sorted(range(10))) == steps(lambda: sorted(range(100_000)))


def test_whoever_traces_goes_on_even_when_the_work_fails():
    before = sys.gettrace(), sys.getprofile()
    with pytest.raises(ZeroDivisionError):
        steps(lambda: 1 // 0)
    assert (sys.gettrace(), sys.getprofile()) == before


async def test_what_waits_is_not_done_at_once():
    async def there() -> None:
        return None

    at_once(there())
    with pytest.raises(AssertionError, match="waits"):
        at_once(asyncio.sleep(1))

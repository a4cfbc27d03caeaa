"""How much is done? Counted and not timed: the same on each machine, however slow it is and whatever else it does."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """Lines of Python that `work` runs, each turn of a loop again, and built-in functions that it calls.

    What one built-in function does (a search, a regular expression) is one step, however long its text is.
    """
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before, collects = (sys.gettrace(), sys.getprofile()), gc.isenabled()
    gc.disable()  # it calls back whoever asked for that, Hypothesis among them
    sys.settrace(line)
    sys.setprofile(call)
    try:
        work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        if collects:
            gc.enable()
    return count


def at_once(work: Coroutine[Any, Any, object]) -> None:
    """Run what awaits nothing: that it does is an error."""
    try:
        with suppress(StopIteration):
            work.send(None)
            raise AssertionError("it waits for something")
    finally:
        work.close()

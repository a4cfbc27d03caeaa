"""The configurations that are compared: each can be read, and differs by what its name says."""

from __future__ import annotations

import pytest

from tidegate.config import Config, parse
from tidegate.study.levers import EVERYTHING, LEVERS, Arm, alone, configuration, together


def read(arm: Arm) -> Config:
    assert arm.levers is not None
    return parse(configuration(arm.levers, "http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1", 10.0), {})


@pytest.mark.parametrize("arm", [*alone(), *together()], ids=lambda arm: arm.name)
def test_each_can_be_served(arm: Arm):
    assert {"support", "documents", "analytics", "agent"} <= set(read(arm).routes)


def test_each_adds_one_lever_until_all_are_there():
    sizes = [len(arm.levers or ()) for arm in together()]
    assert sizes == list(range(1, len(LEVERS) + 1))
    assert EVERYTHING.levers == set(LEVERS)


def test_what_is_not_named_is_off():
    nothing = read(Arm("nothing", frozenset()))
    assert not nothing.upstream.breaker.enabled
    assert nothing.upstream.retry.tries == 1
    assert nothing.limits.loops.policy == "off"
    assert not nothing.routes["support"].tiers
    assert not nothing.routes["support"].cache.exact

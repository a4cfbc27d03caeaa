"""What the report says of itself: as lines, as a page, and as JSON."""

from __future__ import annotations

import msgspec

from tidegate.study.figures import Figures
from tidegate.study.page import Found, lines, page
from tidegate.study.workload import Law


def figures(arm: str, **more: object) -> Figures:
    known = Figures(
        arm=arm, seed=4, calls=100, bought=90, cost_nusd=10**9, mean_s=3.0, p50_s=2.0, p95_s=5.0, p99_s=8.0,
        first_s=1.0, success=1.0, wrong=0.0, leaks=0, attacks_through=0, runaway_nusd=0, unavailable={}, layers={},
        books=None, took_s=1.0, others=0.02,
    )  # fmt: skip
    return msgspec.structs.replace(known, **more)


def found(**more: object) -> Found:
    cheap = figures("+ batches", cost_nusd=10**8, mean_s=0.3, p99_s=1.0, **more)
    prices = {"one price for all": 0.5}
    return Found(Law(), 100, 30, [figures("naive")], {"+ batches": [cheap]}, prices).judged()


def test_each_form_of_the_report_says_on_which_choice_a_goal_hangs():
    told = found()
    said = "cost: 10.0%, met (at most 20.0%); not with prices of one price for all (50.0%), of 1 that were tried"
    assert said in lines(told)
    assert said in page(told)
    goal = msgspec.json.decode(msgspec.json.encode(told))["goals"][0]
    assert goal["met"] and goal["otherwise"] == {"prices of one price for all": 0.5}


def test_a_busy_machine_is_named_where_times_are_told():
    said = "other programs used 40% of the cores"
    assert any(line.startswith(said) for line in lines(found(others=0.4)))
    assert said in page(found(others=0.4))
    assert not any("other programs" in line for line in lines(found()))


def test_a_semantic_cache_that_served_nothing_says_why():
    assert "the semantic cache served nothing, seed 4: too few labels" in lines(found(semantic="too few labels"))

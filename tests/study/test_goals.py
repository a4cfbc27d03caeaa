"""Which goals are met, and the choices of workload and prices on which that hangs."""

from __future__ import annotations

from tidegate.study.goals import goals

MEDIANS = {"cost_vs_naive": 0.02, "mean_vs_naive": 0.06, "p99_vs_naive": 0.19, "success": 1.0, "wrong_added": 0.007}
OTHERS = {
    "10 % hard questions": {**MEDIANS, "p99_vs_naive": 0.4},
    "more alike": {**MEDIANS, "success": 0.9},
    "prices of one model": {"cost_vs_naive": 0.22},
}


def told(medians: dict[str, float], others: dict[str, dict[str, float]]) -> dict[str, str]:
    return {one.figure: str(one) for one in goals(medians, others)}


def test_a_goal_that_hangs_on_a_choice_names_it_and_how_far_it_carries():
    said = told(MEDIANS, OTHERS)
    assert said["cost_vs_naive"] == (
        "cost: 2.0%, met (at most 20.0%); not with prices of one model (22.0%), of 3 that were tried"
    )
    assert "not with 10 % hard questions (40.0%), of 2" in said["p99_vs_naive"]
    assert "not with more alike (90.0%)" in said["success"]


def test_a_goal_that_holds_with_all_that_was_tried_says_so():
    assert told(MEDIANS, OTHERS)["mean_vs_naive"].endswith(
        "met (at most 27.0%), and so with all 2 others that were tried"
    )


def test_what_was_not_tried_is_not_said_to_hold():
    assert all(said.endswith("no other workload was tried") for said in told(MEDIANS, {}).values())


def test_what_hangs_on_time_is_not_judged_while_others_take_the_cores():
    busy = {one.figure: str(one) for one in goals(MEDIANS, OTHERS, busy=True)}
    assert busy["p99_vs_naive"] == (
        "99th percentile: 19.0% (at most 25.0%); no verdict: others took the cores, or may have"
    )
    assert "no verdict" in busy["success"] and "met" in busy["cost_vs_naive"]


def test_a_goal_that_is_missed_names_the_choice_that_meets_it():
    missed = told({**MEDIANS, "p99_vs_naive": 0.3}, {"no hard ones": {"p99_vs_naive": 0.1}})
    assert "missed (at most 25.0%); but met with no hard ones (10.0%)" in missed["p99_vs_naive"]

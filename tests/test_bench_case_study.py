"""The bench of the case study: what it is asked for is checked first, and what it cannot know gets no verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from bench import case_study
from bench.procs import Unavailable
from bench.report import Report

from tests.study.test_page import figures
from tidegate.study.page import Found
from tidegate.study.workload import Law


def options(*said: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    case_study.add_options(parser)
    return parser.parse_args(said)


def judged(others: float | None, calls: int = 10_000) -> Report:
    naive, ours = (figures(name, calls=calls, others=others, leaks=0) for name in ("naive", "+ batches"))
    found = Report("case-study", False, {}, {}, {}, limits=dict(case_study.LIMITS))
    case_study._take(found, Found(Law(), 100, 30, [naive], {"+ batches": [ours]}))
    return found


@pytest.mark.parametrize("said", [("--users", "0"), ("--days", "-1"), ("--calls", "9"), ("--workers", "two")])
def test_a_number_that_is_none_is_refused_by_name(said: tuple[str, str], capsys):
    with pytest.raises(SystemExit):
        options(*said)
    assert f"argument {said[0]}: a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("said", [("--seeds", "0"), ("--html", "/no/such/folder/page.html"), ("--data", "/no/data")])
def test_what_cannot_be_done_is_said_before_anything_is_asked(said: tuple[str, str]):
    with pytest.raises(Unavailable, match=said[1]):
        case_study.run(options("--calls", "100", *said) if said[0] == "--seeds" else options("--seeds", "1", *said))


def test_times_of_a_busy_machine_get_no_verdict_and_costs_do():
    verdicts = judged(others=0.5).verdicts
    assert {verdicts[name] for name in ("p99_vs_naive", "mean_vs_naive", "success")} == {"no verdict"}
    assert verdicts["cost_vs_naive"] == "missed" and verdicts["leaks"] == "aim"
    assert judged(others=0.01).verdicts["p99_vs_naive"] == "missed"


def test_a_system_that_does_not_say_who_is_busy_gets_no_verdict_on_times():
    assert judged(others=None).verdicts["p99_vs_naive"] == "no verdict"


def test_a_hundredth_of_a_few_calls_gets_no_verdict():
    found = judged(others=0.0, calls=500)
    assert found.verdicts["wrong_added"] == found.verdicts["success"] == "no verdict"
    assert "a hundredth of them is a handful" in found.doubts[0]
    assert judged(others=0.0).verdicts["wrong_added"] == "aim"
    assert not case_study.LIMITS["wrong_added"].timed


def test_the_whole_report_can_be_read_again():
    assert msgspec.json.decode(msgspec.json.encode(judged(others=0.0)), type=Report).bench == "case-study"

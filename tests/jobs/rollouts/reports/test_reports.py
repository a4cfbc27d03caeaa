from __future__ import annotations

import re

import msgspec
import pytest

from tests.effort import steps
from tests.jobs.rollouts.office import SPEC, counting, population
from tidegate.core.experiments import Decision, Experiment, read
from tidegate.jobs.rollouts.reports import Report, made, page, screen
from tidegate.jobs.rollouts.reports.words import change, ratio, sentence

START = 1_790_000_000_000
SAID = SPEC | {"primary": {"metric": "satisfaction", "margin": 0.05}, "note": "shorter <answers>"}
SPEC_ = read(SAID)


def decision(number, did, was, now, at_ms, why="because"):
    return Decision(f"e#{number}", "e", at_ms, did, was[0], was[1], now[0], now[1], "house", why, "{}")


def report(count=3_000, state="running", **arm) -> Report:
    """Two stages, an hour each."""
    apart = 3_600_000 // count
    lines = [
        *population(0, count, 0.2, START, apart_ms=apart, **arm),
        *population(1, count, 0.5, START + 3_600_000, apart_ms=apart, seed=2, **arm),
    ]
    decisions = [
        decision(0, "started", ("draft", 0), ("running", 0), START),
        decision(1, "advanced", ("running", 0), ("running", 1), START + 3_600_000, "nothing looks <worse>"),
    ]
    one = Experiment("e", "shorter", "{}", "s", START, "key", state, 1, START + 3_600_000, 2, "nothing looks <worse>")
    return made(one, SPEC_, decisions, counting(SPEC_, lines), START + 7_200_000)


@pytest.fixture(scope="module")
def found() -> Report:
    return report(slower=1.3, liked=0.9)


def test_it_says_how_it_stands(found):
    assert (found.state, found.stage, found.did) == ("running", 1, "roll_back")
    assert found.units["control"] > found.units["a"] > 2_000 and found.spent_usd["a"] > 0
    assert found.can == ("promote", "rollback", "stop")
    assert "as it should be" in ratio(found)


def test_the_effect_over_time_is_what_was_known_then(found):
    assert len(found.looks) == 30 and [look.at_ms for look in found.looks] == sorted(look.at_ms for look in found.looks)
    assert {look.stage for look in found.looks} == {0, 1}
    wide = [
        finding.high - finding.low
        for look in found.looks
        for finding in look.findings
        if finding.metric == "latency" and finding.high is not None and finding.low is not None
    ]
    assert wide[-1] < wide[2] / 2
    assert found.looks[-1].findings[0].estimate == found.findings[0].estimate


def test_a_large_experiment_is_looked_at_as_often_as_a_small_one():
    assert len(report(20_000).looks) == 30
    added = steps(lambda: report(2_000)) - steps(lambda: report(1_000))
    assert added / 2_000 < 150, "for each unit: all looks together count it once, and keep what they need of it"


def test_one_without_units_has_a_report_too():
    one = Experiment("e", "shorter", "{}", "s", START, "key", "draft", since_ms=START)
    found = made(one, SPEC_, [], counting(SPEC_, []), START)
    assert "a draft" in next(screen.written(found))
    assert any("it has to be seen of more of them first" in line for line in screen.written(found))
    assert "<h1>shorter</h1>" in page.written(found)


def test_the_terminal_has_an_interval_for_each_metric(found):
    lines = list(screen.written(msgspec.json.decode(msgspec.json.encode(found), type=Report)))
    print("\n" + "\n".join(lines))
    (latency,) = (line for line in lines if line.startswith("  latency"))
    assert latency.index("┊") < latency.index("●") and "├" in latency
    assert any("it is worse, and likely by more than the 10.0 % that matters" in line for line in lines)
    assert any("1970" not in line and "advanced" in line for line in lines)


def test_the_page_fetches_nothing_and_lets_nobody_write_in_it(found, tmp_path):
    text = page.written(found)
    (tmp_path / "page.html").write_text(text)
    assert not re.search(r"<script|https?:|src=|href=|@import|url\(", text)
    assert "default-src 'none'" in text and "<worse>" not in text and "&lt;worse&gt;" in text
    assert "<answers>" not in text and text.count("<svg") == len(found.findings)
    for part in ("Effects over time", "Stage by stage", "Decisions", "cost so far", "sample ratio"):
        assert part in text
    assert "significant" not in text.lower()


@pytest.mark.parametrize(
    ("metric", "said"), [("latency", "+12.3 %"), ("error_rate", "+12.30 points"), ("satisfaction", "+0.123")]
)
def test_differences_are_said_in_their_own_unit(found, metric, said):
    one = next(one for one in found.findings if one.metric == metric)
    assert change(one, 0.123) == said
    assert metric in sentence(one)

"""Several pages become one: what is counted is added up, and does not go back when somebody dies."""

from __future__ import annotations

from pathlib import Path

from tidegate.telemetry.together import FOLDER, Together, counted, merged

ONE = """# HELP tidegate_requests_total Calls that ended
# TYPE tidegate_requests_total counter
tidegate_requests_total{route="a b",status="200"} 3.0
# HELP tidegate_tasks Tasks
# TYPE tidegate_tasks gauge
tidegate_tasks 17.0
# HELP tidegate_target_state 0 asked
# TYPE tidegate_target_state gauge
tidegate_target_state{target="main/m"} 2.0
# HELP tidegate_call_seconds How long
# TYPE tidegate_call_seconds histogram
tidegate_call_seconds_bucket{le="+Inf"} 3.0
tidegate_call_seconds_sum 1.5
"""
OTHER = ONE.replace('"200"} 3.0', '"429"} 2.0').replace("17.0", "4.0").replace('"main/m"} 2.0', '"main/m"} 0.0')


def test_counters_and_what_each_has_some_of_are_added_and_of_the_rest_the_worst_counts() -> None:
    said = merged([ONE, OTHER]).splitlines()
    assert 'tidegate_requests_total{route="a b",status="200"} 3.0' in said
    assert 'tidegate_requests_total{route="a b",status="429"} 2.0' in said
    assert "tidegate_tasks 21.0" in said
    assert 'tidegate_target_state{target="main/m"} 2.0' in said
    assert 'tidegate_call_seconds_bucket{le="+Inf"} 6.0' in said and "tidegate_call_seconds_sum 3.0" in said
    assert [line for line in said if line.startswith("# TYPE")] == [
        line for line in ONE.splitlines() if line.startswith("# TYPE")
    ]
    assert merged([ONE]) == ONE and merged([]) == ""


def test_what_a_process_held_ends_with_it_and_what_it_counted_does_not() -> None:
    assert "gauge" not in counted(ONE) and merged([counted(ONE), ONE]).count("6.0") == 2


async def test_who_follows_a_dead_one_goes_on_from_what_that_one_had_shown(tmp_path: Path) -> None:
    first, other = (Together(tmp_path, number, page.encode) for number, page in ((1, ONE), (2, OTHER)))
    assert await first.page() == ONE.encode(), "nobody else has said anything yet"
    await other.aclose()
    both = await first.page()
    assert both == merged([ONE, OTHER]).encode()
    assert sorted(file.name for file in (tmp_path / FOLDER).iterdir()) == ["1.prom", "2.prom"]
    follows = Together(tmp_path, 1, "".encode)
    assert await follows.page() == merged([counted(ONE), OTHER]).encode()

"""The page that Prometheus reads: what was counted, under names that do not change."""

from __future__ import annotations

import math
import random
from typing import Any, cast

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from tidegate.core.call import Call
from tidegate.core.errors import LimitReached, TidegateError, Unauthenticated
from tidegate.core.ports import AttemptRow, Closed
from tidegate.telemetry.metrics import MAX_LABELS, Metrics


class Ended:
    """As much of a call as is counted."""

    operation = "chat"
    status = 401
    error: TidegateError = Unauthenticated("no key")


CALL = cast(Call, Ended())


def row(**changes: Any) -> Closed:
    fields: dict[str, Any] = {
        "id": "req_1", "at_ms": 1, "key_id": "k", "dialect": "openai", "operation": "chat", "outcome": "ok",
        "status": 200, "duration_us": 5000, "overhead_us": 200, "route": "fast",
    }  # fmt: skip
    return Closed(**{**fields, **changes})


def counted(*rows: Closed | None) -> dict[tuple[str, ...], float]:
    metrics = Metrics()
    for one in rows:
        metrics.call_began(CALL)
        metrics.call_ended(CALL, one)
    return read(metrics)


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.page().decode())
    # Labels are in the order of their names, whatever a series was declared with.
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_before_the_first_call_there_is_a_page() -> None:
    page = counted()
    assert page["tidegate_calls_in_flight",] == 0
    assert page["tidegate_unpriced_requests_total",] == 0
    assert page["tidegate_overhead_seconds_count",] == 0


def test_calls_are_counted_by_operation_route_outcome_and_status() -> None:
    page = counted(row(), row(), row(outcome="failed", status=502), None)
    requests = {labels[1:]: value for labels, value in page.items() if labels[0] == "tidegate_requests_total"}
    assert sorted(requests.values()) == [1, 1, 2]
    assert page["tidegate_calls_in_flight",] == 0


def test_a_time_that_is_just_a_bound_is_below_it() -> None:
    page = counted(row(duration_us=5000), row(duration_us=5001))
    buckets = [value for labels, value in page.items() if labels[0] == "tidegate_request_duration_seconds_bucket"]
    assert buckets[:2] == [1, 2] and buckets[-1] == 2
    assert page["tidegate_request_duration_seconds_sum", "fast"] == 0.010001


def test_a_route_that_never_answered_has_no_time_to_its_first_token() -> None:
    assert not [labels for labels in counted(row()) if labels[0].startswith("tidegate_time_to_first_token")]
    assert ("tidegate_time_to_first_token_seconds_count", "fast") in counted(row(first_us=7))


def test_attempts_tokens_and_cost_are_summed() -> None:
    tried = AttemptRow(provider="main", model="m", outcome="ok", sent_us=1, ended_us=2)
    one = row(attempts=(tried,), usage={"input": 3}, cost_nusd=1_500_000_000)
    page = counted(one, one, row(cost_nusd=None))
    assert page["tidegate_attempts_total", "ok", "main"] == 2
    assert page["tidegate_tokens_total", "input", "fast"] == 6
    assert page["tidegate_cost_usd_total", "fast"] == 3
    assert page["tidegate_unpriced_requests_total",] == 1


def test_a_provider_that_reports_absurd_usage_does_not_break_the_page() -> None:
    page = counted(row(usage={"input": 10**400}, cost_nusd=10**400))
    assert page["tidegate_tokens_total", "input", "fast"] > 1e18


def test_names_that_clients_choose_are_bounded() -> None:
    page = counted(*[row(route=f"main/{at}") for at in range(MAX_LABELS + 10)])
    assert page["tidegate_request_duration_seconds_count", "other"] == 10


def test_notices_are_counted_by_name() -> None:
    metrics = Metrics()
    metrics.notice("reloaded", {})
    assert read(metrics)["tidegate_notices_total", "reloaded"] == 1


async def test_no_family_stands_on_the_page_twice(house):
    await house.ask()
    page = (await house.get("/metrics")).body.decode()
    named = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert sorted(named) == sorted(set(named))


def test_errors_are_counted_by_what_clients_see_and_opinions_by_what_was_said() -> None:
    metrics = Metrics()
    metrics.call_ended(CALL, None)
    metrics.call_ended(CALL, row(outcome="failed", error="upstream_failed"))
    for score in (0.9, 0.1, None):
        metrics.notice("feedback", {"source": "user", "score": score})
    page = read(metrics)
    assert page["tidegate_errors_total", "invalid_api_key"] == 1
    assert page["tidegate_errors_total", "upstream_failed"] == 1
    for verdict in ("good", "bad", "none"):
        assert page["tidegate_feedback_total", "user", verdict] == 1


def test_a_token_takes_what_is_left_after_the_first_by_those_that_follow() -> None:
    page = counted(row(stream=True, first_us=1_000_000, duration_us=1_900_000, usage={"output": 10}), row())
    assert page["tidegate_time_per_output_token_seconds_sum", "fast"] == 0.1


def test_a_bucket_names_the_trace_of_a_call_where_there_is_a_place_for_it() -> None:
    metrics = Metrics()
    metrics.call_ended(CALL, row(id="req_" + "1" * 31, duration_us=3000))
    metrics.call_ended(CALL, row(trace_id="a" * 32, duration_us=20_000_000))
    buckets = [
        sample
        for family in open_metrics(metrics.page(exemplars=True).decode())
        for sample in family.samples
        if sample.name == "tidegate_request_duration_seconds_bucket" and sample.exemplar
    ]
    assert {one.labels["le"]: one.exemplar.labels["trace_id"] for one in buckets} == {
        "0.005": "0" + "1" * 31,
        "30.0": "a" * 32,
    }
    assert b"trace_id" not in metrics.page()


def test_ten_thousand_names_of_models_make_no_more_series_than_a_hundred_do() -> None:
    names = [row(route=f"main/{at}", model=f"{at}", first_us=7, stream=True, usage={"output": 9}, cost_nusd=5,
                 attempts=(AttemptRow("main", f"{at}", "ok", 1, 2),)) for at in range(10_000)]  # fmt: skip
    some, many = counted(*names[: MAX_LABELS + 1]), counted(*names)
    assert some.keys() == many.keys()
    assert len(many) < 10_000


def test_a_stream_has_a_pace() -> None:
    page = counted(row(stream=True, first_us=1_000_000, duration_us=1_900_000, usage={"output": 10}), row())
    assert page["tidegate_output_tokens_per_second_sum", "fast"] == 10


def test_who_is_refused_by_a_limit_is_counted_by_whose_and_of_what() -> None:
    refused = Ended()
    refused.error = LimitReached("team 'red' may make 1 call at once")
    refused.error.limit = ("team", "at_once")
    metrics = Metrics()
    metrics.call_ended(cast(Call, refused), row(outcome="refused", status=429, error="limit_reached"))
    metrics.call_ended(CALL, None)
    page = read(metrics)
    assert page["tidegate_refusals_total", "at_once", "team"] == 1
    assert len([name for name, *_ in page if name == "tidegate_refusals_total"]) == 1


def exact(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def estimated(buckets: dict[float, float], share: float) -> tuple[float, float]:
    """Between which bounds Prometheus' histogram_quantile looks for it."""
    rank, below = share * buckets[math.inf], 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= rank:
            return below, bound
        below = bound
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("tidegate_request_duration_seconds", "duration_us"),
        ("tidegate_time_to_first_token_seconds", "first_us"),
        ("tidegate_overhead_seconds", "overhead_us"),
    ],
)
def test_a_percentile_of_a_histogram_is_in_the_bucket_of_the_exact_one(name: str, field: str) -> None:
    rng = random.Random(7)
    took_us = [int(rng.lognormvariate(13, 1.2)) for _ in range(5_000)]
    page = counted(*[row(**{field: us}) for us in took_us])
    buckets = {float(labels[1]): value for labels, value in page.items() if labels[0] == f"{name}_bucket"}
    for share in (0.5, 0.95, 0.99):
        low, high = estimated(buckets, share)
        assert low < exact([us / 1e6 for us in took_us], share) <= high

"""Whether it is well, and how much it does: nobody needs a key to ask."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from tests.house import House


async def metrics(house: House) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the page, as Prometheus reads it: (name, labels) → value."""
    reply = await house.get("/metrics", key="none")
    assert reply.status == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


async def test_health_is_what_the_guide_says(house):
    reply = await house.get("/health", key="none")
    body = reply.events[0]
    assert reply.status == 200 and body.keys() == {"status", "timestamp"} and body["status"] == "healthy"
    assert abs(datetime.fromisoformat(body["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_ready_says_who_can_be_asked(house):
    reply = await house.get("/ready", key="none")
    assert reply.status == 200
    assert reply.events[0] == {"status": "ready", "providers": {"main": "ok", "spare": "ok"}}


async def test_it_is_ready_while_one_provider_can_be_asked(house):
    house.provider("main").address = ""
    reply = await house.get("/ready", key="none")
    assert reply.status == 200 and "main" in reply.events[0]["providers"]["main"]
    house.provider("spare").address = ""
    reply = await house.get("/ready", key="none")
    assert (reply.status, reply.events[0]["status"]) == (503, "no provider can be asked")


async def test_who_leaves_is_not_ready_and_yet_healthy(house):
    house.app.world.closing.set()
    reply = await house.get("/ready", key="none")
    assert (reply.status, reply.events[0]["status"]) == (503, "shutting down")
    assert (await house.get("/health", key="none")).status == 200


async def test_metrics_count_exactly(house):
    house.provider("main").says("one two three")
    await house.ask()
    house.provider("main").says(status=400)
    await house.ask()
    await house.ask(route="unknown")
    await house.ask(path="/v1/completions", key="wrong")
    house.provider("main").says("one", cut_off=1)
    await house.ask()
    seen = await metrics(house)

    def requests(operation: str, route: str, outcome: str, status: int) -> float:
        labels = {"operation": operation, "route": route, "outcome": outcome, "status": str(status)}
        return seen[("tidegate_requests_total", tuple(sorted(labels.items())))]

    assert requests("chat", "fast", "ok", 200) == 1
    assert requests("chat", "fast", "refused", 400) == 1
    assert requests("chat", "", "refused", 404) == 1
    assert requests("complete", "", "refused", 401) == 1
    assert requests("chat", "fast", "cut_off", 200) == 1
    assert sum(value for (name, _), value in seen.items() if name == "tidegate_requests_total") == 5
    assert seen[("tidegate_calls_in_flight", ())] == 0
    assert seen[("tidegate_attempts_total", (("outcome", "ok"), ("provider", "main")))] == 1
    assert seen[("tidegate_attempts_total", (("outcome", "refused"), ("provider", "main")))] == 1
    rows = await house.rows()
    assert len(rows) == 4  # whose key was known
    for kind in ("input", "output"):
        counted = seen[("tidegate_tokens_total", (("kind", kind), ("route", "fast")))]
        assert counted == sum(row.usage.get(kind, 0) for row in rows)
    spent = seen[("tidegate_cost_usd_total", (("route", "fast"),))]
    assert round(spent * 1e9) == sum(row.cost_nusd for row in rows)
    assert seen[("tidegate_request_duration_seconds_count", (("route", "fast"),))] == 3
    assert seen[("tidegate_overhead_seconds_count", ())] == 4


async def test_a_call_under_way_is_in_flight(house):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    await asking.heard("hello")
    assert (await metrics(house))[("tidegate_calls_in_flight", ())] == 1
    await house.clock.advance(10)
    await asking.reply()
    assert (await metrics(house))[("tidegate_calls_in_flight", ())] == 0


async def test_no_name_that_clients_choose_makes_series_without_end(house):
    names = random.Random(1)
    for _ in range(1_000):
        await house.ask(route=f'main/{names.random()}\n"evil" {{}}', stream=False)
    for _ in range(9_000):
        await house.ask(route=str(names.random()), stream=False)
    seen = await metrics(house)
    routes = {dict(labels).get("route") for _, labels in seen}
    assert len(routes) <= 203 and "other" in routes
    counted = [(dict(labels), value) for (name, labels), value in seen.items() if name == "tidegate_requests_total"]
    assert sum(value for labels, value in counted if labels["outcome"] == "ok") == 1_000
    assert sum(value for labels, value in counted if labels["status"] == "404") == 9_000
    assert len(seen) < 10_000

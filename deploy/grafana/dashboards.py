"""What is on the dashboards? One line for each panel; `python deploy/grafana/dashboards.py` writes them as JSON.

Import them in Grafana (Dashboards → New → Import); each asks for a Prometheus that scrapes Tidegate.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDE, HIGH = 12, 8
QUANTILES = (0.5, 0.95, 0.99)


class Panel(NamedTuple):
    title: str
    unit: str  # Grafana's: short · s · percentunit · currencyUSD · bytes
    queries: tuple[tuple[str, str], ...]  # PromQL, and how a line is called
    kind: str = "timeseries"


def rate(name: str, by: str, where: str = "") -> str:
    return f'sum by ({by}) (rate({name}{{instance=~"$instance"{where}}}[$__rate_interval]))'


def one(title: str, unit: str, query: str, legend: str, kind: str = "timeseries") -> Panel:
    return Panel(title, unit, ((query, legend),), kind)


def quantiles(title: str, name: str, unit: str = "s") -> Panel:
    return Panel(
        title,
        unit,
        tuple((f"histogram_quantile({one}, {rate(f'{name}_bucket', 'le')})", f"p{one * 100:g}") for one in QUANTILES),
    )


FAILED, HITS = ',outcome=~"failed|cut_off"', ',result=~"hit|shared"'
ASKED = ',result=~"hit|shared|miss"'
OK, GOOD, JUDGED = ',outcome="ok"', ',verdict="good"', ',verdict=~"good|bad"'
SAID = "tidegate_feedback_total"
CALLS, COST = "tidegate_requests_total", "tidegate_cost_usd_total"
DASHBOARDS: dict[str, tuple[Panel, ...]] = {
    "overview": (
        one("Calls a second, by outcome", "reqps", rate(CALLS, "outcome"), "{{outcome}}"),
        one("Answered", "percentunit", f"1 - (sum({rate(CALLS, 'job', FAILED)}) or vector(0)) / sum({rate(CALLS, 'job')})",
            "answered"),
        quantiles("Time of an answer", "tidegate_request_duration_seconds"),
        quantiles("Until the first content", "tidegate_time_to_first_token_seconds"),
        quantiles("Time of a token", "tidegate_time_per_output_token_seconds"),
        quantiles("Time that is ours", "tidegate_overhead_seconds"),
        quantiles("Tokens a second of a stream", "tidegate_output_tokens_per_second", "short"),
        one("Under way", "short", 'tidegate_calls_in_flight{instance=~"$instance"}', "{{instance}}"),
        one("Errors a second, by code", "reqps", rate("tidegate_errors_total", "code"), "{{code}}"),
        one("The event loop is late by", "s", 'tidegate_loop_lag_max_seconds{instance=~"$instance"}', "{{instance}}"),
        one("Rows that wait for the database", "short", 'tidegate_ledger_waiting_rows{instance=~"$instance"}',
            "{{instance}}"),
        one("The spool has", "bytes", 'tidegate_spool_bytes{instance=~"$instance"}', "{{instance}}"),
        one("Events that were dropped, an hour", "short", f"3600 * {rate('tidegate_events_dropped_total', 'class')}",
            "{{class}}"),
        one("Refused by a limit or a budget, a second", "reqps", rate("tidegate_refusals_total", "whose,of"),
            "{{whose}} {{of}}"),
        one("Share of limits that is used", "percentunit",
            'max by (whose, name, of) (tidegate_limit_used_ratio{instance=~"$instance"})', "{{whose}} {{name}}: {{of}}"),
    ),
    "providers": (
        one("Attempts a second, by outcome", "reqps", rate("tidegate_attempts_total", "provider,outcome"),
            "{{provider}} {{outcome}}"),
        one("Attempts that were not the first, by why", "reqps", rate("tidegate_attempts_again_total", "provider,why"),
            "{{provider}} {{why}}"),
        one("Targets: 0 asked, 1 tried, 2 set aside", "short",
            'max by (target) (tidegate_target_state{instance=~"$instance"})', "{{target}}"),
        one("Calls at a target", "short", 'sum by (target) (tidegate_target_calls{instance=~"$instance"})', "{{target}}"),
        one("Calls that wait for a target", "short", 'sum by (target) (tidegate_target_waiting{instance=~"$instance"})',
            "{{target}}"),
        one("Seconds that calls waited for a target, a second", "s", rate("tidegate_queue_wait_seconds_total", "target"),
            "{{target}}"),
        one("Calls that found no room", "reqps", rate("tidegate_shed_total", "target"), "{{target}}"),
        one("Keys that rest", "short", 'max by (provider) (tidegate_keys_aside{instance=~"$instance"})', "{{provider}}"),
        one("Busy connections", "short", 'tidegate_provider_connections_busy{instance=~"$instance"}', "{{instance}}"),
    ),
    "cost": (
        one("Dollars an hour, by route", "currencyUSD", f"3600 * {rate(COST, 'route')}", "{{route}}"),
        one("Dollars in this range", "currencyUSD", f'sum(increase({COST}{{instance=~"$instance"}}[$__range]))', "spent",
            "stat"),
        one("Dollars of a call", "currencyUSD", f"{rate(COST, 'route')} / {rate(CALLS, 'route')}", "{{route}}"),
        one("A month at this rate", "currencyUSD", f"30 * 86400 * sum({rate(COST, 'job')})", "a month", "stat"),
        one("Share of budgets that is spent or set aside", "percentunit",
            'max by (whose, name, per) (tidegate_budget_used_ratio{instance=~"$instance"})',
            "{{whose}} {{name}}: {{per}}"),
        one("Tokens a second, by kind", "short", rate("tidegate_tokens_total", "kind"), "{{kind}}"),
        one("Calls of unknown cost, an hour", "short", f"3600 * sum({rate('tidegate_unpriced_requests_total', 'job')})",
            "unknown"),
    ),
    "cache": (
        one("Answered by the cache", "percentunit",
            f"sum({rate('tidegate_cache_total', 'job', HITS)}) / sum({rate('tidegate_cache_total', 'job', ASKED)})", "hits"),
        one("What the cache did, by layer", "reqps", rate("tidegate_cache_total", "layer,result"), "{{layer}} {{result}}"),
        one("Dollars an hour that it saved", "currencyUSD", f"3600 * {rate('tidegate_cache_saved_usd_total', 'route')}",
            "{{route}}"),
    ),
    "guards": (
        one("Verdicts a second", "reqps", rate("tidegate_guard_verdicts_total", "guard,verdict"), "{{guard}} {{verdict}}"),
        one("Blocked or masked, by direction", "reqps",
            rate("tidegate_guard_verdicts_total", "guard,direction", ',verdict=~"block|mask"'), "{{guard}} {{direction}}"),
        one("Flagged", "reqps", rate("tidegate_guard_verdicts_total", "guard", ',verdict="flag"'), "{{guard}}"),
    ),
    "business": (
        one("What was said of answers", "short", rate(SAID, "source,verdict"),
            "{{source}} {{verdict}}"),
        one("Content, of those who said", "percentunit",
            f"sum({rate(SAID, 'job', GOOD)}) / sum({rate(SAID, 'job', JUDGED)})", "content"),
        one("Calls a day, by route", "short", f"86400 * {rate(CALLS, 'route')}", "{{route}}"),
        one("Dollars of an answered call", "currencyUSD",
            f"sum({rate(COST, 'job')}) / sum({rate(CALLS, 'job', OK)})", "a call"),
        one("Tokens of a call", "short", f"sum({rate('tidegate_tokens_total', 'job')}) / sum({rate(CALLS, 'job')})",
            "tokens"),
        one("What an operator should know of", "short", rate("tidegate_notices_total", "name"), "{{name}}"),
    ),
}  # fmt: skip


def panel(number: int, said: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "title": said.title,
        "type": said.kind,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * WIDE, "y": number // 2 * HIGH, "w": WIDE, "h": HIGH},
        "fieldConfig": {"defaults": {"unit": said.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "datasource": SOURCE, "expr": query, "legendFormat": legend, "exemplar": True}
            for at, (query, legend) in enumerate(said.queries)
        ],
    }


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    instance = {
        "name": "instance", "type": "query", "datasource": SOURCE, "query": "label_values(tidegate_tasks, instance)",
        "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2,
    }  # fmt: skip
    return {
        "uid": f"tidegate-{name}",
        "title": f"Tidegate: {name}",
        "tags": ["tidegate"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}, instance]},
        "panels": [panel(number, said) for number, said in enumerate(panels)],
    }


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, panels in DASHBOARDS.items():
        (folder / f"{name}.json").write_text(json.dumps(dashboard(name, panels), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What are LiteLLM's virtual keys in our words? New ones: theirs are kept as digests that nobody else can look up.

They keep SHA-256 of the whole key, and find it by that. Ours are found by an id that stands in the key, and proved by
an HMAC under a pepper, so that a stolen table is of no use; a key without an id could not be found.

What restricts a key and has no place here leaves the key out: nobody is to get more than they had.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from tidegate.cli.imports.translation import Line
from tidegate.core.errors import BadRequest, ConfigError
from tidegate.core.limits import Budget, Limit
from tidegate.core.money import NUSD_PER_USD
from tidegate.core.ports import Store, Team
from tidegate.stages.auth.desk import Desk

PERIODS = {
    **dict.fromkeys(("1d", "24h", "daily"), "day"),
    **dict.fromkeys(("7d", "1w", "weekly"), "week"),
    **dict.fromkeys(("30d", "31d", "1mo", "monthly"), "month"),
}
ALL_MODELS = ("all-proxy-models", "all-team-models")
RESTRICTING = {
    "allowed_routes": "it may use some paths only: make it with tidegate keys create --endpoint",
    "allowed_passthrough_routes": "it may use some paths only: make it with tidegate keys create --endpoint",
    "model_max_budget": "it has a budget for each model: make a key for each, or give the route's team one",
    "model_rpm_limit": "it has limits for each model: a route has limits of its own",
    "model_tpm_limit": "it has limits for each model: a route has limits of its own",
    "guardrails": "it has guardrails of its own: a route has them here",
}
TAKEN = (
    "token",
    "key_alias",
    "key_name",
    "team_id",
    "team_alias",
    "models",
    "max_budget",
    "budget_duration",
    "expires",
)
COUNTED = {"rpm_limit": ("requests", 60), "tpm_limit": ("tokens", 60), "max_parallel_requests": ("at_once", 0)}


class Theirs:
    """One of their keys: its name, our fields, what became of each of theirs; `refused` says why it is not made."""

    def __init__(self, row: Mapping[str, Any], at: int) -> None:
        self.token = str(row.get("token") or "")
        self.name = str(row.get("key_alias") or row.get("key_name") or f"key {at + 1}")
        self.team = (str(row["team_id"]), str(row.get("team_alias") or row["team_id"])) if row.get("team_id") else None
        self.fields: dict[str, Any] = {}
        self.report: list[Line] = []
        try:
            self.refused = self._read(row)
        except (TypeError, ValueError) as wrong:
            self.refused = f"it cannot be read: {wrong}"

    def _read(self, row: Mapping[str, Any]) -> str | None:
        if row.get("blocked"):
            return "it is blocked"
        for name, why in RESTRICTING.items():
            if row.get(name) and row[name] != ["llm_api_routes"]:
                return f"{name}: {why}"
        ends_ms = _ends_ms(row.get("expires"))
        if ends_ms is not None and ends_ms <= time.time() * 1000:
            return "it has expired"
        self.fields["expires_ms"] = ends_ms
        models = row.get("models") or []
        if models and not set(models) & set(ALL_MODELS):
            named = tuple(str(one) for one in models if "*" not in str(one))
            if len(named) < len(models):
                return "models: it may ask for a pattern; name its routes: tidegate keys create --route"
            self.fields["routes"] = named
            self.report.append(Line("changed", "models", "routes of these names, which must be there to be asked"))
        self.fields["limits"] = tuple(
            Limit(of, int(row[theirs]), per_s)  # type: ignore[arg-type]
            for theirs, (of, per_s) in COUNTED.items()
            if row.get(theirs) is not None
        )
        self._budget(row)
        if self.team is not None:
            self.fields["team_id"] = self.team[0]
        for name, value in row.items():
            if value and name not in TAKEN and name not in COUNTED and name not in ("spend", "blocked"):
                self.report.append(Line("left out", name))
        return None

    def _budget(self, row: Mapping[str, Any]) -> None:
        most, within = row.get("max_budget"), row.get("budget_duration")
        if most is None:
            return
        spent = float(row.get("spend") or 0)
        per = PERIODS.get(str(within), "total") if within else "total"
        left = float(most) if within else max(float(most) - spent, 0.0)
        self.fields["budgets"] = (Budget(round(left * NUSD_PER_USD), per),)  # type: ignore[arg-type]
        if not within:
            self.report.append(Line("changed", "max_budget", f"what was left of it, ${left:g} in all"))
        elif per == "total":
            said = f"for ever, and not anew each {within}: Tidegate's are of a day, a week, a month"
            self.report.append(Line("changed", "budget_duration", said))


def _ends_ms(said: Any) -> int | None:
    if not said:
        return None
    ends = datetime.fromisoformat(str(said))
    return round((ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp() * 1000)


def read_keys(found: Any) -> list[Theirs]:
    """Raises ConfigError."""
    rows = found.get("keys") if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise ConfigError("a list of keys is expected, whole ones: ask LiteLLM for /key/list?return_full_object=true")
    return [Theirs(one, at) for at, one in enumerate(rows)]


async def make(store: Store, desk: Desk, theirs: Iterable[Theirs], out: TextIO) -> list[tuple[str, str]]:
    """Each is written before the next is made: a key is shown once, and never again. Returns who was refused, why."""
    rows, refused = csv.writer(out), []
    rows.writerow(("name", "theirs", "id", "key"))
    known = {team.id for team in await store.every(Team)}
    for one in theirs:
        try:
            if one.team is not None and one.team[0] not in known:
                await desk.add(Team, *one.team)
                known.add(one.team[0])
            text, key = await desk.make_key(one.name, **one.fields)
        except BadRequest as wrong:
            refused.append((one.name, wrong.message))
            continue
        rows.writerow((one.name, one.token, key.id, text))
        out.flush()
    return refused

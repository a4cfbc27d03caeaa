"""tidegate experiments replay, tidegate experiments shadow: what another one would have answered."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import msgspec

from tidegate import plugins
from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.evals.house import Reachable
from tidegate.cli.evals.suites import PLUGINS, Embedding, Progress
from tidegate.cli.shared import KEY, URL
from tidegate.cli.shared import run as on_loop
from tidegate.core.errors import ConfigError
from tidegate.core.money import usd_text
from tidegate.core.shadows import Compared
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.door import Door
from tidegate.jobs.evals.journal import Journal, begin
from tidegate.jobs.evals.replays import (
    Candidate,
    Original,
    Replayed,
    beside,
    case_from,
    lines,
    original_of,
    section,
    spent,
    suite_of,
)
from tidegate.jobs.evals.reports import Told, page
from tidegate.jobs.evals.results import Run
from tidegate.jobs.evals.run import Means, go
from tidegate.jobs.evals.subject import read_run
from tidegate.jobs.evals.suite import Ready, load
from tidegate.jobs.evals.tally import counted

FILE = click.Path(path_type=Path, dir_okay=False)
PAGE = 500
LASTS = "7d"  # of the key that pays; a run that is gone on with later needs another --out


@click.command()
@click.option("--route", required=True, help="Whose calls are asked again; it must keep what is said (store).")
@click.option("--since", default="1d", show_default=True, help="A date, a time, or how long ago.")
@click.option("--target", help="provider/model that is asked now.")
@click.option("--to", "other", help="Or a route.")
@click.option("--parameters", default="{}", help='In place of the clients\' own: {"temperature": 0}.')
@click.option("--max-usd", type=click.FloatRange(0, min_open=True), required=True, help="No more is spent, ever.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="The newest so many.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="At the same time.")
@click.option("--suite", type=FILE, help="Whose scorers look at the answers, such as {type: pairwise}.")
@click.option("--out", type=FILE, help="The answers; a file that is there is gone on with.")
@click.option("--html", type=FILE, help="A page of its own, with every answer.")
@URL
@KEY
def replay(
    route: str, since: str, target: str | None, other: str | None, parameters: str, max_usd: float, limit: int,
    concurrency: int, suite: Path | None, out: Path | None, html: Path | None, url: str, key: str | None,
) -> None:  # fmt: skip
    """Ask another model or route what yesterday's calls had asked, and compare the answers.

    \b
    tidegate experiments replay --route fast --target other/m --max-usd 1
    tidegate experiments replay --route fast --since 2h --to slow --max-usd 0.50 --suite judges.yaml --html replay.html
    """
    candidate = _candidate(target, other, parameters)
    line = _line(url, key)
    known = read_run(out).run.cases if out is not None and out.exists() and out.stat().st_size else None
    originals = _again(line, known) if known is not None else _chosen(line, route, since, limit)
    found = _suite(line, route, originals, suite, concurrency)
    kept = {case.id for case in found.suite.cases}
    originals = [one for one in originals if one.id in kept]
    journal = begin(out or _named(route), _new(found, candidate))
    click.echo(f"{journal.path}" + (f" is gone on with: {len(journal.answers)} are there" if known else ""), err=True)
    why = "it was interrupted"
    try:
        with _purse(line, journal, max_usd) as paying:
            why = _gone_through(found, journal, Reachable(url, paying), candidate)
    except KeyboardInterrupt:
        pass
    finally:
        journal.close()
    _tell(found, journal, originals, html)
    if why:
        click.echo(f"{len(journal.results.missing)} were not asked: {why}; go on with --out {journal.path}", err=True)


def _candidate(target: str | None, other: str | None, parameters: str) -> Candidate:
    if (target is None) == (other is None):
        raise ConfigError("say who is asked now: --target provider/model, or --to route")
    if target is not None and "/" not in target:
        raise ConfigError(f"--target must be like provider/model, not {target!r}; a route is named with --to")
    try:
        said = msgspec.json.decode(parameters, type=dict[str, Any])
    except msgspec.DecodeError as wrong:
        raise ConfigError(f'--parameters must be JSON such as {{"temperature": 0}}: {wrong}') from None
    return Candidate(target or other or "", said)


# --- which calls


def _chosen(line: Line, route: str, since: str, limit: int) -> list[Original]:
    """The newest that were answered by somebody, as far as what was said in them is kept."""
    found: list[Original] = []
    asked: dict[str, Any] = {"route": route, "since": since, "outcome": "ok", "kind": "live", "limit": PAGE}
    while len(found) < limit:
        answer = json.loads(line.get(f"/admin/requests?{urlencode(asked)}")[0])
        found += [original_of(row) for row in answer["requests"] if _is_asked_again(row)]
        if not answer["next"]:
            break
        asked["after"] = answer["next"]
    if not found:
        raise ConfigError(f"route {route!r} has answered no call since {since} that could be asked again")
    return found[:limit]


def _is_asked_again(row: dict[str, Any]) -> bool:
    """What a cache answered took no time and cost nothing that could be compared."""
    return row["operation"] == "chat" and row["cache"] not in ("hit", "shared")


def _again(line: Line, ids: Sequence[str]) -> list[Original]:
    rows = [json.loads(line.get(f"/v1/requests/{quote(id, safe='')}")[0]) for id in ids]
    return [_original(row) for row in rows]


def _original(row: dict[str, Any]) -> Original:
    who = row.get("user") or row.get("key_id") or ""
    took_ms = row["duration_ms"] if "duration_ms" in row else row["duration_us"] / 1000
    return Original(row["id"], who, took_ms, row.get("cost_nusd", 0))


def _suite(line: Line, route: str, originals: Sequence[Original], file: Path | None, most: int) -> Ready:
    cases, without = [], 0
    for one in originals:
        try:
            body = json.loads(line.get(f"/admin/bodies/{quote(one.id, safe='')}")[0])
        except ConfigError:
            body = {}
        if body.get("request"):
            cases.append(case_from(body))
        else:
            without += 1
    if without:
        click.echo(f"{without} calls are left out: what was asked in them is not kept", err=True)
    if not cases:
        raise ConfigError(f"nothing of these calls is kept; set routes.{route}.store: {{prompts: true, replies: true}}")
    judges = load(file, PLUGINS).suite if file is not None else None
    return suite_of(route, cases, judges, most, PLUGINS)


def _new(found: Ready, candidate: Candidate) -> Run:
    return Run(
        id=secrets.token_hex(16),
        suite=found.suite.name,
        suite_hash=found.hash,
        subject=candidate.name,
        cases=tuple(case.id for case in found.suite.cases),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _named(route: str) -> Path:
    return Path(f"replay-{route.replace('/', '-')}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl")


# --- asking


@contextmanager
def _purse(line: Line, journal: Journal, max_usd: float) -> Iterator[str]:
    """A key that can pay no more than that, for all of the run: the gateway sets aside the most that a call can cost
    before it is made, and refuses what may be too much."""
    name, budgets = f"replay {journal.run.id[:16]}", [{"usd": max_usd, "per": "total"}]
    there = [one for one in json.loads(line.get("/admin/keys")[0]) if one["name"] == name and not one["revoked_ms"]]
    if there:  # it goes on, and what it has spent is spent
        path = f"/admin/keys/{there[0]['id']}"
        line.patch(path, {"budgets": budgets})
        line.post(f"{path}/enable")
        made = line.post(f"{path}/rotate", {"overlap": "1s"})
    else:
        fields = {"name": name, "role": "admin", "scopes": ["eval"], "expires_in": LASTS, "budgets": budgets}
        made = line.post("/admin/keys", fields)
        path = f"/admin/keys/{made['id']}"
    try:
        yield str(made["key"])
    finally:
        if journal.results.missing:
            line.post(f"{path}/disable")
        else:
            line.delete(path)


def _gone_through(found: Ready, journal: Journal, at: Reachable, candidate: Candidate) -> str:
    """Why it ended before its end, or ""."""
    ended, progress = [], Progress(journal)

    async def all_of_it() -> None:
        transport = plugins.find("transports", "own")()
        door = Door(transport, at.url, at.key, journal.run.id)
        try:
            with progress:
                means = Means(Replayed(door, candidate), door, Embedding(), tell=progress.tell)
                ended.append(await go(found, journal, means))
        finally:
            await transport.aclose()

    on_loop(all_of_it)
    return ended[0]


def _tell(found: Ready, journal: Journal, originals: Sequence[Original], html: Path | None) -> None:
    results = journal.results
    compared = beside(results, originals, found)
    click.echo(f"{results.run.suite}: {printable(results.run.subject)}; it has cost {spent(results)}")
    if compared is not None:
        click.echo("\n".join(lines(compared)))
    if html is not None:
        told = Told(results, counted(results, deck.card_of(Path("judge-cards"))))
        html.write_text(page.written(told, section(compared) if compared is not None else ""), encoding="utf-8")
        click.echo(f"wrote {html}", err=True)


# --- shadows


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def shadow(name: str, as_json: bool, url: str, key: str | None) -> None:
    """What the arms of an experiment in shadow mode have answered, beside what was seen.

    \b
    tidegate experiments shadow cheaper
    """
    text = _line(url, key).get(f"/v1/experiments/{quote(name, safe='')}/shadow")[0]
    if as_json:
        click.echo(text)
        return
    found = json.loads(text)
    click.echo(f"{printable(found['name'])}: {found['pairs']} pairs; they have cost ${usd_text(found['spent_nusd'])}")
    for arm in found["arms"]:
        click.echo("\n".join(lines(msgspec.convert(arm, Compared))))


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)

"""tidegate requests: which calls were there, and what happened to one?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import click

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.core.money import usd_text

PAGE = 500
WIDTH = 40  # of the bars of a waterfall
FILTERS = {
    "key-id": "Of whoever asked.",
    "team": "A team.",
    "end-user": "Whom the client named.",
    "session": "What the client called a session.",
    "route": "A route.",
    "target": "provider/model.",
    "outcome": "ok, refused, failed, cut_off, client_left or interrupted.",
    "error": "The code of an error.",
    "guard": "pii: it had something to say; pii:mask: it ruled so.",
    "cache": "hit, miss, shared or bypass.",
    "status": "As the client saw it: 429.",
    "min-cost-usd": "At least so dear.",
    "min-duration-ms": "At least so slow.",
}
Command = Callable[..., None]


def filters(command: Command) -> Command:
    for name, help in reversed(FILTERS.items()):
        command = click.option(f"--{name}", help=help)(command)
    return command


@click.group()
def requests() -> None:
    """Calls that were answered, of a gateway that is running.

    \b
    tidegate requests list --outcome failed --since 7d
    tidegate requests show req_019b…
    tidegate requests tail --min-duration-ms 2000
    tidegate requests replay req_019b… --route other
    """


@requests.command("list")
@filters
@click.option("--since", help="2026-11-01, or how long ago: 7d. 1 day ago.")
@click.option("--until", help="The same; now.")
@click.option("--most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="So many calls.")
@click.option("--own", is_flag=True, help="Only those of this key; any key may ask.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@URL
@KEY
def list_(most: int, own: bool, as_json: bool, url: str, key: str | None, **asked: str | None) -> None:
    """Calls, newest first.

    \b
    tidegate requests list
    tidegate requests list --route fast --guard pii --since 24h
    tidegate requests list --min-cost-usd 0.10 --since 30d --most 500 --json
    """
    line = _line(url, key)
    path = "/v1/requests" if own else "/admin/requests"
    for shown, one in enumerate(_found(line, path, _given(asked), most)):
        click.echo(json.dumps(one) if as_json else _told(one, heading=not shown))


@requests.command()
@filters
@click.option("--seconds", type=click.FloatRange(0, 86_400), default=3600, show_default=True, help="So long, at most.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@URL
@KEY
def tail(seconds: float, as_json: bool, url: str, key: str | None, **asked: str | None) -> None:
    """Calls as they end, until Ctrl-C.

    \b
    tidegate requests tail
    tidegate requests tail --outcome failed
    """
    path = f"/admin/requests/tail?{urlencode(_given(asked) | {'seconds': f'{seconds:g}'})}"
    try:
        for shown, one in enumerate(_line(url, key).events(path)):
            click.echo(json.dumps(one) if as_json else _told(one, heading=not shown))
    except KeyboardInterrupt:
        click.echo()


@requests.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="The whole row.")
@URL
@KEY
def show(id: str, as_json: bool, url: str, key: str | None) -> None:
    """One call: who asked, what was tried and for how long, what it cost.

    \b
    tidegate requests show req_019b…
    """
    row = json.loads(_line(url, key).get(f"/v1/requests/{quote(id, safe='')}")[0])
    for text in [json.dumps(row, indent=2)] if as_json else _whole(row):
        click.echo(text)


@requests.command()
@click.argument("id")
@click.option("--route", required=True, help="Whom to ask: a route, or provider/model.")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def replay(id: str, route: str, as_json: bool, url: str, key: str | None) -> None:
    """Ask another route what was asked in a call, and see both answers. Its route must have kept what was asked.

    \b
    tidegate requests replay req_019b… --route other
    """
    found = _line(url, key).post(f"/admin/requests/{quote(id, safe='')}/replay", {"route": route})
    for text in (
        [json.dumps(found, indent=2, ensure_ascii=False)] if as_json else _beside(found["before"], found["now"])
    ):
        click.echo(text)


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    return Line(url, key)


def _given(asked: dict[str, str | None]) -> dict[str, str]:
    return {"key" if name == "key_id" else name: value for name, value in asked.items() if value}


def _found(line: Line, path: str, given: dict[str, str], most: int) -> Iterator[dict[str, Any]]:
    """Page after page; a page may have nothing, and the next one more."""
    after: str | None = None
    while most > 0:
        asked = given | {"limit": str(min(most, PAGE))} | ({"after": after} if after else {})
        page = json.loads(line.get(f"{path}?{urlencode(asked)}")[0])
        yield from page["requests"]
        most -= len(page["requests"])
        after = page["next"]
        given = given | {"since": page["since"], "until": page["until"]}  # `now` is another one by the next page
        if after is None:
            return
        if not page["requests"]:
            click.echo(f"looked back to {page['looked_back_to'][:19]}…", err=True)


# --- what is told


_COLUMNS = "{at:23}  {id:<32}  {route:<16}  {target:<24}  {outcome:<11}  {took:>8}  {tokens:>13}  {cost:>12}  {more}"


def _told(one: dict[str, Any], *, heading: bool) -> str:
    cost = one["cost_usd"]
    words = [one["error"], one["cache"] if one["cache"] in ("hit", "shared") else None]
    words += [f"{guard}:{verdict}" for guard, verdict in one["guards"].items()]
    words += [f"{one['attempts']} attempts" if one["attempts"] > 1 else None]
    line = _COLUMNS.format(
        at=one["at"][:23],
        id=one["id"],
        route=_plain(one["route"] or one["model"])[:16],
        target=_plain(one["target"])[:24],
        outcome=one["outcome"],
        took=_ms(one["duration_ms"]),
        tokens=f"{one['input_tokens']:,}→{one['output_tokens']:,}",
        cost="?" if cost is None else f"${cost[:-3]}",
        more=", ".join(filter(None, words)),
    ).rstrip()
    names = dict.fromkeys(("at", "id", "route", "target", "outcome", "took", "tokens", "cost"))
    return f"{_COLUMNS.format(**{name: name for name in names}, more='')}".rstrip() + f"\n{line}" if heading else line


def _check(one: dict[str, Any]) -> str:
    """Of one tier's answer: what was seen, and what became of it."""
    return f"{one['tier']} {one['outcome']}" + (f": {one['said']}" if one.get("said") else "")


def _whole(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['id']}  {row['dialect']} {row['operation']}{' (streamed)' if row.get('stream') else ''}"]
    at = datetime.fromtimestamp(row["at_ms"] / 1000).astimezone().isoformat(timespec="milliseconds")
    cost = row.get("cost_nusd", 0)
    facts = {
        "when": at,
        "key": " ".join(filter(None, (row["key_id"], row.get("key_name")))),
        "team": row.get("team_id"),
        "end user": row.get("user"),
        "session": row.get("session"),
        "asked for": row.get("model"),
        "route": row.get("route"),
        "tier": f"{row['chosen']['tier']}: {row['chosen']['why']}" if row.get("chosen") else None,
        "cascade": "; ".join(_check(one) for one in (row.get("chosen") or {}).get("checks", ())),
        "answered": row.get("target"),
        "outcome": f"{row['outcome']} ({row['status']}){': ' + row['error'] if row.get('error') else ''}",
        "took": f"{_ms(row['duration_us'] / 1000)}, of which Tidegate {_ms(row['overhead_us'] / 1000)}",
        "first": _ms(row["first_us"] / 1000) if row.get("first_us") is not None else None,
        "tokens": ", ".join(f"{kind} {number:,}" for kind, number in row.get("usage", {}).items()),
        "cost": "not known" if cost is None else f"${usd_text(cost)}",
        "cache": " ".join(filter(None, (row.get("cache"), row.get("cache_layer")))),
        "prompt": " ".join(filter(None, (row.get("prompt"), row.get("rendered")))),
        "arms": ", ".join(f"{one[0]} {one[2]}" for one in row.get("arms", ())),
        "tags": ", ".join(row.get("tags", ())),
    }
    lines += [f"  {name:<10} {_plain(str(value))}" for name, value in facts.items() if value]
    for one in row.get("guards", ()):
        found = ", ".join(one.get("rules", ()))
        lines.append(f"  guard      {one['guard']} {one['direction']}: {one['verdict']} {found}".rstrip())
    for one in row.get("feedback", ()):
        words = [f"{name} {one[name]}" for name in ("score", "label", "task_completed", "comment") if name in one]
        lines.append(f"  {one['source']:<10} says: {_plain(', '.join(words))}")
    lines += _waterfall(row)
    return [*lines, *(f"  passed     {_plain(why)}" for why in row.get("passed_over", ()))]


def _beside(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What can be compared in a line each, and then what both said."""
    for name, fact in COMPARED.items():
        left, right = (_plain(fact(one)) for one in (before, now))
        yield f"{name:<10} {left:<40} {right}".rstrip()
    for name, one in (("before", before), ("now", now)):
        tools = [f"{tool['name']}({tool['arguments']})" for tool in one["tools"]]
        nothing = one["why"] or ("" if tools else "(not kept)" if name == "before" else "(nothing)")
        yield f"\n--- {name}"
        yield from (_plain(line) for said in [one["text"] or nothing, *tools] for line in said.splitlines())


def _cost(one: dict[str, Any]) -> str:
    return "not known" if one["cost_usd"] is None else f"${one['cost_usd']}"


COMPARED: dict[str, Callable[[dict[str, Any]], str]] = {
    "": lambda one: one["id"],
    "route": lambda one: one["route"] or "",
    "answered": lambda one: one["target"] or "",
    "outcome": lambda one: one["outcome"] + (f": {one['error']}" if one["error"] else ""),
    "took": lambda one: _ms(one["duration_ms"]),
    "first": lambda one: "" if one["first_ms"] is None else _ms(one["first_ms"]),
    "tokens": lambda one: f"{one['input_tokens']:,}→{one['output_tokens']:,}",
    "cost": _cost,
}


def _waterfall(row: dict[str, Any]) -> list[str]:
    """What was tried, when, and for how long: ░ until the first word, █ after it."""
    whole = max([row["duration_us"], *(one["ended_us"] for one in row.get("attempts", ()))]) or 1
    lines = []
    for one in row.get("attempts", ()):
        begin, end = (round(WIDTH * one[name] / whole) for name in ("sent_us", "ended_us"))
        first = round(WIDTH * one["first_us"] / whole) if one.get("first_us") is not None else end
        bar = " " * begin + "░" * (first - begin) + "█" * max(end - first, 1 if first == begin else 0)
        said = "".join(f" {one[name]}" for name in ("status", "said") if one.get(name))
        target = f"{one['provider']}/{one['model']}"
        why = one.get("why", "first")
        lines.append(f"  {bar:<{WIDTH}} {_ms((one['ended_us'] - one['sent_us']) / 1000):>8} {why:<8} "
                     f"{_plain(target)} {one['outcome']}{_plain(said)}")  # fmt: skip
    return lines


def _ms(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _plain(text: str | None) -> str:
    """Names come from clients, and a terminal must not obey them."""
    return "" if text is None else text if text.isprintable() else repr(text)

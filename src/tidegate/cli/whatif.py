"""tidegate whatif: what would each lever have saved on yesterday's calls?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import msgspec

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.core.money import Price, Usage
from tidegate.core.whatif import ANSWERED, Asked, Seen, WhatIf, supposed
from tidegate.providers.prices import PriceList

SIZE = 16
PRICES_OF = ("openai", "anthropic")  # whose list is asked for a model of a provider with another name


class Logged(msgspec.Struct, frozen=True):
    """A line of a log: what `tidegate requests list --json` prints, and, where somebody has them, the `messages`."""

    at: str
    model: str | None = None
    target: str | None = None
    route: str | None = None
    key_id: str | None = None
    user: str | None = None
    session: str | None = None
    kind: str = "live"
    stream: bool = False
    status: int = 200
    cache: str | None = None
    duration_ms: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int | None = None
    messages: list[Any] | None = None


@click.command()
@click.option("--log", type=click.Path(path_type=Path), help="Lines of JSON, as requests list --json prints them.")
@click.option("--since", default="1d", show_default=True, help="Of a gateway: 2026-11-01, or how long ago.")
@click.option("--cheap", help="A smaller model, as the price list names it: openai/gpt-4o-mini.")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Dollars of a key a day."
)
@click.option("--json", "as_json", is_flag=True, help="One object.")
@URL
@KEY
def whatif(
    log: Path | None, since: str, cheap: str | None, budget: float, as_json: bool, url: str, key: str | None
) -> None:
    """Bounds of what caches, smaller models, compression, batches and limits would have saved.

    From a log, or from the ledger of a gateway that is running. What only texts could tell is said to be unknown.

    \b
    tidegate whatif --cheap openai/gpt-4o-mini
    tidegate requests list --most 100000 --json > calls.jsonl
    tidegate whatif --log calls.jsonl --cheap openai/gpt-4o-mini
    """
    if log is not None:
        prices = PriceList.load(None)
        found = supposed(_read(log, prices), Asked(cheap=_cheap(cheap, prices), budget_usd=budget))
    elif key:
        asked = {"since": since, "budget_usd": f"{budget:g}"} | ({"cheap": cheap} if cheap else {})
        found = msgspec.convert(json.loads(Line(url, key).get(f"/admin/whatif?{urlencode(asked)}")[0]), WhatIf)
    else:
        raise ConfigError("name a log with --log FILE, or set TIDEGATE_KEY to ask a gateway that is running")
    for text in [msgspec.json.format(msgspec.json.encode(found), indent=2).decode()] if as_json else _told(found):
        click.echo(text)


def _cheap(name: str | None, prices: PriceList) -> Price | None:
    if name is None:
        return None
    price = _price(name, prices)
    if price is None:
        raise ConfigError(f"--cheap: the price list knows no {name!r}; such as openai/gpt-4o-mini")
    return price


def _price(target: str, prices: PriceList) -> Price | None:
    vendor, _, model = target.partition("/")
    return prices.price(vendor, model) or next(
        (found for one in PRICES_OF if (found := prices.price(one, model or vendor))), None
    )


def _read(log: Path, prices: PriceList) -> Iterator[Seen]:
    """Raises ConfigError, with the number of a line that is none."""
    try:
        with log.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield _seen(msgspec.json.decode(line, type=Logged), prices)
                    except (msgspec.DecodeError, ValueError) as wrong:
                        raise ConfigError(
                            f"{log}, line {number}: no call as `requests list --json` has it: {wrong}"
                        ) from None
    except OSError as wrong:
        raise ConfigError(f"{log}: {wrong.strerror or wrong}") from None


def _seen(one: Logged, prices: PriceList) -> Seen:
    at = datetime.fromisoformat(one.at)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    model, cached = one.target or one.model or "", one.cache in ANSWERED
    price = None if cached else _price(model, prices)
    cost = one.cost_nusd
    if cost is None and price is not None:
        cost = price.cost_nusd(Usage(input=one.input_tokens, output=one.output_tokens))
    into = price.cost_nusd(Usage(input=one.input_tokens)) if price is not None else None
    same = None
    if one.messages is not None:
        text = msgspec.json.encode([one.route, one.model, one.messages], order="deterministic")
        same = blake2b(text, digest_size=SIZE).hexdigest()
    return Seen(
        at_ms=round(at.timestamp() * 1000), key=one.key_id or "", session=one.session or one.user or "", model=model,
        route=one.route or "", input_tokens=one.input_tokens, output_tokens=one.output_tokens, cost_nusd=cost,
        input_nusd=min(into or 0, cost or 0), duration_ms=one.duration_ms, status=one.status, stream=one.stream,
        batch=one.kind == "batch", cached=cached, same=same,
    )  # fmt: skip


def _told(found: WhatIf) -> list[str]:
    lines = [
        f"{found.calls} calls, ${found.cost_usd:,.4f}; the cache has saved ${found.saved_already_usd:,.4f} already"
    ]
    if not found.complete:
        lines.append("these are the newest calls only; ask for less time, or take a log")
    if found.unpriced:
        lines.append(f"{found.unpriced} calls are of unknown cost and count as nothing here")
    lines.append(f"{'lever, taken alone':20}{'at least':>12}{'at most':>12}{'calls':>9}  what that rests on")
    for one in found.levers:
        bounds = [f"${usd:,.4f}" if usd is not None else "unknown" for usd in (one.saved_least_usd, one.saved_most_usd)]
        lines.append(f"{one.name:20}{bounds[0]:>12}{bounds[1]:>12}{one.calls:>9}  {one.why}")
    last = found.waterfall[-1]
    lines.append(
        f"all of them, one after the other: between ${last.least_usd:,.4f} and ${last.most_usd:,.4f} would be left"
    )
    if found.success is not None and found.success_most is not None:
        lines.append(
            f"answered: {found.success:.2%}; with retries and a second provider {found.success_most:.2%} at most"
        )
    if found.p99_s is not None and found.p99_hedged_s is not None:
        lines.append(
            f"99 of 100 within {found.p99_s:.2f} s; about {found.p99_hedged_s:.2f} s had a second one been asked"
        )
    for key, usd in sorted(found.over_budget.items(), key=lambda one: -one[1])[:5]:
        lines.append(f"key {key or '(none)'}: ${usd:,.2f} beyond its budget of a day would have been refused")
    return lines

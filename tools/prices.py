"""Writes src/tidegate/providers/prices.json from what genai-prices knows. `./run prices [--date 2026-11-20]`

One line per model, in the order in which they are matched. A pattern is a name, `begins*`, `*ends`, `*within*` or
`re:…`; rates are nano-dollars per million tokens. A model with no rates is one whose price is not a sum over our kinds
of token (images, hours, pages, a fee per request): it is listed so that nothing else is taken for it, and has no price.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data_snapshot, types

from tidegate.core.money import nusd_per_million
from tidegate.providers.prices import LIST

KINDS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_read",
    "cache_write_mtok": "cached_write",
    "cache_write_1h_mtok": "cached_write_1h",
    "input_audio_mtok": "audio_input",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
}
# Fees for tools that a call may use, and a finer rate of a kind that we do not tell apart. A plain call costs the sum
# without them.
BESIDE = {
    "cache_audio_read_mtok",
    "web_searches_kcount",
    "social_searches_kcount",
    "storage_searches_kcount",
    "code_executions_kcount",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--date", type=datetime.date.fromisoformat, default=datetime.datetime.now(datetime.UTC).date())
    date = options.parse_args().date
    text = written(date)
    LIST.write_text(text, encoding="utf-8")
    models = text.count('"match"')
    print(f"{LIST.relative_to(Path.cwd())}: {models} models as of {date}, {len(text) // 1024} KiB")


def written(date: datetime.date) -> str:
    providers = sorted(data_snapshot.get_snapshot().providers, key=lambda provider: provider.id)
    lines = [f'"date":"{date}"', f'"source":"genai-prices {version("genai-prices")}"']
    vendors = [
        f'{_json(provider.id)}:{{"otherwise":{_json(provider.fallback_model_providers or [])},"models":[\n'
        + ",\n".join(_json(_entry(model, date)) for model in provider.models)
        + "\n]}"
        for provider in providers
    ]
    return "{" + ",\n".join([*lines, '"vendors":{\n' + ",\n".join(vendors) + "\n}"]) + "}\n"


def _entry(model: types.ModelInfo, date: datetime.date) -> dict[str, Any]:
    entry: dict[str, Any] = {"match": list(dict.fromkeys(_patterns(model.match)))}
    prices = {key: value for key, value in _prices(model, date).__dict__.items() if value is not None}
    if prices.keys() <= KINDS.keys() | BESIDE:
        rates = {KINDS[key]: value for key, value in prices.items() if key in KINDS}
        entry["rates"] = {kind: nusd_per_million(getattr(value, "base", value)) for kind, value in rates.items()}
        starts = {tier.start for value in rates.values() for tier in getattr(value, "tiers", ())}
        if starts:
            entry["tiers"] = [
                {
                    "above_input_tokens": start,
                    "rates": {kind: nusd_per_million(_at(value, start)) for kind, value in rates.items()},
                }
                for start in sorted(starts, reverse=True)
            ]
    return entry


def _prices(model: types.ModelInfo, date: datetime.date) -> types.ModelPrice:
    """What is asked on that day; where that depends on the hour, the most: too much is seen, too little is not."""
    if isinstance(model.prices, types.ModelPrice):
        return model.prices
    noon = datetime.datetime.combine(date, datetime.time(12), datetime.UTC)
    asked = [model.prices[0].prices]
    for conditional in model.prices:
        if isinstance(conditional.constraint, types.TimeOfDateConstraint):
            asked.append(conditional.prices)
        elif conditional.constraint is None or conditional.constraint.active(noon):
            asked = [conditional.prices]
    return max(asked, key=lambda prices: [_at(getattr(prices, key) or Decimal(0), 0) for key in KINDS])


def _at(value: Decimal | types.TieredPrices, start: int) -> Decimal:
    """The rate just above `start` input tokens."""
    if isinstance(value, Decimal):
        return value
    return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)


def _patterns(clause: Any) -> Iterator[str]:
    match clause:
        case types.ClauseOr():
            for part in clause.or_:
                yield from _patterns(part)
        case types.ClauseAnd():
            yield "re:" + "".join(f"(?={_regex(pattern)})" for part in clause.and_ for pattern in _patterns(part))
        case types.ClauseRegex():
            yield f"re:{clause.regex}"
        case types.ClauseEquals():
            yield clause.equals.lower()
        case types.ClauseStartsWith():
            yield f"{clause.starts_with.lower()}*"
        case types.ClauseEndsWith():
            yield f"*{clause.ends_with.lower()}"
        case types.ClauseContains():
            yield f"*{clause.contains.lower()}*"


def _regex(pattern: str) -> str:
    """One of several conditions, as seen from the beginning of the name."""
    if pattern.startswith("re:"):
        return pattern[3:] if pattern.startswith("re:^") else ".*" + pattern[3:]
    begin, end = ("" if pattern.startswith("*") else "^"), ("" if pattern.endswith("*") else "$")
    return (begin or ".*") + re.escape(pattern.strip("*")) + end


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    main()

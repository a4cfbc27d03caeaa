"""What does a table ask? A CSV, a case in each row: its columns by their usual names, all others are variables."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.promptfoo import NoCounterpart, short
from tidegate.jobs.evals.imports.suites import JUDGE, Imported, with_ids
from tidegate.jobs.evals.suite import Suite

COLUMNS = {
    "id": ("id", "case", "__description"),
    "input": ("input", "question", "query", "prompt", "user_input", "user_query"),
    "reference": ("reference", "expected", "expected_output", "ideal", "answer", "ground_truth"),
    "expected_elements": ("expected_elements", "elements", "must_contain"),
    "context": ("context",),
    "tags": ("tags", "tag"),
}
SAYS = {"type": "regex", "pattern": r"\S", "name": "says something"}


def imported(text: str, file: str, judge: str = JUDGE) -> Imported:
    """Raises ConfigError, naming the line."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    left_out: list[str] = []
    cases: list[Case] = []
    try:
        head = rows.fieldnames or ()
        if len({*head}) != len(head):
            raise ConfigError(f"{file}:1: two columns have the same name")
        for row in rows:
            if None in row or None in row.values():
                raise ConfigError(
                    f"{file}:{rows.line_num}: has {'more' if None in row else 'fewer'} cells than the head"
                )
            cases.append(_case({key.strip(): cell for key, cell in row.items()}, file, rows.line_num, judge, left_out))
    except csv.Error as wrong:
        raise ConfigError(f"{file}:{rows.line_num}: {wrong}") from None
    if not cases:
        raise ConfigError(f"{file}: there is no row")
    return Imported(Suite(name="csv", cases=with_ids(cases)), left_out)


def _case(row: dict[str, str], file: str, line: int, judge: str, left_out: list[str]) -> Case:
    named = {field: next((name for name in names if name in row), None) for field, names in COLUMNS.items()}
    fields: dict[str, Any] = {field: row[name] for field, name in named.items() if name is not None}
    if not fields.get("input", "").strip():
        raise ConfigError(
            f"{file}:{line}: asks nothing; the question stands in a column {' or '.join(COLUMNS['input'])}"
        )
    variables = {name: cell for name, cell in row.items() if name not in named.values() and not name.startswith("__")}
    elements, tags = _listed(fields.pop("expected_elements", "")), _listed(fields.pop("tags", ""))
    scorers: list[dict[str, Any]] = [{"type": "contains", "name": "elements"}] if elements else []
    for name in [name for name in row if name.startswith("__expected") and row[name].strip()]:
        try:
            scorer, needs = short(row[name], judge)
        except NoCounterpart as none:
            left_out.append(f"line {line}, {name}: {none}")
            continue
        scorers.append({**scorer, "name": name.strip("_")})
        fields |= {key: value for key, value in needs.items() if not fields.get(key)}
    if fields.get("reference") and not scorers:
        scorers.append({"type": "reference", "model": [judge]})
    fields["id"] = fields.get("id", "") or f"row-{line - 1}"
    return Case(variables=variables, expected_elements=elements, tags=tags, scorers=tuple(scorers or [SAYS]), **fields)


def _listed(cell: str) -> tuple[str, ...]:
    """A list of JSON, or words between semicolons."""
    if cell.lstrip().startswith("["):
        try:
            return tuple(msgspec.json.decode(cell, type=list[str]))
        except msgspec.DecodeError:
            pass
    return tuple(word.strip() for word in cell.split(";") if word.strip())

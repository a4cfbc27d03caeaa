"""What does a dataset of Langfuse ask? Its items as JSON: a list, lines, or a page of the API."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.suites import JUDGE, Imported, as_text, json_lines, literal, said_in, with_ids
from tidegate.jobs.evals.suite import Suite

ASKED = ("input", "question", "query", "prompt", "user_input", "text")


def imported(text: str, file: str, judge: str = JUDGE) -> Imported:
    """What is expected is compared with by `judge`. Raises ConfigError, naming the item."""
    left_out: list[str] = []
    cases, name = [], ""
    for number, item in enumerate(_items(text, file), 1):
        if not isinstance(item, dict) or "input" not in item:
            raise ConfigError(f"{file}: item {number} has no input")
        id = as_text(item.get("id")) or f"item-{number}"
        if item.get("status") == "ARCHIVED":
            left_out.append(f"{id}: is archived")
            continue
        name = name or as_text(item.get("datasetName"))
        cases.append(_case(item, id, judge, left_out))
    if not cases:
        raise ConfigError(f"{file}: there is no item that is not archived")
    return Imported(Suite(name=name or "langfuse", cases=with_ids(cases)), left_out)


def _items(text: str, file: str) -> list[Any]:
    try:
        page = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json_lines(text, file)
    if isinstance(page, dict):
        found = page.get("data", page.get("items", [page]))
        return list(found) if isinstance(found, list) else [page]
    return list(page) if isinstance(page, list) else [page]


def _case(item: dict[str, Any], id: str, judge: str, left_out: list[str]) -> Case:
    asked = item["input"]
    variables: dict[str, Any] = {}
    if isinstance(asked, dict) and "messages" not in asked:
        variables = {name: value for name, value in asked.items() if name not in ASKED}
        one = next((asked[name] for name in ASKED if name in asked), None)
        asked = one if one is not None else asked
    elif isinstance(asked, dict):
        variables = {name: value for name, value in asked.items() if name != "messages"}
        asked = asked["messages"]
    conversation = said_in(asked)
    turns, said = conversation if conversation else ((), as_text(asked))
    reference, metadata = as_text(item.get("expectedOutput")), item.get("metadata")
    tags: tuple[str, ...] = ()
    if isinstance(metadata, dict):
        given = metadata.get("tags")
        tags = tuple(map(as_text, given)) if isinstance(given, list) else ()
        variables |= {name: value for name, value in metadata.items() if name != "tags" and name not in variables}
    if not reference:
        left_out.append(f"{id}: nothing is expected, so that only whether it says something is looked at")
    before = literal(turns)
    return Case(
        id=id,
        input=said,
        turns=before["turns"],
        variables=variables | before.get("variables", {}),
        reference=reference,
        tags=tags,
        scorers=({"type": "reference", "model": [judge]},) if reference else (SAYS,),
    )


SAYS = {"type": "regex", "pattern": r"\S", "name": "says something"}

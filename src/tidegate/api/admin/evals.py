"""What did evaluations find, which judges may gate, and what do people say? The files of `tidegate eval`, over HTTP.

Runs and labels are files in `evals` of `storage.data_dir`, cards in `judge-cards` there: what the terminal writes is
seen here, and a label that is given here is a line as the terminal writes it.
"""

# No postponed annotations here: FastAPI evaluates them.
import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import Query, Request
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import Body, paths
from tidegate.core.errors import BadRequest, ConfigError, NotFound
from tidegate.jobs.evals import deck, queue, results
from tidegate.jobs.evals.card import Policy, why_not
from tidegate.jobs.evals.compare import Rule, compared, differing
from tidegate.jobs.evals.results import Answer, Results
from tidegate.jobs.evals.tally import counted
from tidegate.jobs.evals.verdicts import item_of

router = paths("/admin/evals", "evaluations")

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
LABELS = "labels"  # of single answers; of two runs: labels--BASE--RUN
MOST = 200  # cases that are told one by one
WAITING = 20

Base = Annotated[str | None, Query(max_length=100, description="Another run: which of two answers is better.")]


class ShownRuns(BaseModel):
    folder: str
    runs: Annotated[list[dict[str, Any]], Field(description="Newest first: name, suite, subject, cases, repeats.")]
    cards: Annotated[list[dict[str, Any]], Field(description="Of judges; `why_not`: why it may not gate, or nothing.")]


class ShownTally(BaseModel):
    name: str
    tally: dict[str, Any]


class ShownComparison(BaseModel):
    name: str
    base: str
    differs: Annotated[list[str], Field(description="Why these are no runs of one suite, if they are none.")]
    comparison: dict[str, Any]


class Waiting(BaseModel):
    item: str
    case: str
    text: str
    other: Annotated[str | None, Field(description="What the other run has answered: it is 1, and this is 2.")] = None
    first: Annotated[
        Literal["1", "2"] | None,
        Field(description="Which of the two to show first: chance's, so that no place is a run's."),
    ] = None


class ShownQueue(BaseModel):
    name: str
    labeller: str
    left: int
    items: Annotated[list[Waiting], Field(description="The next; what a judge said of them is not told.")]


class Label(Body):
    item: Annotated[str, Field(min_length=1, max_length=300)]
    label: Literal["pass", "fail", "1", "2", "tie"]
    base: Annotated[str | None, Field(max_length=100, description="With 1, 2 and tie.")] = None
    comment: Annotated[str, Field(max_length=2000)] = ""


@router.get("")
async def list_evals(request: Request, principal: Administering) -> ShownRuns:
    """Runs that are there, and cards of judges."""
    folder: Path = request.app.state.evals

    def look() -> ShownRuns:
        runs = [one for path in folder.glob("*.jsonl") if (one := _head(path)) is not None]
        now, policy = datetime.now(UTC), Policy()
        cards = [
            {**msgspec.to_builtins(kept.card), "why_not": why_not(kept.card, policy, now)}
            for kept in deck.read(folder / deck.FOLDER)
        ]
        runs.sort(key=lambda one: str(one["started"]), reverse=True)
        return ShownRuns(folder=str(folder), runs=runs, cards=cards)

    return await _beside(look)


@router.get("/{name}")
async def get_eval(name: str, request: Request, principal: Administering) -> ShownTally:
    """What one run comes to, and the first 200 cases that did not pass."""
    path = _path(request, name)

    def look() -> ShownTally:
        found = counted(results.read(path), deck.card_of(path.parent / deck.FOLDER))
        cases = [one for one in found.cases if one.missing or not all(one.passed)]
        tally = msgspec.to_builtins(msgspec.structs.replace(found, cases=tuple(cases[:MOST])))
        tally["run"].pop("cases")
        return ShownTally(name=name, tally={**tally, "not_passed": len(cases), "of": len(found.cases)})

    return await _beside(look)


@router.get("/{name}/against/{base}")
async def compare_evals(name: str, base: str, request: Request, principal: Administering) -> ShownComparison:
    """What has changed from `base` to this run, with examples."""
    paths = [_path(request, one) for one in (base, name)]

    def look() -> ShownComparison:
        before, after = [results.read(path) for path in paths]
        found = msgspec.to_builtins(compared(before, after, Rule()))
        for run in ("base", "head"):
            found[run].pop("cases")
        differs = list(differing(before, after).values())
        return ShownComparison(name=name, base=base, differs=differs, comparison=found)

    return await _beside(look)


@router.get("/{name}/queue")
async def label_queue(name: str, request: Request, principal: Administering, base: Base = None) -> ShownQueue:
    """Answers that whoever asks has not labelled yet, in an order of their own."""
    path, other = _path(request, name), _path(request, base) if base else None

    def look() -> ShownQueue:
        found, there = results.read(path), _texts(results.read(other)) if other is not None else None
        left = _open(found, _labels(path, base), principal.name, there)

        def shown(one: Answer) -> Waiting:
            item = item_of(one)
            waiting = Waiting(item=item, case=one.case, text=one.text)
            if there is not None:
                waiting.other, waiting.first = there[item], queue.first(found, item, principal.name)
            return waiting

        return ShownQueue(
            name=name, labeller=principal.name, left=len(left), items=[shown(one) for one in left[:WAITING]]
        )

    return await _beside(look)


@router.post("/{name}/labels", status_code=201)
async def add_label(name: str, asked: Label, request: Request, principal: Administering, house: House) -> Label:
    """What you say of one answer of a run, or of two."""
    if (asked.base is None) != (asked.label in ("pass", "fail")):
        raise BadRequest("label: pass or fail of one answer; 1, 2 or tie of two, with base", param="label")
    path, other = _path(request, name), _path(request, asked.base) if asked.base else None

    def write() -> None:
        found = results.read(path)
        length = len(_text(found, path, asked.item))
        if other is not None:
            length = len(_text(results.read(other), other, asked.item)) - length
        line = queue.Said(
            item=asked.item, label=asked.label, labeller=principal.name, comment=asked.comment.strip(),
            run=found.run.id, length=length,
        )  # fmt: skip
        queue.add(_labels(path, asked.base), line)

    await _beside(write)
    tell(house, principal, "answer_labelled", f"{name}/{asked.item}")
    return asked


def _head(path: Path) -> dict[str, Any] | None:
    """Of a run; None: it is something else, such as labels."""
    if not NAME.fullmatch(path.stem):
        return None
    with path.open("rb") as file:
        try:
            run = msgspec.json.decode(file.readline(), type=results.Run)
        except msgspec.DecodeError:
            return None
    said: dict[str, Any] = msgspec.to_builtins(run)
    return {"started": "", "repeats": 1, **said, "name": path.stem, "cases": len(run.cases)}


def _path(request: Request, name: str) -> Path:
    """Raises NotFound. A name has nothing in it that leads elsewhere."""
    path: Path = request.app.state.evals / f"{name}.jsonl"
    if not NAME.fullmatch(name) or not path.is_file():
        raise NotFound(
            f"there is no run {name[:100]!r} in {path.parent}; tidegate eval run SUITE --out FILE writes one"
        )
    return path


def _labels(run: Path, base: str | None) -> Path:
    return run.with_name(f"{LABELS}--{base}--{run.stem}.jsonl" if base else f"{LABELS}.jsonl")


def _open(found: Results, labels: Path, labeller: str, there: dict[str, str] | None) -> list[Answer]:
    left = queue.waiting(found, labels, labeller)
    return left if there is None else [one for one in left if there.get(item_of(one), one.text) != one.text]


def _texts(found: Results) -> dict[str, str]:
    return {item_of(one): one.text for one in found.answers if one.text}


def _text(found: Results, run: Path, item: str) -> str:
    """Raises NotFound."""
    for one in found.answers:
        if item_of(one) == item:
            return one.text
    raise NotFound(f"{run.stem} has no answer {item[:100]!r}")


async def _beside(work: Callable[[], T]) -> T:
    """Files are read beside the loop; what is wrong with one is the asker's to mend."""
    try:
        return await asyncio.to_thread(work)
    except (ConfigError, ValueError, OSError) as wrong:
        raise BadRequest(wrong.message if isinstance(wrong, ConfigError) else str(wrong)) from None

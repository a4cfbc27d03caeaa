"""Runs, cards and labels of `tidegate eval`, over HTTP: the same files, read and added to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.admin.test_keys import make, send
from tests.house import House
from tidegate.jobs.evals.labels import read
from tidegate.jobs.evals.results import Answer, Run, Score


def write(folder: Path, name: str, *texts: str, good: int = 99) -> None:
    """A run; the first `good` of its answers pass."""
    cases = tuple(f"c{at}" for at in range(len(texts)))
    run = Run(
        id=name, suite="suite", suite_hash="s", subject="route:fast", cases=cases, started="2026-11-27T08:00:00+00:00"
    )
    answers = [
        Answer(
            case=case, repeat=0, text=text, scores=(Score(scorer="exact", value=float(at < good), passed=at < good),)
        )
        for at, (case, text) in enumerate(zip(cases, texts, strict=True))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in (run, *answers)))


@pytest.fixture
async def folder(house: House) -> Path:
    found = Path(house.app.config.storage.data_dir).expanduser() / "evals"
    write(found, "base", *[f"good {at}" for at in range(8)])
    write(found, "head", *[f"other {at}" for at in range(8)], good=1)
    return found


async def seen(house: House, path: str) -> Any:
    reply = await house.get(f"/admin/evals{path}")
    assert reply.status == 200, reply.body
    return reply.events[0]


async def test_without_a_folder_there_are_no_runs(house: House):
    assert (await seen(house, ""))["runs"] == []


async def test_runs_are_listed_and_one_tells_what_it_comes_to(house: House, folder: Path):
    assert {one["name"]: one["cases"] for one in (await seen(house, ""))["runs"]} == {"base": 8, "head": 8}
    told = (await seen(house, "/head"))["tally"]
    assert told["passed"][0] == pytest.approx(1 / 8) and (told["not_passed"], told["of"]) == (7, 8)
    assert [one["name"] for one in told["criteria"]] == ["exact"]


async def test_two_runs_are_compared_with_examples(house: House, folder: Path):
    told = await seen(house, "/head/against/base")
    assert (told["comparison"]["changes"][0]["verdict"], told["differs"]) == ("regressed", [])
    assert {"good 1", "other 1"} <= {
        one[side] for one in told["comparison"]["examples"] for side in ("base_text", "head_text")
    }


async def test_what_is_labelled_waits_no_more_and_is_what_the_terminal_reads(house: House, folder: Path):
    before = await seen(house, "/head/queue")
    item = before["items"][0]["item"]
    assert (await send(house, "POST", "evals/head/labels", item=item, label="fail")).status == 201
    after = await seen(house, "/head/queue")
    assert after["left"] == before["left"] - 1 and item not in {one["item"] for one in after["items"]}
    (found,) = (await asyncio.to_thread(read, folder / "labels.jsonl")).items
    assert (found.id, dict(found.labels)) == (item, {before["labeller"]: "fail"})


async def test_of_two_answers_somebody_says_which_is_better(house: House, folder: Path):
    shown = (await seen(house, "/head/queue?base=base"))["items"]
    assert {one["first"] for one in shown} == {"1", "2"}, "no place is one run's"
    one = shown[0]
    assert one["other"].startswith("good") and one["text"].startswith("other")
    assert (await send(house, "POST", "evals/head/labels", item=one["item"], label="tie", base="base")).status == 201
    assert (await seen(house, "/head/queue?base=base"))["left"] == 7
    assert (await seen(house, "/head/queue"))["left"] == 8
    told = await asyncio.to_thread(read, folder / "labels--base--head.jsonl")
    assert (told.kind, told.items[0].length) == ("pair", len(one["other"]) - len(one["text"]))
    assert len((await seen(house, ""))["runs"]) == 2  # labels are no run


async def test_of_two_answers_that_are_equally_long_the_difference_is_none_and_kept(house: House, folder: Path):
    write(folder, "long", *[f"best {at}" for at in range(8)])  # as long as "good 0"
    assert (await send(house, "POST", "evals/long/labels", item="c0#0", label="1", base="base")).status == 201
    assert (await asyncio.to_thread(read, folder / "labels--base--long.jsonl")).items[0].length == 0


@pytest.mark.parametrize("name", ["none", "..", ".hidden", "%2e%2e%2fkeys", "a%00b", "x" * 101])
async def test_a_name_leads_nowhere_else(house: House, folder: Path, name: str):
    for path in (f"/{name}", f"/{name}/queue", f"/base/against/{name}", f"/base/queue?base={name}"):
        assert (await house.get(f"/admin/evals{path}")).status in (400, 404)


@pytest.mark.parametrize(
    "said", [{"label": "1"}, {"label": "pass", "base": "base"}, {"label": "best"}, {"label": "fail", "item": "c99#0"}]
)
async def test_a_label_that_makes_no_sense_is_not_written(house: House, folder: Path, said: dict[str, str]):
    assert (await send(house, "POST", "evals/head/labels", **{"item": "c1#0", **said})).status in (400, 404)
    assert not (folder / "labels.jsonl").exists()


async def test_a_file_that_is_damaged_says_so(house: House, folder: Path):
    with (folder / "head.jsonl").open("a") as file:
        file.write("no answer\n")
    reply = await house.get("/admin/evals/head")
    assert reply.status == 400 and "line 10 is no answer" in reply.error.message


async def test_only_an_administrator_reads_answers(house: House, folder: Path):
    viewer = await make(house, role="viewer")
    assert (await send(house, "GET", "evals/head/queue", key=viewer["key"])).status == 403

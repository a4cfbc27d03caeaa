"""The queue for labels, and how far people agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.evals.test_compare import run, said
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals import queue
from tidegate.jobs.evals.labels import read
from tidegate.jobs.evals.results import Answer
from tidegate.jobs.evals.verdicts import item_of

RUN = run([*(said(f"c{at}", text="hello", exact=1) for at in range(20)), Answer(case="none", repeat=0, error="x")])


def test_everybody_has_an_order_of_their_own_and_nothing_twice(tmp_path: Path):
    labels = tmp_path / "labels.jsonl"
    ann, bob = (queue.waiting(RUN, labels, who) for who in ("ann", "bob"))
    assert len(ann) == 20 and ann != bob and ann == queue.waiting(RUN, labels, "ann")
    for answer in ann[:3]:
        queue.add(labels, queue.Said(item=item_of(answer), label="pass", labeller="ann"))
    assert queue.waiting(RUN, labels, "ann") == ann[3:] and len(queue.waiting(RUN, labels, "bob")) == 20


def test_no_place_is_one_runs():
    shown = {who: [queue.first(RUN, f"c{at}#0", who) for at in range(1_000)] for who in ("ann", "bob")}
    assert all(400 < places.count("1") < 600 for places in shown.values())
    assert shown["ann"] != shown["bob"] and shown["ann"] == [queue.first(RUN, f"c{at}#0", "ann") for at in range(1_000)]


def test_two_people_and_what_they_are_split_about(tmp_path: Path):
    labels = tmp_path / "labels.jsonl"
    for at in range(20):
        for who, word in (("ann", "pass" if at % 2 else "fail"), ("bob", "pass" if at % 2 or at == 0 else "fail")):
            queue.add(labels, queue.Said(item=f"c{at}", label=word, labeller=who))
    found = queue.agreement(read(labels))
    assert (found.items, found.same, [item.id for item in found.split]) == (20, 0.95, ["c0"])
    ((people, (items, kappa)),) = found.pairs.items()
    assert people == ("ann", "bob") and items == 20 and kappa == pytest.approx(0.9)
    assert found.alpha == pytest.approx(0.9, abs=0.01)


def test_points_that_are_far_apart_are_split(tmp_path: Path):
    labels = tmp_path / "labels.jsonl"
    for item, points in (("near", (7.0, 8.0)), ("far", (3.0, 9.0))):
        for who, point in zip("ab", points, strict=True):
            queue.add(labels, queue.Said(item=item, label=point, labeller=who))
    assert [item.id for item in queue.agreement(read(labels)).split] == ["far"]


def test_labels_that_cannot_be_written_say_why(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot write"):
        queue.add(tmp_path / "none" / "l.jsonl", queue.Said(item="a", label="pass", labeller="ann"))

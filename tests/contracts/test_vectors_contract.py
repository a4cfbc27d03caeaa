"""Wherever vectors are kept, the nearest come first and partitions never see each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from tidegate.core.ports import Answer, Entry, Learned, Vectors
from tidegate.storage.postgres.vectors import PostgresVectors
from tidegate.storage.vectorfile import FileVectors
from tidegate.storage.vectors import MemoryVectors

BOUND = 50


async def memory(request: pytest.FixtureRequest, folder: Path) -> Vectors:
    return MemoryVectors(BOUND)


async def file(request: pytest.FixtureRequest, folder: Path) -> Vectors:
    return await FileVectors.open(folder / "semantic.sqlite", BOUND)


async def pgvector(request: pytest.FixtureRequest, folder: Path) -> Vectors:
    """Patient, for a busy machine, and each use is written at once."""
    url = request.getfixturevalue("postgres")
    return await PostgresVectors.open(url, BOUND, lambda name, fields: None, look_s=5, touch_s=0)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest, Path], Awaitable[Vectors]]] = {
    "memory": memory,
    "file": file,
    "pgvector": pgvector,
}


@pytest.fixture(params=ADAPTERS)
async def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Vectors]:
    """Holds at most BOUND entries."""
    vectors = await ADAPTERS[request.param](request, tmp_path)
    yield vectors
    await vectors.aclose()


@pytest.fixture(params=[name for name in ADAPTERS if name != "memory"])
async def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Vectors]]]:
    """Ends what is there, and begins anew on the same."""
    there: list[Vectors] = []

    async def again() -> Vectors:
        while there:
            await there.pop().aclose()
        there.append(await ADAPTERS[request.param](request, tmp_path))
        return there[0]

    yield again
    for one in there:
        await one.aclose()


def pointing(degrees: float) -> bytes:
    radians = np.radians(degrees)
    return np.array([np.cos(radians), np.sin(radians), 0, 0], "<f4").tobytes()


def entry(id: str, degrees: float, answer: str = "", marks: tuple[str, ...] = ()) -> Entry:
    return Entry(id, pointing(degrees), Answer(answer or f"answer of {id}", b"digest", b"sketch"), marks)


async def ids(vectors: Vectors, degrees: float, count: int = 10, partition: str = "team") -> list[str]:
    return [one.id for one in await vectors.nearest(partition, pointing(degrees), count)]


async def test_the_nearest_come_first_with_their_similarity(vectors):
    for id, degrees in (("far", 80), ("near", 10), ("there", 0)):
        await vectors.add("team", entry(id, degrees))
    found = await vectors.nearest("team", pointing(0), 2)
    assert [one.id for one in found] == ["there", "near"]
    assert [one.similarity for one in found] == [pytest.approx(1), pytest.approx(np.cos(np.radians(10)))]


async def test_an_entry_comes_back_with_its_answer_and_marks(vectors):
    await vectors.add("team", entry("a", 0, "x", ("not", "number:5")))
    (found,) = await vectors.nearest("team", pointing(0), 1)
    assert (found.answer, found.marks, found.right, found.wrong) == ("x", ("not", "number:5"), 0, 0)
    assert await vectors.answers("team", ["x", "gone"]) == [Answer("x", b"digest", b"sketch")]


async def test_partitions_never_see_each_other(vectors):
    await vectors.add("team", entry("a", 0))
    assert await ids(vectors, 0, partition="others") == []
    assert await vectors.answers("others", ["answer of a"]) == []
    await vectors.add("others", entry("a", 0))
    assert await vectors.forget("others") == 1
    assert await ids(vectors, 0) == ["a"]


async def test_an_entry_that_is_added_again_is_replaced(vectors):
    await vectors.add("team", entry("a", 0))
    await vectors.judge("team", "a", right=False)
    await vectors.add("team", entry("a", 90))
    (found,) = await vectors.nearest("team", pointing(90), 5)
    assert (found.id, found.similarity, found.wrong) == ("a", pytest.approx(1), 0)


async def test_a_record_adds_up(vectors):
    await vectors.add("team", entry("a", 0))
    for right in (True, True, False):
        await vectors.judge("team", "a", right)
    await vectors.judge("team", "one that has left", right=True)
    (found,) = await vectors.nearest("team", pointing(0), 1)
    assert (found.right, found.wrong) == (2, 1)


async def test_what_is_forgotten_is_found_no_more(vectors):
    for id, degrees in (("a", 0), ("b", 5), ("c", 10)):
        await vectors.add("team", entry(id, degrees))
    assert await vectors.forget("team", ["a", "never there"]) == 1
    assert await ids(vectors, 0) == ["b", "c"]
    assert await vectors.forget("team") == 2
    assert await ids(vectors, 0) == []
    assert await vectors.forget("team") == 0


async def test_an_answer_lives_as_long_as_an_entry_gives_it(vectors):
    await vectors.add("team", entry("a", 0, "shared"))
    await vectors.add("team", entry("b", 5, "shared"))
    await vectors.forget("team", ["a"])
    assert len(await vectors.answers("team", ["shared"])) == 1
    await vectors.forget("team", ["b"])
    assert await vectors.answers("team", ["shared"]) == []


async def test_over_the_bound_those_leave_that_were_near_nothing_for_longest(vectors):
    for at in range(BOUND):
        await vectors.add("team", entry(f"{at}", at))
    assert await ids(vectors, 0, 3) == ["0", "1", "2"]
    left = await vectors.add("team", entry("new", 89))
    assert left == ["3"]
    assert set(await ids(vectors, 0, 3)) == {"0", "1", "2"}
    assert len(await ids(vectors, 0, 2 * BOUND)) == BOUND


async def test_a_vector_of_another_dimension_is_refused_by_name(vectors):
    await vectors.add("team", entry("a", 0))
    with pytest.raises(ValueError, match="3 numbers among entries of 4: another embedding model"):
        await vectors.nearest("team", b"\0" * 12, 1)
    with pytest.raises(ValueError, match="another embedding model"):
        await vectors.add("team", Entry("b", b"\0" * 12, Answer("x", b"", b"")))
    assert await ids(vectors, 0) == ["a"]


def replying(id: str, until_ms: int = 10_000, tags: tuple[str, ...] = ()) -> Entry:
    return Entry(id, pointing(0), Answer(f"answer of {id}", b"", b""), (), b"reply of " + id.encode(), until_ms, tags)


async def test_a_reply_is_given_while_it_is_good_and_its_entry_is_there(vectors):
    await vectors.add("team", replying("a", until_ms=1_000))
    assert await vectors.reply("team", "a", 999) == b"reply of a"
    assert await vectors.reply("team", "a", 1_000) is None
    assert await vectors.reply("others", "a", 0) is None
    await vectors.forget("team", ["a"])
    assert await vectors.reply("team", "a", 0) is None


async def test_what_has_a_tag_is_purged_in_every_partition(vectors):
    await vectors.add("team", replying("a", tags=("route:fast", "tag:x")))
    await vectors.add("others", replying("b", tags=("route:fast",)))
    await vectors.add("others", replying("c", tags=("route:slow",)))
    assert await vectors.purge("route:fast") == 2
    assert await ids(vectors, 0) == [] and await ids(vectors, 0, partition="others") == ["c"]
    assert await vectors.purge("never used") == 0
    assert await vectors.purge() == 1
    assert await ids(vectors, 0, partition="others") == []


async def test_of_two_that_teach_at_once_one_is_first(vectors):
    assert await vectors.learned("x") is None
    assert await vectors.teach("x", Learned(1, b"one"))
    assert not await vectors.teach("x", Learned(1, b"too late"))
    assert not await vectors.teach("x", Learned(3, b"too early"))
    assert await vectors.teach("x", Learned(2, b"two"))
    assert await vectors.learned("x") == Learned(2, b"two")
    assert not await vectors.teach("y", Learned(2, b"there is no first"))


async def test_what_texts_no_database_takes_are_kept_all_the_same(vectors):
    odd = "nul \0 half \ud800"
    await vectors.add("team", Entry("a", pointing(0), Answer("x", b"", b"", (odd,)), (odd,), b"r", 5, (odd,)))
    assert [one.id for one in await vectors.nearest("team", pointing(0), 1)] == ["a"]


async def test_everything_is_there_again_after_a_restart(reopened):
    vectors = await reopened()
    for id, degrees in (("a", 0), ("b", 5), ("c", 10)):
        await vectors.add("team", entry(id, degrees, "shared", ("not",)))
    await vectors.add("others", replying("d", tags=("tag:x",)))
    await vectors.judge("team", "a", right=True)
    await vectors.forget("team", ["c"])
    await vectors.teach("x", Learned(1, b"one"))
    vectors = await reopened()
    near = await vectors.nearest("team", pointing(0), 5)
    assert [(one.id, one.answer, one.marks, one.right) for one in near] == [
        ("a", "shared", ("not",), 1),
        ("b", "shared", ("not",), 0),
    ]
    assert await vectors.answers("team", ["shared"]) == [Answer("shared", b"digest", b"sketch")]
    assert await vectors.reply("others", "d", 0) == b"reply of d"
    assert await vectors.learned("x") == Learned(1, b"one")
    assert await vectors.purge("tag:x") == 1

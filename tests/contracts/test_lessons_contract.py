"""Wherever lessons are kept, they come back in order to whoever asks, and nothing is left of who was erased."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tidegate.core.ports import Lesson, Subject
from tidegate.storage.books import Home
from tidegate.storage.lessons import LessonStore
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import MemoryKeyring


@pytest.fixture
def vault() -> EnvelopeVault:
    return EnvelopeVault(MemoryKeyring(), Keks([bytes(32)]))


@pytest.fixture
def lessons(home: Home, vault: EnvelopeVault) -> LessonStore:
    return LessonStore(home.tables, vault, lambda: 5_000_000_000)


def lesson(call: str, **fields: Any) -> Lesson:
    one = Lesson(
        call, 1_000, 2_000, "acme", "ann", "auto", ("small", "large"), "small", 0.5, "said", 0.0, True, "words",
        b"\x01\x00vector", b"\x00\xfflook", -0.25,
    )  # fmt: skip
    return msgspec.structs.replace(one, **fields)


async def test_they_come_back_as_they_were_and_in_order(lessons):
    told = [lesson("a"), lesson("b", user=None, share=0.01), lesson("c", user="bob 🌊")]
    seqs = [seq for seq, _ in await lessons.add(told)]
    heard = await lessons.after(0, 10)
    assert [one.lesson for one in heard] == told and [one.seq for one in heard] == seqs == sorted(seqs)
    assert [one.lesson.call for one in await lessons.after(seqs[0], 1)] == ["b"]


async def test_who_says_it_again_is_heard_again_and_the_first_is_gone(lessons, vault):
    ((first, _),) = await lessons.add([lesson("a")])
    ((second, whose),) = await lessons.add([lesson("a", good=1.0)])
    assert second > first and whose == vault.subject("acme", "ann")
    assert [one.lesson.good for one in await lessons.after(0, 10)] == [1.0]


async def test_what_a_judge_says_stands_beside_what_a_user_does(lessons):
    await lessons.add([lesson("a"), lesson("a", source="shadow"), lesson("a", source="shadow", tier="large")])
    assert len(await lessons.after(0, 10)) == 3


async def test_of_an_end_user_all_is_deleted_and_everybody_hears_it(lessons, vault):
    for n in range(600):
        await lessons.add([lesson(f"{n:03}", user="ann" if n % 200 else "bob")])
    ann = vault.subject("acme", "ann")
    assert len(await lessons.of(ann)) == 597
    assert await lessons.forget_of(Subject("acme", ann)) == 597 and await lessons.of(ann) == []
    heard = await lessons.after(0, 10)
    assert [one.lesson.user for one in heard[:3]] == ["bob"] * 3
    assert [(one.lesson, one.subject) for one in heard[3:]] == [(None, ann)]
    assert await lessons.forget_of(Subject("acme", ann)) == 0


async def test_they_leave_in_steps_when_their_time_is_over(lessons):
    await lessons.add([lesson(f"{n}", until_ms=1_000 + n) for n in range(5)])
    assert [await lessons.forget(1_004, 3) for _ in range(3)] == [3, 1, 0]
    assert [one.lesson.call for one in await lessons.after(0, 10)] == ["4"]


async def test_without_the_key_nobody_reads_them(lessons, vault, home):
    await lessons.add([lesson("a")])
    ((stored,),) = await home.tables.rows("SELECT body FROM LESSONS")
    assert b"vector" not in bytes(stored)
    vault.erase(Subject("acme", vault.subject("acme", "ann")))
    assert [one.lesson for one in await lessons.after(0, 10)] == [None]

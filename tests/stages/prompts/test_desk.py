"""Versions never change, labels move and remember where they were, and what is used cannot be deleted."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import JumpClock
from tidegate.core.chat import Conversation
from tidegate.core.errors import BadRequest, Conflict, Forbidden, PromptNotFound
from tidegate.core.experiments import ArmSpec, Experiment, Spec, kept
from tidegate.core.prompts import Prompt, PromptVersion, Wording
from tidegate.stages.prompts.desk import PromptDesk
from tidegate.stages.prompts.library import Library
from tidegate.storage.memory import MemoryStore


@pytest.fixture
async def desk() -> PromptDesk:
    store = MemoryStore()
    library = Library(store, 1.0, 10**6, lambda _: Conversation(items=()))
    return PromptDesk(store, JumpClock(), library, ("live",))


async def keep(desk: PromptDesk, template: str, *labels: str, name: str = "greet") -> PromptVersion:
    return (await desk.make(name, Wording(template=template), by="k", labels=labels))[0]


async def test_each_version_has_the_next_number_and_what_says_the_same_is_none(desk: PromptDesk) -> None:
    assert [(await keep(desk, text)).number for text in ("a", "b", "b", "a")] == [1, 2, 2, 3]
    prompt = await desk.find("greet")
    assert prompt.latest == 3 and [one.number for one in await desk.versions(prompt)] == [3, 2, 1]


async def test_many_at_once_each_get_a_number(desk: PromptDesk) -> None:
    made = await asyncio.gather(*(keep(desk, f"text {at}") for at in range(10)))
    assert sorted(one.number for one in made) == list(range(1, 11))
    assert (await desk.find("greet")).latest == 10


async def test_a_rollback_moves_a_label_back_and_all_moves_are_known(desk: PromptDesk) -> None:
    for text in ("a", "b"):
        await keep(desk, text, "production")
    await desk.move("greet", "production", 1, by="k", why="worse")
    await desk.move("greet", "production", None, by="k")
    moves = await desk.moves(await desk.find("greet"))
    assert [(one.was, one.version, one.why) for one in moves] == [
        (1, None, ""),
        (2, 1, "worse"),
        (1, 2, ""),
        (None, 1, ""),
    ]


async def test_a_protected_label_is_moved_by_who_insists(desk: PromptDesk) -> None:
    await keep(desk, "a", "live")
    with pytest.raises(Forbidden, match="the label 'live' is protected"):
        await keep(desk, "b", "live")
    assert (await desk.find("greet")).latest == 1  # nothing was made of it
    await keep(desk, "b")
    with pytest.raises(Forbidden):
        await desk.move("greet", "live", 2, by="k")
    with pytest.raises(Forbidden):
        await desk.move("greet", "live", None, by="k")
    assert (await desk.move("greet", "live", 2, by="k", insists=True)).version == 2


async def test_of_two_who_move_at_once_one_is_told(desk: PromptDesk) -> None:
    for text in ("a", "b"):
        await keep(desk, text)
    done = await asyncio.gather(
        *(desk.move("greet", "production", number, by="k") for number in (1, 2)), return_exceptions=True
    )
    assert len([one for one in done if isinstance(one, Conflict)]) in (0, 1)
    prompt = await desk.find("greet")
    assert prompt.steps == len(await desk.moves(prompt)) and prompt.at("production") in (1, 2)


async def test_what_is_used_cannot_be_deleted_and_what_is_deleted_is_gone(desk: PromptDesk) -> None:
    for text in ("a", "b", "c"):
        await keep(desk, text, "production")
    await keep(desk, "{{> greet@1}}", name="outer")

    spec = kept(Spec(name="ab", prompt="greet", arms=(ArmSpec("b", prompts={"greet": 2}),)))
    running = Experiment("ab.1", "ab", spec, "salt", 1, "k", "running")
    await desk._store.add(running)
    for number, why in (
        (3, "the label 'production' points to it"),
        (2, "arm 'b' of experiment 'ab', which is running"),
        (1, "outer@1 includes it"),
    ):
        with pytest.raises(Conflict, match=why):
            await desk.delete("greet", number)
    await desk._store.change(running, state="stopped")
    await desk.delete("outer", 1)
    await desk.delete("greet", 1)
    prompt = await desk.find("greet")
    with pytest.raises(PromptNotFound, match="was deleted"):
        await desk.version(prompt, 1)
    with pytest.raises(PromptNotFound, match="was deleted"):
        await desk.move("greet", "production", 1, by="k")
    with pytest.raises(PromptNotFound, match="was deleted"):
        await keep(desk, "{{> greet@1}}", name="outer")
    gone = await desk._store.find(PromptVersion, "greet@1")
    assert gone is not None and (gone.wording, gone.note) == ("{}", "")
    assert (await keep(desk, "a")).number == 4  # no number is given twice


async def test_a_circle_of_texts_cannot_be_made(desk: PromptDesk) -> None:
    for number in (1, 2):
        with pytest.raises(BadRequest, match="includes itself"):
            await keep(desk, f"{{{{> greet@{number}}}}}")
    await keep(desk, "a")
    await keep(desk, "{{> greet@1}}, again")
    with pytest.raises(PromptNotFound, match="there is no prompt 'gret'; did you mean 'greet'"):
        await keep(desk, "{{> gret@1}}", name="other")
    with pytest.raises(PromptNotFound, match="prompt 'greet' has no version 7; its newest is 2"):
        await keep(desk, "{{> greet@7}}", name="other")


async def test_unknown_names_are_told_the_nearest(desk: PromptDesk) -> None:
    await keep(desk, "a", "production")
    with pytest.raises(PromptNotFound, match="did you mean 'greet'"):
        await desk.find("greer")
    with pytest.raises(PromptNotFound, match="there are: production"):
        await desk.move("greet", "staging", None, by="k")
    with pytest.raises(PromptNotFound, match="no version 2"):
        await desk.move("greet", "staging", 2, by="k")


async def test_a_prompt_without_a_version_is_no_trouble(desk: PromptDesk) -> None:
    """Whoever made it has died in between."""
    await desk._store.add(Prompt("greet", 1, "k"))
    assert (await keep(desk, "a", "production")).number == 1


async def test_a_version_that_nobody_counted_is_passed_over(desk: PromptDesk) -> None:
    await keep(desk, "a")
    prompt = await desk.find("greet")
    await desk._store.change(prompt, latest=0)
    assert (await keep(desk, "b")).number == 2

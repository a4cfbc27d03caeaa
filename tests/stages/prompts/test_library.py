"""What others change is seen within a second; while the store is away, all stays as it was."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.clock import JumpClock
from tests.effort import at_once, steps
from tidegate.core.call import Call
from tidegate.core.chat import Conversation
from tidegate.core.errors import Conflict, PromptNotFound, StoreDown
from tidegate.core.ports import Setting
from tidegate.core.prompts import Prompt, PromptVersion, Spoken, Wording
from tidegate.providers.openai.chat import Chat
from tidegate.stages.prompts import Prompts
from tidegate.stages.prompts.desk import PromptDesk
from tidegate.stages.prompts.library import LOOK_ALL, STAMP, Library
from tidegate.storage.memory import MemoryStore


class Counting(MemoryStore):
    """A store that can be away, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.away = False

    async def find(self, kind: Any, id: str) -> Any:
        self._note(f"{kind.__name__} {id}")
        return await super().find(kind, id)

    async def every(self, kind: Any) -> Any:
        self._note(f"every {kind.__name__}")
        return await super().every(kind)

    def _note(self, what: str) -> None:
        if self.away:
            raise StoreDown("the database does not answer")
        self.asked.append(what)


class Process:
    """One of several that share a store."""

    def __init__(self, store: MemoryStore, max_bytes: int = 10**6) -> None:
        self.library = Library(store, 1.0, max_bytes, lambda _: Conversation(items=()))
        self.desk = PromptDesk(store, JumpClock(), self.library)
        self.prompts = Prompts(self.library, self.desk)

    async def says(self, name: str = "greet", label: str = "production") -> str:
        prompt = await self.library.prompt(name)
        assert prompt is not None
        version = await self.library.version(prompt, self.library.at(prompt, label))
        return version.wording.template or ""

    async def keep(self, template: str, name: str = "greet", *labels: str) -> PromptVersion:
        return (await self.desk.make(name, Wording(template=template), by="k", labels=labels or ("production",)))[0]


@pytest.fixture
def store() -> Counting:
    return Counting()


async def test_what_another_process_changes_is_seen_at_the_next_look(store: Counting) -> None:
    one, other = Process(store), Process(store)
    await one.keep("first")
    assert await other.says() == "first"
    await one.keep("second")
    assert await other.says() == "first"
    await other.library.look()
    assert await other.says() == "second"


async def test_a_name_that_was_not_there_is_asked_for_once_between_looks(store: Counting) -> None:
    one, other = Process(store), Process(store)
    assert await other.library.prompt("greet") is None
    store.asked.clear()
    assert await other.library.prompt("greet") is None
    assert store.asked == []
    await one.keep("first")
    await other.library.look()
    assert await other.says() == "first"


async def test_a_look_asks_for_one_thing_while_nothing_changes(store: Counting) -> None:
    one = Process(store)
    await one.keep("first")
    await one.library.look()
    store.asked.clear()
    await one.library.look()
    assert store.asked == [f"Setting {STAMP}"]


async def test_what_was_changed_without_a_word_is_seen_in_a_while(store: Counting) -> None:
    """Whoever changed it has died before it said so."""
    one = Process(store)
    await one.keep("first")
    await one.library.look()
    found = await store.find(Prompt, "greet")
    await store.change(found, labels=())
    for _ in range(LOOK_ALL):
        await one.library.look()
    with pytest.raises(PromptNotFound, match="no label 'production'"):
        await one.says()


async def test_a_call_waits_for_the_store_once(store: Counting) -> None:
    one = Process(store)
    await one.keep("first")
    await one.says()
    store.asked.clear()
    for _ in range(3):
        await one.says()
    assert store.asked == []


async def test_a_label_moves_when_what_it_points_to_is_here(store: Counting) -> None:
    one, other = Process(store), Process(store)
    await one.keep("first")
    await other.says()
    await one.keep("second")
    await other.library.look()
    store.asked.clear()
    assert await other.says() == "second"
    assert store.asked == []


async def test_while_the_store_is_away_the_last_good_version_is_served(store: Counting) -> None:
    one = Process(store)
    await one.keep("first")
    await one.says()
    store.away = True
    with pytest.raises(StoreDown):
        await one.library.look()
    assert await one.says() == "first"
    with pytest.raises(StoreDown):  # nobody can know whether it is there
        await one.library.prompt("other")
    looking = asyncio.create_task(one.library.run())
    await asyncio.sleep(0)
    looking.cancel()
    assert await one.says() == "first"


async def test_what_there_is_no_room_for_is_fetched_again(store: Counting) -> None:
    one = Process(store, max_bytes=3_000)
    for name in ("a", "b", "c", "d"):
        await one.keep(name, name)
        assert await one.says(name) == name
    store.asked.clear()
    assert await one.says("d") == "d"
    assert store.asked == []
    assert await one.says("a") == "a"
    assert store.asked == ["PromptVersion a@1"]


async def test_what_was_tampered_with_is_not_served(store: Counting) -> None:
    one, other = Process(store), Process(store)
    version = await one.keep("first")
    await store.change(version, wording='{"template":"evil"}')
    with pytest.raises(Conflict, match="is not what it was when it was made"):
        await other.says()


async def test_a_deleted_version_is_gone_everywhere(store: Counting) -> None:
    one, other = Process(store), Process(store)
    await one.keep("first")
    await one.keep("second")
    prompt = await other.library.prompt("greet")
    assert prompt is not None and (await other.library.version(prompt, 1)).wording.template == "first"
    await one.desk.delete("greet", 1)
    await other.library.look()
    prompt = await other.library.prompt("greet")
    assert prompt is not None
    with pytest.raises(PromptNotFound, match="version 1 of prompt 'greet' was deleted"):
        await other.library.version(prompt, 1)


async def test_the_stamp_is_a_setting_that_never_ends(store: Counting) -> None:
    one = Process(store)
    await one.keep("first")
    await one.keep("second")
    found = await store.find(Setting, STAMP)
    assert int(found.value) == 4 and found.until_ms > 2**50


async def test_a_call_is_rendered_in_some_hundred_steps_and_waits_for_nothing(store: Counting) -> None:
    """The version, the texts, and the body with them in it: 2 KB each. Of three calls, the last."""
    one = Process(store)
    prose = "You are a helpful assistant of a bank and answer in two sentences at most. " * 25
    wording = Wording(messages=(Spoken("system", f"{prose}{{{{name}}}}"),), parameters={"temperature": 0.1})
    await one.desk.make("greet", wording, by="k", labels=("production",))
    codec, took = Chat(), []
    body = (
        b'{"model":"fast","messages":[{"role":"user","content":"%b"}],'
        b'"prompt":{"id":"greet","variables":{"name":"Ann"}}}' % (b"word " * 400)
    )
    for _ in range(3):
        call = Call(id="x", dialect="openai", operation="chat", at_ms=0, arrived_ns=0, intake=lambda: b"")
        call.asked = codec.parse_request(body)
        call.prompt_asked = one.prompts.asked(call.asked)
        took.append(steps(partial(at_once, one.prompts.render(call))))
        assert call.prompt == "greet@1"
    print(f"\nrendered in {took} steps")
    assert took[-1] < 700

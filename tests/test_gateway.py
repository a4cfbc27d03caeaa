"""The life of a call: its steps in their order, what is kept before what is sent, and who may leave when."""

from __future__ import annotations

import asyncio
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.house import Asking, Build, House, until
from tidegate.core.flight import MAX_UNREAD
from tidegate.core.ports import Record
from tidegate.storage.personal import SPOOL
from tidegate.storage.segments import scan
from tidegate.storage.vault import PlainVault

Spooled = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def spooled(house: House, tmp_path: Path) -> Iterator[Spooled]:
    """What has been spooled, (opened or closed, id), as another process would find it now."""
    with ExitStack() as stack:
        maps = []
        for path in sorted((tmp_path / "data" / "spool").glob("*.seg")):
            file = stack.enter_context(path.open("rb"))
            maps.append(stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        decode = msgspec.json.Decoder(Record).decode

        def look() -> list[tuple[str, str]]:
            payloads = [frame.payload for segment in maps for frame in scan(segment[:]).frames]
            records = [decode(PlainVault().unseal(payload, SPOOL)) for payload in payloads]
            return [(type(record).__name__.lower(), record.id) for record in records]

        yield look


# --- one step after the other ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        ("wrong", b"not JSON", 401, "invalid_api_key"),
        (None, b"not JSON", 400, "invalid_request"),
        (None, b'{"model": "fats", "messages": "none"}', 400, "invalid_request"),
        (None, b'{"model": "fats", "messages": [{"role": "user", "content": "hi"}]}', 404, "model_not_found"),
        (None, b'{"model": "fast", "messages": [{"role": "user", "content": "hi"}]}', 503, "shutting_down"),
    ],
)
async def test_of_all_that_is_wrong_the_first_step_says_so(
    house: House, key: str | None, body: bytes, status: int, code: str
):
    """Each of these is wrong in every later step too."""
    house.app.world.closing.set()
    reply = await house.begin(key=key, body=body).reply()
    assert (reply.status, reply.error.code) == (status, code)
    assert not house.provider("main").requests


async def test_whose_key_is_not_known_is_not_heard_out(house: House):
    """The body is still on its way, and nobody waits for it."""
    sent: list[Any] = []
    asked = asyncio.Event()

    async def receive() -> Any:
        asked.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asking = house.begin(key="wrong")
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b""}
    headers = [(b"authorization", b"Bearer tg_wrong"), (b"content-length", b"1000000")]
    task = asyncio.create_task(house.app(scope | {"headers": headers}, receive, send))
    await until(lambda: sent)
    assert sent[0]["status"] == 401
    task.cancel()
    await asyncio.wait([task])
    assert (await asking.reply()).status == 401


async def test_calls_without_a_known_key_have_no_row_and_are_counted(house: House):
    for _ in range(3):
        assert (await house.ask(key="wrong")).status == 401
    assert await house.rows() == []
    page = (await house.get("/metrics")).body
    assert b'tidegate_requests_total{operation="chat",outcome="refused",route="",status="401"} 3.0' in page


async def test_every_call_whose_key_is_known_has_one_row_whatever_became_of_it(house: House):
    house.provider("main").says(status=400)
    for fields in ({}, {"route": "fats"}, {"body": b"no"}, {"stream": False}, {"path": "/v1/completions"}):
        await house.ask(**fields)
    house.app.world.closing.set()
    await house.ask()
    rows = await house.rows()
    assert Counter(row.outcome for row in rows) == {"refused": 3, "ok": 2, "failed": 1}
    assert len({row.id for row in rows}) == len(rows) == 6


# --- accounting ------------------------------------------------------------------------------------------------------


async def test_a_call_is_opened_before_anything_goes_upstream(house: House, spooled: Spooled):
    seen: list[list[tuple[str, str]]] = []
    server = house.provider("main")
    answer = server.answer

    def look(request: Any) -> Any:
        seen.append(spooled())
        return answer(request)

    server.answer = look  # type: ignore[method-assign]
    reply = await house.ask()
    assert seen == [[("opened", reply.id)]]


async def test_the_row_is_there_before_the_client_has_the_last_event(house: House, spooled: Spooled):
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    seen: list[list[tuple[str, str]]] = []

    class Looking(list[Any]):
        def append(self, message: Any) -> None:
            super().append(message)
            seen.append(spooled())

    asking.sent = Looking()
    reply = await asking.reply()
    *before, last = seen
    assert len(before) >= 3 and all(records == [("opened", reply.id)] for records in before)
    assert last == [("opened", reply.id), ("closed", reply.id)]


async def test_what_cannot_be_accounted_for_is_not_bought(house: House, monkeypatch: pytest.MonkeyPatch):
    spool = house.app.world.ledger._spool  # type: ignore[attr-defined]
    monkeypatch.setattr(spool, "trouble", "no room for the records of calls; free some space")
    monkeypatch.setattr(spool, "_reserve_bytes", 1 << 30)
    monkeypatch.setattr(spool, "prepare", lambda: None)
    reply = await house.ask()
    assert (reply.status, reply.error.code) == (503, "storage_full") and int(reply.headers["retry-after"]) >= 1
    assert not house.provider("main").requests


# --- clients that leave ----------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_while_its_body_is_on_its_way_has_a_row_that_says_so(house: House):
    messages: list[Any] = [{"type": "http.request", "body": b'{"model', "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(f"nobody is there to hear {message}")

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b""}
    headers = [(b"authorization", f"Bearer {house.key}".encode())]
    await house.app(scope | {"headers": headers}, receive, send)
    (row,) = await house.rows()
    assert (row.outcome, row.status, row.error, row.cost_nusd) == ("client_left", 499, None, 0)


async def test_a_client_that_leaves_after_its_last_event_had_a_good_answer(house: House):
    asking = house.begin()
    await asking.heard("[DONE]")
    asking.leave()
    assert (await asking.reply()).row.outcome == "ok"


@pytest.mark.parametrize("turns", range(6))
async def test_leaving_and_being_cancelled_at_once_is_being_cancelled(house: House, turns: int):
    """Who cancels a request's task waits for it to end cancelled."""
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    await asking.heard("hello")
    asking.leave()
    for _ in range(turns):
        await asyncio.sleep(0)
    asked = asking.task.cancel()
    await asyncio.wait([asking.task])
    assert asking.task.cancelled() == asked
    await until(lambda: not house.left())
    (row,) = await house.rows()
    assert row.outcome == "client_left"


async def test_leaving_as_the_call_ends_cancels_nothing_that_comes_after(house: House, monkeypatch: pytest.MonkeyPatch):
    """The watch over the client may have seen it leave, and be heard only when its call is over."""

    class Slow(Asking):
        async def _send(self, message: Any) -> None:
            self.sent.append(message)
            await asyncio.sleep(0)

    monkeypatch.setattr("tests.house.Asking", Slow)
    house.provider("main").always(status=400)
    told = turns = 0
    while told < 10:  # by then the answer comes before the leaving; until then, the moment that matters has passed
        turns += 1
        asking = house.begin()
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.leave()
        await asyncio.wait([asking.task])
        assert not asking.task.cancelled(), f"after {turns} turns"
        told += bool(asking.sent)
        await until(lambda: not house.left())
    assert turns > told


async def test_a_reader_that_stands_still_holds_the_provider_up_and_not_our_memory(build_house: Build):
    house = await build_house()
    pieces = ["x" * 20_000] * 1_000
    house.provider("main").says(pieces)
    asking = house.begin()
    asking.stop_reading()
    await until(lambda: house.app.world.flights)
    (flight,) = house.app.world.flights
    await until(lambda: sum(len(event.raw) for event in flight.events) > MAX_UNREAD)
    for _ in range(50):
        await asyncio.sleep(0.002)
    held = sum(len(event.raw) for event in flight.events)
    assert held < 4 * MAX_UNREAD and house.provider("main").responses == 0
    asking.go_on_reading()
    reply = await asking.reply()
    assert len(reply.text) == 20_000_000 and reply.error is None and reply.row.outcome == "ok"


async def test_who_stands_still_and_leaves_frees_the_provider(house: House):
    house.provider("main").says(["x" * 20_000] * 1_000)
    asking = house.begin()
    asking.stop_reading()
    await until(lambda: house.app.world.flights)
    (flight,) = house.app.world.flights
    await until(lambda: sum(len(event.raw) for event in flight.events) > MAX_UNREAD)
    asking.leave()
    await asking.task
    await until(lambda: not house.left())
    (row,) = await house.rows()
    assert row.outcome == "client_left" and row.usage["output"] > MAX_UNREAD // 8


# --- leaving in order ------------------------------------------------------------------------------------------------


async def test_replies_under_way_are_finished_when_the_house_closes(house: House):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    await asking.heard("hello")
    leaving = asyncio.create_task(house.app.leave())
    await asyncio.sleep(0)
    assert (await house.ask()).error.code == "shutting_down"
    await house.clock.advance(20)
    reply = await asking.reply()
    assert reply.text == "hello world" and reply.row.outcome == "ok"
    await leaving


@pytest.mark.parametrize("stream", [True, False])
async def test_replies_that_take_too_long_are_ended_with_a_word(build_house: Build, stream: bool):
    house = await build_house("""
api: {drain: 50ms}
providers: {main: {type: scripted}}
routes: {fast: {targets: [{provider: main, model: m}]}}
""")
    house.clock.hold()
    house.provider("main").says("hello world", **({"between": 1} if stream else {"before": 1}))
    asking = house.begin(stream=stream)
    if stream:
        await asking.heard("hello")
    await until(lambda: house.provider("main").requests)
    await house.app.leave()
    reply = await asking.reply()
    assert reply.error.code == "shutting_down" and reply.status == (200 if stream else 503)
    assert stream or int(reply.headers["retry-after"]) >= 1
    assert (reply.row.outcome, reply.row.error) == ("cut_off" if stream else "failed", "shutting_down")


async def test_who_cannot_wait_for_the_drain_ends_it_at_once(house: House):
    house.clock.hold()
    house.provider("main").says("hello world", between=1)
    asking = house.begin()
    await asking.heard("hello")
    leaving = asyncio.create_task(house.app.leave())
    await asyncio.sleep(0.01)
    assert not leaving.done()
    leaving.cancel()
    reply = await asking.reply()
    assert reply.error.code == "shutting_down" and reply.row.outcome == "cut_off"

"""Whatever providers do and whatever a client does: one outcome, one row, a sum that is right, and nothing left behind.

Hypothesis makes up what three targets say, to one try after the other, and how the client behaves.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import JumpingLoop
from tests.house import Asking, House, Reply, lived_in, until
from tidegate.core.call import Call
from tidegate.core.ports import Closed
from tidegate.providers.scripted.script import Script

NAMES = ("a", "b", "c")
HOUSE = """
logs: {calls: false}
upstream: {first_token: 0.15, idle: 0.15, retry: {tries: 2, base_s: 0.01}}
providers:
  a: {type: scripted, price: {input: 1.237, output: 2.189}}
  b: {type: scripted, price: {input: 3, output: 6}}
  c: {type: scripted, price: {input: 0.1, output: 0.7}}
routes:
  fast:
    targets: [{provider: a, model: m}, {provider: b, model: m, order: 2}, {provider: c, model: m, order: 3}]
"""

MORE = ("", "    hedge: {after: 300ms, max_extra: 100%}\n", "    on_disconnect: drain\n    strategy: least_busy\n")

# --- what they do ----------------------------------------------------------------------------------------------------

events = st.integers(0, 4)
bad_bytes = st.sampled_from(
    [b"data: {nonsense\n\n", b"data: \xff\xfe\n\n", b"data: {}\n\n", b'data: {"error": "no"}\n\n']
)
seconds = st.sampled_from([0.0, 0.0, 0.5])

healthy = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.sampled_from([True, False, {"prompt_tokens": 7, "completion_tokens": 3}]),
        "done": st.booleans(),
        "before": seconds,
        "between": seconds,
        "trickle": st.sampled_from([0, 7]),
        "framing": st.sampled_from(["chunked", "close"]),
    },
)
refusing = st.fixed_dictionaries(
    {"status": st.sampled_from([301, 400, 401, 404, 408, 413, 422, 429, 500, 503, 529])},
    optional={"headers": st.sampled_from([{}, {"retry-after": "0"}, {"retry-after": "3"}, {"retry-after": "900"}])},
)
ending = st.sampled_from(["close", "reset", "half_close"])
cut_off = st.fixed_dictionaries({"cut_off": events, "then": ending}, optional={"between": seconds})
cut_bytes = st.fixed_dictionaries({"cut_bytes": st.integers(0, 700), "then": ending})
silent = st.fixed_dictionaries({"cut_off": events, "then": st.just("stall")})
garbled = st.builds(lambda at, what: {"instead": {at: what}}, events, bad_bytes)
page = st.sampled_from([{"body": "<html>", "headers": {"content-type": "text/html"}}, {"body": ""}, {"body": "{}"}])
raw = st.sampled_from([{"raw": b""}, {"raw": b"SSH-2.0\r\n"}, {"raw": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"}])
faulty = st.one_of(refusing, cut_off, cut_bytes, garbled, page, raw, silent)
said = st.lists(st.one_of(healthy, faulty, faulty), max_size=3)


class Client(NamedTuple):
    """How it asks, and what it does while it is answered."""

    dialect: str
    stream: bool
    mood: str  # patient | leaves | reads late | is cancelled
    turns: int  # of the loop, until it does that


clients = st.builds(
    Client,
    st.sampled_from(["openai", "anthropic"]),
    st.booleans(),
    st.sampled_from(["patient", "patient", "leaves", "reads late", "is cancelled"]),
    st.integers(0, 60),
)

# --- what is seen of it ----------------------------------------------------------------------------------------------


class Witness:
    """Hears of the ends of calls."""

    def __init__(self) -> None:
        self.ended: list[tuple[Call, Closed | None]] = []
        self.crashes: list[str] = []

    def call_began(self, call: Call) -> None:
        """Not yet of interest."""

    def call_ended(self, call: Call, row: Closed | None) -> None:
        self.ended.append((call, row))

    def notice(self, name: str, fields: Any) -> None:
        if name in ("crash", "flight_crashed", "row_lost"):
            self.crashes.append(f"{name}: {fields}")


def plan(house: House, name: str, scripts: list[dict[str, Any]]) -> None:
    """What target `name` says to each try, its own words only; healthy when nothing more is planned."""
    left = [Script(**({"text": (name, name, name)} | script)) for script in scripts]
    house.provider(name).always((name, name, name))
    house.provider(name).plan = lambda model: left.pop(0) if left else None


def begin(house: House, client: Client) -> Asking:
    if client.dialect == "anthropic":
        return house.begin("sixteen letters.", path="/v1/messages", stream=client.stream, max_tokens=100)
    return house.begin("sixteen letters.", stream=client.stream)


async def behave(client: Client, asking: Asking) -> None:
    if client.mood == "patient":
        return
    for _ in range(client.turns):
        await asyncio.sleep(0)
    if client.mood == "leaves":
        asking.leave()
    elif client.mood == "is cancelled":
        asking.task.cancel()
    else:
        asking.stop_reading()
        for _ in range(client.turns):
            await asyncio.sleep(0)
        asking.go_on_reading()


def look_at(client: Client, asking: Asking, reply: Reply) -> None:
    """Who has waited got an answer: whole, or with one error, and of one provider's words."""
    starts = [message for message in asking.sent if message["type"] == "http.response.start"]
    ends = [message for message in asking.sent[1:] if not message.get("more_body")]
    assert len(starts) == 1 and len(ends) <= 1, "one head, and one end"
    text = reply.body.decode()
    assert text, "never an answer with nothing in it"
    frames = [frame for frame in text.split("\n\n") if frame]
    streamed = reply.headers["content-type"].startswith("text/event-stream")
    errors = [frame for frame in frames if '"error"' in frame]
    good = not errors and frames[-1].endswith(("[DONE]", "}"))
    words = Counter(letter for letter in NAMES if f'"{letter}"' in text or f'"{letter * 3}"' in text)
    assert len(words) <= 1, "never a second provider's words after a first's"
    assert reply.row is not None
    assert (reply.row.outcome == "ok") == (good and reply.status == 200)
    assert len(errors) <= 1 and (not errors or frames[-1] == errors[0]), "an error is the last event"
    assert streamed == (client.stream and reply.status == 200)


def add_up(row: Closed) -> None:
    used: Counter[str] = Counter()
    for attempt in row.attempts:
        used.update(attempt.usage)
        assert attempt.sent_us <= attempt.ended_us
    assert dict(used) == row.usage
    assert row.cost_nusd == sum(attempt.cost_nusd or 0 for attempt in row.attempts)
    assert sum(attempt.outcome == "ok" for attempt in row.attempts) <= 1
    if row.outcome == "ok":
        assert row.usage and row.cost_nusd


async def live(scripts: list[list[dict[str, Any]]], client: Client, more: str, folder: Path) -> None:
    async with lived_in(HOUSE + more, folder) as house:  # on leaving, it looks for tasks, flights and connections
        witness = Witness()
        house.app.world.events._listeners.append(witness)  # type: ignore[attr-defined]
        for name, script in zip(NAMES, scripts, strict=True):
            plan(house, name, script)
        asking = begin(house, client)
        await behave(client, asking)
        await asyncio.wait([asking.task], timeout=30)
        assert asking.task.done(), "it hangs"
        await until(lambda: not house.left())
        assert not [one.name for one in house.app.gateway.upstream.targets if one.busy], "a slot is not given back"
        assert not witness.crashes
        rows = await house.rows()
        ended = [row for _, row in witness.ended]
        assert len(ended) <= 1 and rows == [row for row in ended if row], "each call ends once, with one row"
        for row in rows:
            add_up(row)
        if client.mood in ("patient", "reads late"):
            assert len(rows) == 1
            look_at(client, asking, await asking.reply())


@given(st.tuples(said, said, said), clients, st.sampled_from(MORE))
@settings(max_examples=60)
def test_any_faults_of_providers_and_clients_end_in_one_outcome(
    scripts: tuple[list[dict[str, Any]], ...], client: Client, more: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(live(list(scripts), client, more, Path(folder)))

"""What happens when all of it is asked? Through a real gateway in a process of its own, or of a provider directly."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate import storage
from tidegate.app.homes import open_home
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Closed, Request, Timeouts, TransportError
from tidegate.core.stream import Frames, payload
from tidegate.providers.prices import PriceList
from tidegate.providers.transport import HttpTransport
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault
from tidegate.study.levers import Arm, configuration
from tidegate.study.machine import Meter
from tidegate.study.texts import SYSTEM
from tidegate.study.vendors import MAIN, SPARE, STRONG, Vendor
from tidegate.study.workload import Ask, Workload

ADMIN = "a-key-of-the-case-study-and-nothing-else"
PACE = 10.0  # so many seconds of the case study are one of ours
PATIENCE_S = 30.0  # of a client, in the case study
START_S = 60.0  # of ours, for a gateway on a busy machine
BATCH_S = 90.0  # of ours, for a batch that the provider has done at once
AT_ONCE_BEFORE = 8
SETTLE_S = 0.5  # of ours
AGENT_REST_S = 1.0  # between two tries of an agent that was refused
CHAT = "/v1/chat/completions"
ANSWERS = re.compile(r"answers on (http://\S+)")

Progress = Callable[[float], None]  # the share that is done


class Heard(NamedTuple):
    """One call, as its client had it, in seconds of the case study."""

    ask: Ask
    status: int  # 0: nobody answered
    text: str
    whole: bool
    first_s: float
    lasted_s: float
    where: str  # what its headers say of target, cache and attempts


class Outcome(NamedTuple):
    arm: Arm
    heard: list[Heard]
    agent: list[Heard]
    vendors: tuple[Vendor, Vendor]
    rows: list[Closed]  # of the ledger; without a gateway, none
    told: Mapping[str, Any]  # what the gateway says over HTTP: metrics, usage, analytics
    agent_key: str
    began_ms: int  # what was written down before is of the time before
    lasted_s: float  # of ours
    others: float | None  # the share of the cores that other programs used


def rates(prices: PriceList) -> dict[str, tuple[Decimal, Decimal]]:
    """Of the models of both providers, dollars for a million tokens, from the list that comes with Tidegate."""
    found = {}
    for model in (*MAIN, *SPARE):
        price = prices.price(model.vendor, model.name)
        assert price is not None, f"prices.json has no {model.name}"
        found[model.name] = (Decimal(price.rates["input"]) / 10**9, Decimal(price.rates["output"]) / 10**9)
    return found


async def replay(
    work: Workload, arm: Arm, seed: int, *, pace: float = PACE, workers: int = 1, progress: Progress = lambda _: None
) -> Outcome:
    """Ask all of it, at the times that the workload says. Raises ConfigError when no gateway will start."""
    watch = Watch(pace)
    dear = rates(PriceList.load(None))
    both = [Vendor(models, dear, work, pace, str(seed), watch.elapsed) for models in (MAIN, SPARE)]
    vendors = both[0], both[1]
    main, spare = [await vendor.start() for vendor in vendors]
    began, meter = time.monotonic(), Meter()
    try:
        if arm.levers is None:
            client = Client(main, ADMIN, watch, model=MAIN[STRONG].name)
            heard, agent = await _asked(work, client, client, watch, progress, batched=False)
            rows, told, agent_key = [], {}, ""
        else:
            config = configuration(arm.levers, main, spare, pace, workers)
            async with gateway(config) as house:
                customers, _ = await house.key("support", budget_usd=1000)
                loose, agent_key = await house.key("agent", budget_usd=None)
                client = Client(f"{house.url}/v1", customers, watch)
                if arm.levers & {"cache", "semantic"}:
                    await _before(work, client)
                heard, agent = await _asked(
                    work, client, Client(f"{house.url}/v1", loose, watch), watch, progress,
                    batched="batches" in arm.levers,
                )  # fmt: skip
                await asyncio.sleep(SETTLE_S)  # what is asked in the background, and of others
                told = await house.told()
                rows = await house.end()
        lasted_s = time.monotonic() - began
        return Outcome(
            arm, heard, agent, vendors, rows, told, agent_key, watch.began_ms, lasted_s, meter.others()
        )  # fmt: skip
    finally:
        for vendor in vendors:
            await vendor.aclose()


class Watch:
    """The time of the case study, from `start` on."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self._began: float | None = None

        self.began_ms = 0

    def start(self) -> None:
        self._began, self.began_ms = time.monotonic(), time.time_ns() // 1_000_000

    def elapsed(self) -> float:
        return -1.0 if self._began is None else (time.monotonic() - self._began) * self.pace

    async def until(self, at_s: float) -> None:
        await asyncio.sleep(max(at_s - self.elapsed(), 0.0) / self.pace)


# --- who asks


def question(ask: Ask, model: str = "") -> dict[str, Any]:
    """As it goes out; without a model's name, to the route of its kind."""
    said = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ask.text}]
    model = model or ("support" if ask.kind == "attack" else ask.kind)
    found: dict[str, Any] = {"model": model, "messages": said, "user": ask.user, "max_tokens": 300}
    if ask.kind != "analytics":
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


class Client:
    """Asks over HTTP: of a gateway, whose routes are the kinds of calls, or `model` for everything."""

    def __init__(self, url: str, key: str, watch: Watch, model: str = "") -> None:
        self._url = url
        self._headers = ((b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json"))
        self._watch = watch
        self.model = model
        self.transport = HttpTransport()

    async def ask(self, ask: Ask, body: Mapping[str, Any] | None = None) -> Heard:
        """Once, and all of its answer."""
        began = self._watch.elapsed()
        patience = PATIENCE_S / self._watch.pace
        headers = (*self._headers, (b"x-tidegate-session", ask.session.encode()))
        request = Request(
            "POST", f"{self._url}/chat/completions", headers, msgspec.json.encode(body or question(ask, self.model)),
            Timeouts(first_byte=patience, total=patience),
        )  # fmt: skip
        status, said, first_s, where = 0, b"", 0.0, ""
        exchange = self.transport.send(request)
        try:
            head = await exchange.head()
            status, where = head.status, _where(head.headers)
            while piece := await exchange.read():
                first_s = first_s or self._watch.elapsed() - began
                said += piece
        except TransportError as wrong:
            status, where = 0, str(wrong)
        exchange.close()
        lasted_s = self._watch.elapsed() - began
        text, whole = _read(said) if status == 200 else (said.decode("utf-8", "replace"), False)
        return Heard(ask, status, text, whole, first_s or lasted_s, lasted_s, where)

    async def call(self, method: str, path: str, body: bytes = b"", kind: bytes = b"application/json") -> bytes:
        """Anything else. Raises ConfigError for what is refused."""
        headers = (self._headers[0], (b"content-type", kind))
        exchange = self.transport.send(Request(method, f"{self._url}{path}", headers, body))
        try:
            status = (await exchange.head()).status
            said = b""
            while piece := await exchange.read():
                said += piece
        except TransportError as wrong:
            raise ConfigError(f"{method} {path}: {wrong}") from None
        finally:
            exchange.close()
        if status not in (200, 201):
            raise ConfigError(f"{method} {path} was answered with {status}: {said[:300]!r}")
        return said


def _where(headers: Any) -> str:
    names = (b"x-tidegate-target", b"x-tidegate-cache-layer", b"x-tidegate-attempts", b"x-tidegate-tried")
    return " ".join(value.decode("latin-1") for name, value in headers if name in names)


def _read(said: bytes) -> tuple[str, bool]:
    """The text of an answer, and whether all of it is there."""
    if said.startswith(b"{"):
        choice = json.loads(said)["choices"][0]
        return choice["message"]["content"] or "", True
    text: list[str] = []
    done = False
    for frame in Frames().feed(said):
        data = payload(frame)
        if data == b"[DONE]":
            done = True
        elif data:
            event = msgspec.json.decode(data)
            if event.get("error"):
                return "".join(text), False
            text += [choice["delta"].get("content") or "" for choice in event.get("choices", ())]
    return "".join(text), done


async def _asked(
    work: Workload, client: Client, loose: Client, watch: Watch, progress: Progress, *, batched: bool
) -> tuple[list[Heard], list[Heard]]:
    """Everybody's calls, and those of the agent that has run away."""
    tasks, waiting = [], [ask for ask in work.asks if batched and ask.kind == "analytics"]
    watch.start()
    batch = asyncio.create_task(_batch(client, waiting, watch)) if waiting else None
    agent = asyncio.create_task(_run_away(loose, watch, work.lasts_s))
    for number, ask in enumerate(work.asks):
        if batched and ask.kind == "analytics":
            continue
        await watch.until(ask.at_s)
        tasks.append(asyncio.create_task(client.ask(ask)))
        if number % 50 == 0:
            progress(number / len(work.asks))
    heard = await asyncio.gather(*tasks)
    if batch is not None:
        heard += await batch
    found = heard, await agent
    for one in {client, loose}:
        await one.transport.aclose()
    return found


async def _before(work: Workload, client: Client) -> None:
    """What was asked before, by a few at a time, so that what is learned of it is not in a hurry."""
    left = iter(work.before)

    async def some() -> None:
        for ask in left:
            await client.ask(ask)

    await asyncio.gather(*(some() for _ in range(AT_ONCE_BEFORE)))
    await asyncio.sleep(SETTLE_S)


async def _batch(client: Client, asks: list[Ask], watch: Watch) -> list[Heard]:
    """The lines of one batch, asked at leisure."""
    lines = [
        json.dumps({"custom_id": str(at), "method": "POST", "url": CHAT, "body": question(ask)})
        for at, ask in enumerate(asks)
    ]
    form = (
        '--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
        'content-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n' + "\n".join(lines) + "\r\n--x--\r\n"
    )
    file = json.loads(await client.call("POST", "/files", form.encode(), b"multipart/form-data; boundary=x"))["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    id, until = json.loads(await client.call("POST", "/batches", json.dumps(asked).encode()))["id"], time.monotonic()
    while (found := json.loads(await client.call("GET", f"/batches/{id}")))["status"] != "completed":
        if time.monotonic() > until + BATCH_S:
            break
        await asyncio.sleep(0.1)
    said: dict[str, Any] = {}
    if found.get("output_file_id"):
        content = await client.call("GET", f"/files/{found['output_file_id']}/content")
        said = {one["custom_id"]: one["response"] for one in map(json.loads, content.splitlines())}
    lasted_s = watch.elapsed()
    heard = []
    for at, ask in enumerate(asks):
        answer = said.get(str(at)) or {"status_code": 0, "body": {}}
        text, whole = _read(json.dumps(answer["body"]).encode()) if answer["status_code"] == 200 else ("", False)
        heard.append(Heard(ask, answer["status_code"], text, whole, lasted_s, lasted_s, "batch"))
    return heard


async def _run_away(client: Client, watch: Watch, until_s: float) -> list[Heard]:
    """An agent that takes what it was told for its next task, for ever."""
    ask = Ask(0.0, "support", "agent-7", "agent-7", "Plan the next step of the migration and carry it out.", "")
    said = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ask.text}]
    heard: list[Heard] = []
    while watch.elapsed() < until_s:
        one = await client.ask(ask, question(ask, client.model or "agent") | {"messages": said})
        heard.append(one)
        if one.status == 200:
            said += [{"role": "assistant", "content": one.text}, {"role": "user", "content": ask.text}]
        else:
            await asyncio.sleep(AGENT_REST_S / watch.pace)
    return heard


# --- who is asked


class House:
    """A gateway that serves, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, data: Path) -> None:
        self.url = url
        self._process = process
        self._data = data
        self._admin = Client(url, ADMIN, Watch(1.0))

    async def key(self, name: str, budget_usd: float | None) -> tuple[str, str]:
        """A key and its id; without a budget of its own it has what every new key has."""
        asked: dict[str, Any] = {"name": name}
        if budget_usd is not None:
            asked["budgets"] = [{"usd": budget_usd, "per": "day"}]
        found = json.loads(await self._admin.call("POST", "/admin/keys", json.dumps(asked).encode()))
        return found["key"], found["id"]

    async def told(self) -> dict[str, Any]:
        """What it says of itself, when everything has been counted."""
        return {
            "usage": json.loads(await self._admin.call("GET", "/admin/usage?per=total&since=1d")),
            "report": json.loads(await self._admin.call("GET", "/admin/analytics?per=total&since=1d")),
            "cache": json.loads(await self._admin.call("GET", "/admin/cache")),
            "metrics": (await self._admin.call("GET", "/metrics")).decode(),
        }

    async def end(self) -> list[Closed]:
        """Its ledger, read when it has ended."""
        await self._admin.transport.aclose()
        self._process.terminate()
        await self._process.wait()
        store = await open_home(storage.Config(str(self._data)), self._data, lambda name, fields: None)
        try:
            vault, decode = PlainVault(), msgspec.json.Decoder(Closed).decode
            return [decode(vault.unseal(sealed, SPOOL)) for _, _, sealed in await store.books.after(0, 10_000_000)]
        finally:
            await store.aclose()


@asynccontextmanager
async def gateway(config: str) -> AsyncIterator[House]:
    """`tidegate serve`, ready, on a port and in a folder of its own. Raises ConfigError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="tidegate-case-study-") as name:
        folder = Path(name)
        (folder / "tidegate.yaml").write_text(config, "utf-8")
        command = ("-m", "tidegate.cli", "serve", "--config", "tidegate.yaml", "--data-dir", "data", "--port", "0")
        log = folder / "log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, "TIDEGATE_ADMIN_KEY": ADMIN, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        try:
            yield House(process, await _url(process, log), folder / "data")
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


async def _url(process: asyncio.subprocess.Process, log: Path) -> str:
    """Where it answers, as soon as it does."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.returncode is None:
        if found := ANSWERS.search(_said(log)):
            client = Client(found[1], ADMIN, Watch(1.0))
            with suppress(ConfigError):
                await client.call("GET", "/health")
                await client.transport.aclose()
                return found[1]
            await client.transport.aclose()
        await asyncio.sleep(0.05)
    raise ConfigError(f"the gateway of the case study does not start: {_said(log)[-600:]}")


def _said(log: Path) -> str:
    return log.read_text("utf-8", "replace")

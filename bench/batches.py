"""What is a batch worth beside a client that asks one by one, what does it cost those who wait, and what does a crash?

A provider of fixed latency in a process of its own. A batch is timed from its creation until it has ended, beside the
ideal for the concurrency and beside calls one after the other; interactive calls are timed alone and beside a batch, in
turns; and a gateway is killed five times in the middle of one: what was asked, answered, paid and written is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import msgspec

from bench import report
from bench.procs import Child, Unavailable, free_port
from bench.report import Limit, Report
from tidegate import storage
from tidegate.app import open_home
from tidegate.core.ports import Closed
from tidegate.storage.personal import SPOOL
from tidegate.storage.vault import PlainVault

KEY = "a-key-of-the-bench-and-nothing-else"
CHAT = "/v1/chat/completions"
AT_ONCE = 32
LATENCY_MS, KILL_LATENCY_MS = 200, 50
KILLS = 5
CLIENTS = 6
PATIENCE_S = 900.0

CONFIG = """
logs: {{calls: false}}
limits: {{loops: {{policy: "off"}}}}
budgets: {{default_day: 0}}
batches: {{at_once: {at_once}}}
providers:
  main: {{type: openai, base_url: "{address}", price: {{input: 1, output: 2}}}}
routes:
  fast: {{targets: [{{provider: main, model: m}}]}}
"""

LIMITS = {
    "speedup_vs_serial": Limit(5, 20, most=False),
    "share_of_ideal": Limit(0.9, 0.95, most=False),
    "interactive_p95_vs_alone": Limit(1.10, 1.05),
    "lost_lines": Limit(0, 0, timed=False),
    "double_lines": Limit(0, 0, timed=False),
    "paid_beyond_in_flight": Limit(0, 0, timed=False),
    "ledger_gap": Limit(0, 0, timed=False),
}


class Sizes(NamedTuple):
    lines: int
    serial: int
    rounds: int
    round_s: float
    killed_lines: int


FULL, QUICK = Sizes(10_000, 100, 9, 5.0, 10_000), Sizes(2_000, 25, 7, 2.5, 1_500)


class House:
    """A gateway in a process of its own, and how it is asked."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "tidegate.yaml").write_text(CONFIG.format(at_once=AT_ONCE, address=address))
        self.child = self._start()

    def _start(self) -> Child:
        command = [sys.executable, "-m", "tidegate.cli", "serve", "--config", str(self.folder / "tidegate.yaml")]
        command += ["--data-dir", str(self.folder / "data"), "--port", str(self.port)]
        child = Child("tidegate", command, self.folder, {**os.environ, "TIDEGATE_ADMIN_KEY": KEY})
        child.until(lambda: "ready" if self._answers() else None)
        return child

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.stop()
        self.child = self._start()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        connection = self.connection()
        try:
            headers = {"authorization": f"Bearer {KEY}", "content-type": kind}
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def told(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Any:
        status, said = self.ask(method, path, body, kind)
        if status != 200:
            raise Unavailable(f"{method} {path} was answered with {status}: {said[:300]!r}")
        return json.loads(said)

    def upload(self, lines: int) -> str:
        content = b"\n".join(question(number) for number in range(lines))
        form = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
        form += b'content-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n' + content + b"\r\n--x--\r\n"
        return str(self.told("POST", "/v1/files", form, "multipart/form-data; boundary=x")["id"])

    def begin(self, file: str) -> str:
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        return str(self.told("POST", "/v1/batches", json.dumps(asked).encode())["id"])

    def until(self, id: str, answered: int | None = None) -> Any:
        """Wait until so many lines are answered, or it has ended."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            batch = self.told("GET", f"/v1/batches/{id}")
            if batch["status"] in ("completed", "cancelled", "failed", "expired"):
                return batch
            if answered is not None and batch["request_counts"]["completed"] >= answered:
                return batch
            time.sleep(0.05)
        raise Unavailable(f"batch {id} did not end within {PATIENCE_S:g} s")


def body(said: str) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": said}]}


def question(number: int) -> bytes:
    line = {"custom_id": f"q{number}", "method": "POST", "url": CHAT, "body": body(f"question {number}")}
    return json.dumps(line).encode()


@contextmanager
def provider(folder: Path, latency_ms: float) -> Iterator[tuple[str, Path]]:
    """Its address, and the file that has a line for each answer."""
    served = folder / "served.jsonl"
    served.touch()
    command = [sys.executable, "-m", "tidegate.providers.scripted", "--served", str(served)]
    child = Child("provider", [*command, "--latency-ms", str(latency_ms)], folder, dict(os.environ))
    try:
        said = child.until(lambda: child.said().partition("\n")[0] or None)
        yield json.loads(said)["address"], served
    finally:
        child.stop()


@contextmanager
def house(latency_ms: float) -> Iterator[tuple[House, Path]]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        with provider(folder, latency_ms) as (address, served):
            found = House(folder, address)
            try:
                yield found, served
            finally:
                found.child.stop()


# --- how fast ---------------------------------------------------------------------------------------------------------


def serial_s(tidegate: House, calls: int) -> float:
    """Of one call, by a client that goes one by one over one connection."""
    connection = tidegate.connection()
    began = time.perf_counter()
    for number in range(calls):
        asked(connection, f"serial {number}")
    connection.close()
    return (time.perf_counter() - began) / calls


def asked(connection: http.client.HTTPConnection, said: str) -> float:
    began = time.perf_counter()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", CHAT, json.dumps(body(said)).encode(), headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise Unavailable(f"an interactive call was answered with {answer.status}")
    return time.perf_counter() - began


def batch_s(tidegate: House, lines: int) -> float:
    file = tidegate.upload(lines)
    began = time.perf_counter()
    batch = tidegate.until(tidegate.begin(file))
    lasted = time.perf_counter() - began
    if batch["request_counts"]["completed"] != lines:
        raise Unavailable(f"of {lines} lines {batch['request_counts']} came back")
    return lasted


# --- who waits --------------------------------------------------------------------------------------------------------


def p95_s(tidegate: House, lasts_s: float) -> float:
    """Of a few clients that ask one call after the other."""
    taken: list[float] = []
    until_s = time.perf_counter() + lasts_s

    def client(name: int) -> None:
        connection, calls = tidegate.connection(), 0
        while time.perf_counter() < until_s:
            calls += 1
            taken.append(asked(connection, f"client {name} {calls} {until_s}"))
        connection.close()

    threads = [threading.Thread(target=client, args=(name,)) for name in range(CLIENTS)]
    for thread in threads:
        thread.start()
        time.sleep(LATENCY_MS / 1000 / CLIENTS)  # not all at the same moment
    for thread in threads:
        thread.join()
    return quantiles(taken, n=100)[94]


def beside(tidegate: House, sizes: Sizes) -> list[dict[str, float]]:
    file, rows = tidegate.upload(round(sizes.round_s * 3 * AT_ONCE * 1000 / LATENCY_MS)), []
    p95_s(tidegate, 1.0)  # connections and caches
    for at in range(sizes.rounds):
        found: dict[str, float] = {}
        for what in ("alone", "beside") if at % 2 else ("beside", "alone"):
            if what == "alone":
                found[what] = p95_s(tidegate, sizes.round_s)
                continue
            id = tidegate.begin(file)
            tidegate.until(id, answered=1)
            found[what] = p95_s(tidegate, sizes.round_s)
            tidegate.ask("POST", f"/v1/batches/{id}/cancel")
            tidegate.until(id)
        rows.append(found)
    return rows


# --- what a crash costs -----------------------------------------------------------------------------------------------


def killed(lines: int, seed: int) -> dict[str, float]:
    dice = random.Random(seed)
    with house(KILL_LATENCY_MS) as (tidegate, served):
        id, done = tidegate.begin(tidegate.upload(lines)), 0
        for _ in range(KILLS):
            done += dice.randrange(lines // (4 * KILLS), lines // (KILLS + 1))
            done = tidegate.until(id, answered=done)["request_counts"]["completed"]
            tidegate.kill()
        batch = tidegate.until(id)
        status, content = tidegate.ask("GET", f"/v1/files/{batch['output_file_id']}/content")
        results = [json.loads(line) for line in content.splitlines()] if status == 200 else []
        tidegate.child.stop()
        rows = asyncio.run(kept(tidegate.folder / "data"))
        upstream = len(served.read_bytes().splitlines())
    seen = Counter(one["custom_id"] for one in results)
    good = {row.id for row in rows if row.outcome == "ok"}
    return {
        "lost_lines": sum(f"q{number}" not in seen for number in range(lines)),
        "double_lines": sum(count - 1 for count in seen.values()),
        "upstream_calls": upstream,
        "paid_beyond_in_flight": max(upstream - lines - KILLS * AT_ONCE, 0),
        "ledger_gap": sum(one["response"]["request_id"] not in good for one in results) + max(len(good) - upstream, 0),
    }


async def kept(data: Path) -> list[Closed]:
    store = await open_home(storage.Config(str(data)), data, lambda name, fields: None)
    try:
        vault, decode = PlainVault(), msgspec.json.Decoder(Closed).decode
        return [decode(vault.unseal(sealed, SPOOL)) for _, _, sealed in await store.books.after(0, 10_000_000)]
    finally:
        await store.aclose()


# --- what it comes to -------------------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> Report:
    sizes = QUICK if options.quick else FULL
    found = Report("batches", options.quick, report.machine(), report.versions(), {}, limits=LIMITS)
    with house(LATENCY_MS) as (tidegate, _):
        rounds = beside(tidegate, sizes)
        found.take("interactive_p95_vs_alone", [one["beside"] / one["alone"] for one in rounds])
        one_s, all_s = serial_s(tidegate, sizes.serial), batch_s(tidegate, sizes.lines)
        found.take("lines_per_s", [sizes.lines / all_s])
        found.take("speedup_vs_serial", [one_s * sizes.lines / all_s])
        found.take("share_of_ideal", [sizes.lines * LATENCY_MS / 1000 / AT_ONCE / all_s])
    for seed in range(options.seeds or 1):
        row = killed(sizes.killed_lines, seed)
        found.rows.append({"seed": seed, **row})
        for name, value in row.items():
            found.take(name, [value])
    found.rows += [{"round": at, **one} for at, one in enumerate(rounds)]
    found.judge()
    return found


def said(found: Report) -> str:
    sizes = QUICK if found.quick else FULL
    head = (
        f"{sizes.lines} lines, {AT_ONCE} at once, on a provider that takes {LATENCY_MS} ms; serial: {sizes.serial} "
        f"calls one by one; killed {KILLS} times in {sizes.killed_lines} lines of {KILL_LATENCY_MS} ms"
    )
    return "\n".join((head, "", report.figures_table(found)))

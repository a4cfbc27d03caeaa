"""Several processes on one socket: they count as one, are replaced without a loss, and end together."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.e2e.processes import PATIENCE_S, Asking, Gateway, behind, child, gateway, kept, provider
from tests.parts import local_model
from tidegate.cli import main
from tidegate.providers.local import MODEL

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="several processes cannot share a socket there"),
    pytest.mark.timeout(300),
]
SEVERAL = "api: {workers: 2}\nlogs: {calls: false}\n"
APART = f"{SEVERAL}console: {{port: 0}}\n"


def children(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def workers(of: Gateway) -> list[int]:
    return [pid for pid in children(of.pid) if b"tidegate.cli" in cmdline(pid)]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


async def both(of: Gateway) -> set[int]:
    """The workers, as soon as there are two, and both take calls."""

    async def are_there() -> bool:
        return len(workers(of)) == 2 and len(list((of.data / "workers").glob("*.prom"))) == 2

    await until(are_there)
    return set(workers(of))


async def until(there: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await there():
            await asyncio.sleep(0.02)


async def calls_counted(of: Gateway) -> float:
    page = (await of.get("/metrics")).body.decode()
    return sum(float(value) for value in re.findall(r"^tidegate_requests_total\{.*\} (\S+)$", page, re.M))


async def counts(of: Gateway, calls: int) -> None:
    """Whoever is asked says so, a second after the last call at the latest; and nobody ever says less than before."""
    said = [0.0]
    while said[-8:] != [calls] * 8:
        said.append(await calls_counted(of))
        assert said[-2] <= said[-1] <= calls
        await asyncio.sleep(0.02)


async def test_they_count_together_and_what_all_counted_is_on_one_page(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream, gateway(tmp_path, behind(upstream, more=APART)) as tidegate:
        await both(tidegate)
        limits = b'{"name": "few", "limits": [{"of": "requests", "most": 8, "per_s": 600}]}'
        key = (await tidegate.begin("/admin/keys", body=limits).answer()).json["key"]
        headers = {"authorization": f"Bearer {key}"}
        answers = await asyncio.gather(*(tidegate.ask(headers=headers) for _ in range(40)))
        assert sorted(answer.status for answer in answers) == [200] * 8 + [429] * 32
        await counts(tidegate, 40)
        there = (await tidegate.get("/admin/topology")).json
        assert sorted(one["worker"] for one in there["processes"]) == ["1/2", "2/2"] and not there["disagreements"]
        console = Asking(await tidegate.says(r"in a browser:  (http://[^/]+)/console"), "/console", "GET")
        assert (await console.answer()).status == 200 and (await tidegate.get("/console")).status == 404
        await tidegate.stop()
    rows, totals, _ = await kept(tmp_path / "data")
    assert totals.calls == len(rows) == 40
    assert sum(row.outcome == "ok" for row in rows) == 8


async def test_one_that_is_killed_comes_back_and_no_counter_does(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream, gateway(tmp_path, behind(upstream, more=SEVERAL)) as tidegate:
        for _ in range(20):
            assert (await tidegate.ask()).status == 200
        were = await both(tidegate)
        await counts(tidegate, 20)
        os.kill(min(were), signal.SIGKILL)

        async def is_back() -> bool:
            there = workers(tidegate)
            return len(there) == 2 and min(were) not in there

        await until(is_back)
        await tidegate.says("ended with signal 9; it is started again")
        assert {(await tidegate.ask()).status for _ in range(20)} == {200}
        await counts(tidegate, 40)
        await tidegate.stop()
    rows, *_ = await kept(tmp_path / "data")
    assert len({row.id for row in rows}) == len(rows) == 40


async def test_all_are_replaced_one_after_the_other_and_nobody_notices(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream, gateway(tmp_path, behind(upstream, more=SEVERAL)) as tidegate:
        were, over, said = await both(tidegate), False, []

        async def client() -> None:
            while not over:
                said.append(await tidegate.ask(metadata={"script": {"between": "1ms", "text": "one two three"}}))

        clients = [asyncio.create_task(client()) for _ in range(4)]
        tidegate.send(signal.SIGUSR1)

        async def are_new() -> bool:
            there = set(workers(tidegate))
            return len(there) == 2 and not there & were

        await until(are_new)
        over = True
        await asyncio.gather(*clients)
        assert {answer.status for answer in said} == {200}
        await tidegate.stop()
    print(f"\n{len(said)} calls while both were replaced")


async def test_workers_whose_leader_is_killed_end_in_order_and_so_does_its_valkey(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream, gateway(tmp_path, behind(upstream, more=SEVERAL)) as tidegate:
        await both(tidegate)
        all_of_it = children(tidegate.pid)
        streams = [tidegate.asking(stream=True, metadata={"script": {"text": "one two", "between": 0.2}})]
        await streams[0].heard("one")
        await tidegate.kill()
        assert (await streams[0].answer()).acknowledged

        async def are_gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in all_of_it)

        await until(are_gone)


async def test_what_workers_that_are_no_more_had_not_told_the_books_is_told_by_the_first(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream:
        config = behind(upstream, more="logs: {calls: false}\napi: {workers: 3}\n")
        async with gateway(tmp_path, config) as tidegate:
            users = [f"user-{number}" for number in range(30)]
            await asyncio.gather(*(tidegate.ask(user=user) for user in users))
            for pid in workers(tidegate):
                os.kill(pid, signal.SIGKILL)  # before what they have spooled is in the database, for some of it
            await tidegate.kill()
        async with gateway(tmp_path, behind(upstream, more="logs: {calls: false}\n")) as tidegate:
            await tidegate.stop()
    rows, *_ = await kept(tmp_path / "data")
    assert sorted(row.user or "" for row in rows if row.outcome == "ok") == sorted(users)


async def test_one_that_cannot_start_says_why_and_ends_all(tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"
    file.write_text("api: {workers: 2, port: 0}\nstorage: {database: 'postgresql://127.0.0.1:1/x'}\n")
    command = ("-m", "tidegate.cli", "serve", "--config", str(file), "--data-dir", str(tmp_path / "data"))
    async with child(*command) as found:
        assert await found.ends() == 1
        assert found.said.count("storage.database") == 1


async def test_another_leader_in_the_same_folder_is_refused_and_breaks_nothing(tmp_path: Path) -> None:
    async with provider(tmp_path) as upstream, gateway(tmp_path, behind(upstream, more=SEVERAL)) as tidegate:
        await both(tidegate)
        command = (
            "serve",
            "--config",
            str(tmp_path / "tidegate.yaml"),
            "--data-dir",
            str(tidegate.data),
            "--port",
            "0",
        )
        async with child("-m", "tidegate.cli", *command) as other:
            assert await other.ends() == 1
            assert f"process {tidegate.pid} uses" in other.said and "storage.data_dir" in other.said
        assert (await tidegate.ask()).status == 200
        await counts(tidegate, 1)
        await tidegate.stop()


def test_without_a_valkey_it_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "tidegate.yaml").write_text("api: {workers: 2, port: 0}\n")
    command = ["serve", "--config", str(tmp_path / "tidegate.yaml"), "--data-dir", str(tmp_path / "data")]
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 1 and "pip install 'tidegate[scale]'" in found.output


@local_model()
async def test_one_local_model_is_enough_for_all_and_is_found_again_when_it_died(tmp_path: Path) -> None:
    config = f"""
providers: {{local: {{type: local}}}}
routes: {{fast: {{targets: [{{provider: local, model: {MODEL}}}]}}}}
limits: {{loops: {{policy: "off"}}}}
"""
    async with gateway(tmp_path, config + SEVERAL) as tidegate:
        there = await both(tidegate)

        async def each_answers() -> bool:
            answers = await asyncio.gather(*(tidegate.ask(max_tokens=1) for _ in range(6)))
            return {answer.status for answer in answers} == {200}

        def models(of: int) -> list[int]:
            return [pid for pid in children(of) if b"local/server.py" in cmdline(pid)]

        folder = tmp_path / "data" / "workers"
        await until(each_answers)
        (first,) = models(tidegate.pid)
        assert [models(worker) for worker in there] == [[], []]
        os.kill(first, signal.SIGKILL)

        async def another_is_there() -> bool:
            return models(tidegate.pid) not in ([], [first]) and bool(list(folder.glob("local-*")))

        await until(another_is_there)
        await until(each_answers)
        await tidegate.stop()
        assert not list(folder.glob("local-*"))

"""From start to SIGTERM: nothing is lost, nobody waits for ever, and what is wrong with the disk is said."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.clock import now_s
from tests.e2e.processes import Gateway, behind, gateway, kept, provider
from tidegate.storage.segments import MAGIC

if sys.platform == "linux":
    import resource

pytestmark = pytest.mark.timeout(300)

WORDS = " ".join(f"word{number}" for number in range(20))


def drains_for(seconds: str) -> str:
    return f"api: {{drain: {seconds}}}"


async def draining(tidegate: Gateway, sign: signal.Signals = signal.SIGTERM) -> None:
    """Send it away, and wait until it says that it is leaving."""
    tidegate.send(sign)
    async with asyncio.timeout(30):
        while (await tidegate.get("/ready")).status != 503:
            await asyncio.sleep(0.01)


def is_free(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as other:
        return other.connect_ex((host, int(port))) != 0


async def test_a_stream_in_progress_is_finished_on_sigterm(tmp_path: Path) -> None:
    async with provider(tmp_path, text=WORDS, between=0.05) as main:
        async with gateway(tmp_path, behind(main, more=drains_for("10s"))) as tidegate:
            assert (await tidegate.get("/ready")).status == 200
            asking = tidegate.asking(stream=True)
            await asking.heard("word3")
            await draining(tidegate)
            assert (await tidegate.get("/ready")).json["status"] == "shutting down"
            assert (await tidegate.get("/health")).status == 200

            refused = await tidegate.ask()
            assert (refused.status, refused.error["code"]) == (503, "shutting_down")
            assert int(refused.headers["retry-after"]) >= 1

            answer = await asking.answer()
            assert answer.text == WORDS and answer.acknowledged and answer.whole
            assert await tidegate.ends() == 0
            assert is_free(tidegate.url)
        async with gateway(tmp_path, behind(main)) as heir:
            told = (await heir.get(f"/v1/requests/{answer.headers['x-tidegate-request-id']}")).json
            assert told["outcome"] == "ok"
            await heir.stop()
    rows, totals, _ = await kept(tmp_path / "data")
    assert sorted(row.outcome for row in rows) == ["failed", "ok"] and totals.calls == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_who_takes_longer_than_the_drain_is_told_so(tmp_path: Path, stream: bool) -> None:
    slow = {"between": 0.3} if stream else {"before": 6}
    async with provider(tmp_path, text=WORDS, **slow) as main:
        async with gateway(tmp_path, behind(main, more=drains_for("200ms"))) as tidegate:
            asking = tidegate.asking(stream=stream, user="patient")
            if stream:
                await asking.heard("word0")
            began = now_s()
            await draining(tidegate)
            answer = await asking.answer()
            assert answer.whole and answer.error["code"] == "shutting_down"
            if stream:
                assert answer.status == 200 and answer.events[-1] != "[DONE]"
            else:
                assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
            assert await tidegate.ends() == 0
            assert now_s() - began < 4
    rows, *_ = await kept(tmp_path / "data")
    (row,) = [row for row in rows if row.user == "patient"]
    assert row.outcome == ("cut_off" if stream else "failed")
    assert row.error == "shutting_down" and row.usage_estimated and row.cost_nusd


async def test_ctrl_c_again_does_not_wait(tmp_path: Path) -> None:
    async with provider(tmp_path, text=WORDS, between=2) as main:
        async with gateway(tmp_path, behind(main, more=drains_for("1m"))) as tidegate:
            asking = tidegate.asking(stream=True, user="patient")
            await asking.heard("word0")
            await draining(tidegate, signal.SIGINT)
            began = now_s()
            tidegate.send(signal.SIGINT)
            assert await tidegate.ends() == 0
            assert now_s() - began < 2
            assert is_free(tidegate.url)
            assert not (await asking.answer()).acknowledged
    rows, *_ = await kept(tmp_path / "data")
    (row,) = [row for row in rows if row.user == "patient"]
    assert (row.outcome, row.error) == ("cut_off", "shutting_down")


async def test_two_processes_cannot_have_one_folder(tmp_path: Path) -> None:
    async with provider(tmp_path) as main, gateway(tmp_path, behind(main)) as tidegate:
        with pytest.raises(AssertionError, match=f"process {tidegate.pid} uses the spool in"):
            async with gateway(tmp_path, behind(main)):
                pass
        assert (await tidegate.ask()).status == 200
        await tidegate.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit, which Linux has")
async def test_a_full_disk_is_said_and_what_was_begun_is_finished(tmp_path: Path) -> None:
    """No file of the process may grow: as on a full disk, neither the spool gets a segment nor the database a page."""
    config_of = "{input: 1, output: 2}", "logs: {calls: false}\nstorage: {max_spool: 32MiB}"
    async with provider(tmp_path) as main, gateway(tmp_path, behind(main, *config_of)) as tidegate:
        script = {"text": WORDS, "between": 0.2}
        asking = tidegate.asking(stream=True, metadata={"script": script}, user="begun before")
        await asking.heard("word0")
        free = resource.prlimit(tidegate.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(tidegate.pid, resource.RLIMIT_FSIZE, (4096, free[1]))

        fat = {"x-tidegate-tags": ",".join(["\N{SNOWMAN}" * 250] * 16), "x-tidegate-session": "\N{SNOWMAN}" * 250}
        headers = {name: value.encode().decode("latin-1") for name, value in fat.items()}
        good = 0
        refused = None
        while refused is None:
            answers = await asyncio.gather(*(tidegate.ask(headers=headers) for _ in range(8)))
            good += sum(answer.acknowledged for answer in answers)
            refused = next((answer for answer in answers if answer.status != 200), None)
            assert good < 5000
        assert (refused.status, refused.error["code"]) == (503, "storage_full"), refused.body
        assert int(refused.headers["retry-after"]) >= 1
        assert str(tmp_path) not in refused.error["message"], "where it is kept is nothing for clients"
        answer = await asking.answer()
        assert answer.acknowledged and answer.text == WORDS
        told = await tidegate.get(f"/v1/requests/{answer.headers['x-tidegate-request-id']}")
        assert told.json["outcome"] == "ok"
        assert all(said in tidegate.said for said in ("spool_full", "free some space", "store_behind"))

        resource.prlimit(tidegate.pid, resource.RLIMIT_FSIZE, free)
        await tidegate.says("spool_has_room")
        assert (await tidegate.ask(user="after")).status == 200
        await tidegate.stop()
        assert "row_lost" not in tidegate.said
    rows, totals, _ = await kept(tmp_path / "data")
    assert {"begun before", "after"} <= {row.user for row in rows}
    assert sum(row.outcome == "ok" for row in rows) == good + 2
    assert all(row.outcome == "ok" or row.error == "storage_full" for row in rows) and totals.calls == len(rows)
    print(f"\n{good} calls until the disk was full")


async def test_a_corrupt_spool_is_set_aside_and_the_gateway_serves(tmp_path: Path) -> None:
    spool = tmp_path / "data" / "spool"
    spool.mkdir(parents=True)
    (spool / "0000000007.seg").write_bytes(MAGIC + b"this is no record at all" * 100)
    (spool / "0000000008.seg").write_bytes(b"nor is this")
    async with provider(tmp_path) as main, gateway(tmp_path, behind(main)) as tidegate:
        await tidegate.says(r"(?s)spool_damaged.*spool_damaged")  # the log is written a moment after the address is
        assert tidegate.said.count("spool_damaged") == 2
        assert (await tidegate.ask()).status == 200
        assert sorted(path.name for path in spool.glob("*.corrupt")) == ["0000000007.corrupt", "0000000008.corrupt"]
        await tidegate.stop()
    rows, *_ = await kept(tmp_path / "data")
    assert [row.outcome for row in rows] == ["ok"]

"""What a provider's own batch has cost is in the ledger, whatever became of its route, target or provider meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import JumpClock
from tests.house import lived_in, unbounded, until
from tests.jobs.batches.desk import Desk
from tests.jobs.batches.test_courier import CONFIG, batch_rows, handed, money, some, vendor
from tidegate import config
from tidegate.core.errors import StorageFull

__all__ = ["vendor"]  # a fixture

CHANGES = {
    "its target": ("model: m}", "model: n}"),
    "what it costs": ("discount: 0.5", "discount: 0.1"),
    "its usual price": ("price: {input: 1, output: 2}", "price: {input: 9, output: 9}"),
    "its batches": (", batch: {discount: 0.5}", ""),
    "its provider": ("main", "renamed"),
}
ROUTE = ("routes: {fast:", "routes: {quick:")
GUARD = ("model: m}]}", "model: m}], guardrails: {input: [{type: pii, action: block}]}}")


class Bought:
    """Four lines of a team's, that are with the provider."""

    def __init__(self, desk: Desk, batch: str, remote: str, text: str) -> None:
        self.desk = desk
        self.batch = batch
        self.remote = remote
        self._text = text

    async def becomes(self, change: tuple[str, str]) -> None:
        """Another configuration is taken up."""
        old, new = change
        assert old in self._text
        text = self._text.replace(old, new)
        given = {"TIDEGATE_API_PORT": "0", "TIDEGATE_STORAGE_DATA_DIR": self.desk.house.app.config.storage.data_dir}
        await self.desk.house.app.reload(unbounded(await asyncio.to_thread(config.parse, text, given), text))

    async def is_paid(self) -> bool:
        """By key and team, once, at the price of the day, in the ledger and of the budget."""
        rows = [row for row in await batch_rows(self.desk.house) if row.cost_nusd]
        assert {one.price["rates"]["input"] for row in rows for one in row.attempts} == {500_000_000}
        assert money(self.desk.house) == 4_000_000
        found = [(row.key_id, row.team_id, row.cost_nusd) for row in rows]
        return found == [(self.desk.key.split("_")[2], "search", 1_000_000)] * 4


@pytest.fixture(params=["openai", "anthropic"])
async def bought(request, build_house, vendor) -> Bought:
    address = vendor.address.removesuffix("/v1") if request.param == "anthropic" else vendor.address
    text = CONFIG.format(type=request.param, address=address)
    desk = Desk(await build_house(text))
    assert (await desk.post("/admin/teams", id="search", name="Search")).status < 300
    theirs = await Desk.of_another(desk.house, team_id="search", budgets=[{"usd": 1, "per": "total"}])
    begun = await theirs.begin(some(4).replace(b"question", b"eve@example.org"))
    (remote,) = await handed(desk.house, vendor)
    return Bought(theirs, begun["id"], remote, text)


@pytest.mark.parametrize("what", CHANGES)
async def test_what_was_bought_has_its_result_and_its_row_whatever_is_changed_meanwhile(bought, vendor, what):
    await bought.becomes(CHANGES[what])
    vendor.finish(bought.remote)
    batch = await bought.desk.ended(bought.batch)
    assert batch["request_counts"] == {"total": 4, "completed": 4, "failed": 0}
    assert await bought.is_paid() and vendor.asked == []


@pytest.mark.parametrize(
    ("change", "status", "code"), [(ROUTE, 404, "model_not_found"), (GUARD, 400, "guardrail_blocked")]
)
async def test_what_was_bought_and_is_refused_now_is_paid_for_all_the_same(bought, vendor, change, status, code):
    await bought.becomes(change)
    vendor.finish(bought.remote)
    batch = await bought.desk.ended(bought.batch)
    assert batch["request_counts"] == {"total": 4, "completed": 0, "failed": 4}
    for one in await bought.desk.lines(batch["error_file_id"]):
        error = one["response"]["body"]["error"]
        assert (one["response"]["status_code"], error["code"]) == (status, code)
        assert "main/m has answered it, and that is paid for" in error["message"]
    assert await bought.is_paid() and vendor.asked == []


async def test_what_could_not_be_written_when_it_came_is_brought_in_again(bought, vendor, monkeypatch):
    recorder, full = bought.desk.house.app.gateway.recorder, [StorageFull("no room")] * 3
    opened = recorder.opened

    def opens(call):
        if full:
            raise full.pop()
        opened(call)

    monkeypatch.setattr(recorder, "opened", opens)
    vendor.finish(bought.remote)
    batch = await bought.desk.ended(bought.batch)
    assert batch["request_counts"]["completed"] == 4 and vendor.asked == [] and full == []
    assert await bought.is_paid()
    assert {row.outcome for row in await batch_rows(bought.desk.house)} == {"ok"}


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_provider_that_is_not_there_after_a_start_is_waited_for_as_long_as_there_is_time(
    tmp_path, vendor, capsys, comes_back
):
    text, clock = CONFIG.format(type="openai", address=vendor.address), JumpClock()
    async with lived_in(text, tmp_path / "data", clock=clock) as house:
        desk = Desk(house)
        begun = await desk.begin(some(4))
        (remote,) = await handed(house, vendor)
        vendor.finish(remote)
    gone = text.replace("main", "renamed")
    async with lived_in(gone, tmp_path / "data", clock=clock) as house:
        desk = Desk(house, desk.key)
        await until(lambda: "parcel_waits" in capsys.readouterr().err)
        assert (await desk.batch(begun["id"]))["lines"]["at_provider"] == 4
    if comes_back:
        async with lived_in(text, tmp_path / "data", clock=clock) as house:
            desk = Desk(house, desk.key)
            batch = await desk.ended(begun["id"])
            assert batch["request_counts"]["completed"] == 4 and vendor.asked == []
            assert {row.cost_nusd for row in await batch_rows(house)} == {1_000_000}
        return
    await clock.sleep(21 * 3600)  # in no house: there each second would have its turn
    async with lived_in(gone, tmp_path / "data", clock=clock) as house:
        await clock.sleep(400)
        assert (await Desk(house, desk.key).batch(begun["id"]))["lines"]["at_provider"] == 4
    await clock.sleep(3600)
    async with lived_in(gone, tmp_path / "data", clock=clock) as house:
        batch = await Desk(house, desk.key).ended(begun["id"])
        assert batch["request_counts"]["completed"] == 4 and len(vendor.asked) == 4
        assert clock.wall_ns() / 1e9 >= begun["created_at"] + 22 * 3600

"""Lines that have the time go to a provider's own batch at its price, and each has one result, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import House, until
from tests.jobs.batches.desk import Desk, line, lines
from tests.jobs.batches.vendor import Vendor

CONFIG = """
logs: {{calls: false}}
providers:
  main: {{type: {type}, base_url: "{address}", keys: [k], price: {{input: 1, output: 2}}, batch: {{discount: 0.5}}}}
routes: {{fast: {{targets: [{{provider: main, model: m}}]}}}}
"""


@pytest.fixture
async def vendor():
    server = Vendor()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture(params=["openai", "anthropic"])
async def desk(request, build_house, vendor) -> Desk:
    address = vendor.address.removesuffix("/v1") if request.param == "anthropic" else vendor.address
    return Desk(await build_house(CONFIG.format(type=request.param, address=address)))


def some(count: int) -> bytes:
    return lines(*(line(f"q{n}", f"question {n}", max_tokens=9) for n in range(count)))


async def handed(house: House, vendor: Vendor, count: int = 1) -> list[str]:
    """Ids of batches at the vendor, once there are so many and we know them."""
    await until(lambda: len(vendor.batches) >= count)
    await until(lambda: not house.left())
    return list(vendor.batches)


async def batch_rows(house: House) -> list[Any]:
    return [row for row in await house.rows() if row.kind == "batch"]


async def test_lines_go_to_the_providers_own_batch_and_cost_what_it_says(desk, vendor):
    begun = await desk.begin(some(20))
    (remote,) = await handed(desk.house, vendor)
    assert (await desk.batch(begun["id"]))["lines"] == {"waiting": 0, "under_way": 0, "at_provider": 20}
    vendor.finish(remote)
    batch = await desk.ended(begun["id"])
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0} and vendor.asked == []
    found = await desk.lines(batch["output_file_id"])
    said = [one["response"]["body"]["choices"][0]["message"]["content"] for one in found]
    assert said == [f"batched: question {n}" for n in range(20)]
    rows = await batch_rows(desk.house)
    assert len(rows) == 20 and {row.cost_nusd for row in rows} == {1_000_000}  # half of 1,000 and 500 tokens
    assert {row.id for row in rows} == {one["response"]["request_id"] for one in found}


@pytest.mark.parametrize(("look", "least_s", "most_s"), [("2s", 2, 14), ("100s", 100, 150)])
async def test_a_provider_is_asked_whether_it_is_done_as_soon_as_is_said(build_house, vendor, look, least_s, most_s):
    config = CONFIG.format(type="openai", address=vendor.address).replace(
        "discount: 0.5", f"discount: 0.5, look: {look}"
    )
    desk = Desk(await build_house(config))
    begun = await desk.begin(some(1))
    (remote,) = await handed(desk.house, vendor)
    vendor.finish(remote)
    began_ns = desk.house.clock.wall_ns()
    await desk.ended(begun["id"])
    assert least_s - 2 <= (desk.house.clock.wall_ns() - began_ns) / 1e9 <= most_s


async def test_what_it_has_not_answered_is_asked_by_us_and_twice_is_once(desk, vendor):
    vendor.spoil = lambda some: [*reversed(some), some[0], b"{garbage", b'"no"', b"{}"]
    begun = await desk.begin(some(10))
    (remote,) = await handed(desk.house, vendor)
    vendor.finish(remote, done=6, how="expired")
    batch = await desk.ended(begun["id"])
    found = await desk.lines(batch["output_file_id"])
    said = [one["response"]["body"]["choices"][0]["message"]["content"] for one in found]
    assert said == [f"batched: question {n}" for n in range(6)] + ["one by one"] * 4
    assert len(vendor.asked) == 4 and len(await batch_rows(desk.house)) == 10


async def test_a_batch_that_has_little_time_is_asked_by_us(desk, vendor):
    batch = await desk.ended((await desk.begin(some(3), completion_window="2h"))["id"])
    assert batch["request_counts"]["completed"] == 3 and len(vendor.asked) == 3 and vendor.batches == {}


async def test_who_refuses_a_batch_is_asked_line_by_line(desk, vendor):
    vendor.fails = {"POST /files": [400], "POST /messages/batches": [400]}
    batch = await desk.ended((await desk.begin(some(3)))["id"])
    assert batch["request_counts"]["completed"] == 3 and len(vendor.asked) == 3 and vendor.batches == {}


async def test_a_cancel_reaches_the_provider_and_what_is_there_is_kept(desk, vendor):
    begun = await desk.begin(some(4))
    await handed(desk.house, vendor)
    assert (await desk.post(f"/v1/batches/{begun['id']}/cancel")).status == 200
    batch = await desk.ended(begun["id"])
    assert (batch["status"], batch["request_counts"]["failed"]) == ("cancelled", 4) and vendor.asked == []
    assert any(place.endswith("/*/cancel") for place in vendor.seen)


async def test_one_whose_id_was_lost_is_found_again_and_not_paid_twice(desk, vendor):
    vendor.forgetful = True
    begun = await desk.begin(some(4))
    (remote,) = await handed(desk.house, vendor)
    vendor.forgetful = False
    vendor.finish(remote)
    batch = await desk.ended(begun["id"])
    assert batch["request_counts"]["completed"] == 4 and len(vendor.batches) == 1 and vendor.asked == []


async def test_a_provider_that_is_gone_for_an_hour_is_waited_for(desk, vendor):
    begun = await desk.begin(some(4))
    (remote,) = await handed(desk.house, vendor)
    gone = [429, 500] * 10
    vendor.fails = {"GET /batches/*": gone, "GET /messages/batches/*": gone}
    vendor.finish(remote)
    began_ns = desk.house.clock.wall_ns()
    for _ in range(500):
        batch = await desk.batch(begun["id"])
        if batch["status"] == "completed":
            break
        await desk.house.clock.sleep(20)
    assert batch["request_counts"]["completed"] == 4 and vendor.asked == []
    assert desk.house.clock.wall_ns() - began_ns > 3600 * 10**9


async def test_one_whose_id_was_lost_is_found_among_hundreds(desk, vendor):
    vendor.forgetful = True
    begun = await desk.begin(some(4))
    (remote,) = await handed(desk.house, vendor)
    vendor.forgetful = False
    for n in range(250):  # newer ones, of others
        vendor.batches[f"msgbatch_other{n}"] = vendor.batches[remote] | {
            "id": f"msgbatch_other{n}", "metadata": None, "request_counts": {"processing": 7}
        }  # fmt: skip
    vendor.finish(remote)
    batch = await desk.ended(begun["id"])
    assert batch["request_counts"]["completed"] == 4 and vendor.asked == []
    assert sum(place in ("POST /batches", "POST /messages/batches") for place in vendor.seen) == 1


async def test_two_of_one_size_whose_ids_were_lost_are_not_taken_for_each_other(desk, vendor):
    vendor.forgetful = True
    begun = [await desk.begin(some(4)), await desk.begin(some(4))]
    await handed(desk.house, vendor, 2)
    vendor.forgetful = False
    for remote in list(vendor.batches):
        vendor.finish(remote)
    ended = [await desk.ended(one["id"]) for one in begun]
    assert [batch["request_counts"]["completed"] for batch in ended] == [4, 4]
    assert len(vendor.batches) == 2 and vendor.asked == []


async def test_what_the_provider_finds_invalid_is_asked_by_us_and_what_was_set_aside_is_given_back(desk, vendor):
    paying = await Desk.of_another(desk.house, budgets=[{"usd": 1, "per": "total"}])
    begun = await paying.begin(some(4))
    (remote,) = await handed(desk.house, vendor)
    counters = desk.house.app.world.counters
    assert await counters.holds("default") == 4
    vendor.finish(remote, done=0, how="failed")
    batch = await paying.ended(begun["id"])
    assert batch["request_counts"]["completed"] == 4 and len(vendor.asked) == 4
    assert await counters.holds("default") == 0
    assert money(desk.house) == sum(row.cost_nusd for row in await batch_rows(desk.house))


async def test_what_was_set_aside_is_given_back_also_when_another_process_has_brought_the_results(desk, vendor):
    paying = await Desk.of_another(desk.house, budgets=[{"usd": 1, "per": "total"}])
    begun = await paying.begin(some(4))
    await handed(desk.house, vendor)
    store, counters = desk.house.app.gateway.batches, desk.house.app.world.counters
    (parcel,) = await store.parcels()
    assert await counters.holds("default") == 4
    await paying.post(f"/v1/batches/{begun['id']}/cancel")
    await store.end_parcel(parcel, 0, home=True)  # as the other one does
    await paying.ended(begun["id"])
    for _ in range(100):
        if not (left := await counters.holds("default")):
            break
        await desk.house.clock.sleep(1)
    assert (left, money(desk.house)) == (0, 0)


async def test_what_was_bought_for_a_key_that_is_revoked_meanwhile_has_its_row_and_its_result(desk, vendor):
    theirs = await Desk.of_another(desk.house)
    begun = await theirs.begin(some(4))
    (remote,) = await handed(desk.house, vendor)
    id = theirs.key.split("_")[2]
    await desk.house.begin(path=f"/admin/keys/{id}", method="DELETE", body=b"").reply()
    vendor.finish(remote)
    store = desk.house.app.gateway.batches
    for _ in range(200):
        if (batch := await store.batch(begun["id"], id)).ended:
            break
        await desk.house.clock.sleep(1)
    assert (batch.counts.done, batch.counts.failed, vendor.asked) == (4, 0, [])
    rows = await batch_rows(desk.house)
    assert [(row.key_id, row.cost_nusd) for row in rows] == [(id, 1_000_000)] * 4


def money(house: House) -> int:
    counts = house.app.world.counters._counts
    return sum(count.n for name, count in counts.items() if ":money:" in name)

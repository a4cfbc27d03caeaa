"""A batch goes in, and a file with one result for each of its lines comes out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, House, lived_in, until
from tests.jobs.batches.desk import CHAT, Desk, line, lines
from tidegate.core.errors import UpstreamUnavailable

PATIENT = TWO_PROVIDERS.replace(", {provider: spare, model: m, order: 2}", "") + "upstream: {first_token: 300s}\n"


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


async def test_every_line_is_answered_once(desk):
    desk.house.provider("main").says("hello")
    begun = await desk.begin(lines(*(line(f"q{n}", f"question {n}") for n in range(50))), metadata={"a": "b"})
    assert (begun["status"], begun["metadata"]) == ("validating", {"a": "b"})
    batch = await desk.ended(begun["id"])
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 50, "completed": 50, "failed": 0}
    found = await desk.lines(batch["output_file_id"])
    assert [one["custom_id"] for one in found] == [f"q{n}" for n in range(50)]
    first = found[0]["response"]
    assert first["status_code"] == 200 and first["body"]["choices"][0]["message"]["content"] == "hello"
    rows = [row for row in await desk.house.rows() if row.kind == "batch"]
    assert len(rows) == 50 and {row.id for row in rows} == {one["response"]["request_id"] for one in found}
    assert {row.tags for row in rows} == {(f"batch:{begun['id']}",)} and {row.outcome for row in rows} == {"ok"}


async def test_what_makes_no_sense_says_what_and_where_and_the_rest_goes_on(desk):
    desk.house.provider("main").always("hello")
    wrong = [
        line("twice", "again"),
        b"{not json",
        line("elsewhere", url="/v1/embeddings"),
        b'{"custom_id": "\xff"}',
        line("streamed", stream=True),
        json.dumps({"custom_id": "nothing", "method": "POST", "url": CHAT}).encode(),
        json.dumps({"method": "POST", "url": CHAT, "body": {}}).encode(),
        line("nobody", model="fsat"),
        line("odd", messages="hi"),
    ]
    begun = await desk.begin(lines(line("twice"), b"", *wrong, line("last")))
    batch = await desk.ended(begun["id"])
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 11, "completed": 2, "failed": 9}
    assert [one["custom_id"] for one in await desk.lines(batch["output_file_id"])] == ["twice", "last"]
    said = [(one["line"], one["code"], one["param"]) for one in batch["errors"]["data"]]
    assert said == [
        (3, "duplicate_custom_id", "custom_id"),
        (4, "invalid_json_line", None),
        (5, "mismatched_endpoint", "url"),
        (6, "invalid_encoding", None),
        (7, "invalid_body", "body.stream"),
        (8, "invalid_body", "body"),
        (9, "invalid_custom_id", "custom_id"),
    ]
    errors = await desk.lines(batch["error_file_id"])
    assert [one["error"]["line"] for one in errors if one["error"]] == [3, 4, 5, 6, 7, 8, 9]
    nobody, odd = [one for one in errors if one["response"]]
    assert (nobody["custom_id"], nobody["response"]["status_code"]) == ("nobody", 404)
    assert "did you mean 'fast'" in nobody["response"]["body"]["error"]["message"]
    assert (odd["custom_id"], odd["response"]["status_code"]) == ("odd", 400)


async def test_a_file_without_a_line_fails_and_says_so(desk):
    batch = await desk.ended((await desk.begin(b"\n\n"))["id"])
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "empty_file")
    assert batch["output_file_id"] is None and batch["failed_at"] is not None


async def test_more_lines_than_may_be_are_not_asked(build_house):
    desk = Desk(await build_house("batches: {max_lines: 3}\n" + TWO_PROVIDERS))
    batch = await desk.ended((await desk.begin(lines(*(line(f"q{n}") for n in range(5)))))["id"])
    assert batch["request_counts"]["completed"] == 3
    (told,) = batch["errors"]["data"]
    assert (told["code"], told["line"]) == ("too_many_lines", 4) and "batches.max_lines" in told["message"]


async def test_each_endpoint_is_answered_in_its_own_words(desk):
    asked = json.dumps(
        {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "fast", "input": "hi"}}
    )
    batch = await desk.ended((await desk.begin(asked.encode(), endpoint="/v1/embeddings"))["id"])
    (found,) = await desk.lines(batch["output_file_id"])
    assert found["response"]["body"]["data"][0]["embedding"] == [0.6, 0.8]


async def test_cancelled_twice_is_harmless_and_what_was_under_way_is_kept(build_house):
    desk = Desk(await build_house("batches: {at_once: 2}\n" + PATIENT))
    desk.house.clock.hold()
    desk.house.provider("main").always("slow", before=60)
    begun = await desk.begin(lines(*(line(f"q{n}", f"{n}") for n in range(20))))
    await until(lambda: len(desk.house.provider("main").requests) == 2)
    cancelled = [(await desk.post(f"/v1/batches/{begun['id']}/cancel")).events[0] for _ in range(2)]
    now = [one.pop("lines") for one in cancelled]  # where each line is at this moment, which goes on
    assert [sum(one.values()) for one in now] == [now[0]["waiting"] + now[0]["under_way"]] * 2
    assert [one["status"] for one in cancelled] == ["cancelling"] * 2 and cancelled[0] == cancelled[1]
    await desk.house.clock.advance(70)
    batch = await desk.ended(begun["id"], held=True)
    assert batch["status"] == "cancelled"
    assert [one["custom_id"] for one in await desk.lines(batch["output_file_id"])] == ["q0", "q1"]
    errors = await desk.lines(batch["error_file_id"])
    assert len(errors) == 18 and {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    again = (await desk.post(f"/v1/batches/{begun['id']}/cancel")).events[0]
    assert again["status"] == "cancelled" and len(desk.house.provider("main").requests) == 2


async def test_what_was_not_asked_in_time_has_expired(build_house):
    desk = Desk(await build_house("batches: {at_once: 1}\n" + PATIENT))
    desk.house.clock.hold()
    desk.house.provider("main").always("slow", before=50)
    content = lines(*(line(f"q{n}", f"{n}") for n in range(4)))
    batch = await desk.ended((await desk.begin(content, completion_window="2m"))["id"], held=True)
    assert batch["status"] == "expired"
    done, left = await desk.lines(batch["output_file_id"]), await desk.lines(batch["error_file_id"])
    assert len(done) + len(left) == 4 and {one["error"]["code"] for one in left} == {"batch_expired"}


async def test_a_budget_that_ends_in_the_middle_ends_only_what_it_had_no_room_for(build_house):
    house = await build_house("batches: {at_once: 1}\nbudgets: {default_day: 100}\n" + TWO_PROVIDERS)
    desk = await Desk.of_another(house, budgets=[{"usd": 0.02, "per": "day"}])
    house.provider("main").always(["w "] * 1500)
    content = lines(*(line(f"q{n}", f"{n}", max_tokens=1500) for n in range(6)))
    batch = await desk.ended((await desk.begin(content))["id"])
    errors = await desk.lines(batch["error_file_id"])
    assert 2 <= batch["request_counts"]["completed"] <= 5, errors[0]["response"]["body"]
    assert {one["response"]["status_code"] for one in errors} == {402}
    assert {one["response"]["body"]["error"]["code"] for one in errors} == {"budget_spent"}


async def test_a_limit_of_the_key_is_waited_for(build_house):
    house = await build_house("limits: {loops: {policy: 'off'}}\n" + TWO_PROVIDERS)
    desk = await Desk.of_another(house, limits=[{"of": "requests", "most": 5, "per_s": 60}])
    batch = await desk.ended((await desk.begin(lines(*(line(f"q{n}", f"{n}") for n in range(12)))))["id"])
    assert batch["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
    assert batch["completed_at"] - batch["created_at"] > 60


async def test_a_provider_that_fails_for_a_while_is_asked_again(build_house):
    text = TWO_PROVIDERS + "upstream: {retry: {tries: 1}}\n"
    desk = Desk(await build_house(text.replace(", {provider: spare, model: m, order: 2}", "")))
    for _ in range(2):
        desk.house.provider("main").says(status=503)
    batch = await desk.ended((await desk.begin(line("a")))["id"])
    assert batch["request_counts"]["completed"] == 1
    assert len(desk.house.provider("main").requests) >= 2


async def test_and_not_for_ever(build_house):
    text = "batches: {tries: 2}\n" + TWO_PROVIDERS
    desk = Desk(await build_house(text))
    for name in ("main", "spare"):
        desk.house.provider(name).always(status=500)
    batch = await desk.ended((await desk.begin(line("a")))["id"])
    (one,) = await desk.lines(batch["error_file_id"])
    assert one["response"]["status_code"] in (502, UpstreamUnavailable.status)


async def test_a_key_that_was_revoked_pays_for_nothing_more(build_house):
    house = await build_house("batches: {at_once: 1}\n" + TWO_PROVIDERS)
    desk = await Desk.of_another(house)
    house.clock.hold()
    house.provider("main").always("hello", before=10)
    begun = await desk.begin(lines(*(line(f"q{n}", f"{n}") for n in range(3))))
    await until(lambda: house.provider("main").requests)
    id = desk.key.split("_")[2]
    await house.begin(path=f"/admin/keys/{id}", method="DELETE", body=b"").reply()
    await house.clock.advance(60)
    store = house.app.gateway.batches

    async def ended() -> Any:
        return await store.batch(begun["id"], id)

    for _ in range(100):
        if (batch := await ended()).ended:
            break
        await house.clock.advance(2)
    assert (batch.counts.done, batch.counts.failed) == (1, 2)
    assert len(house.provider("main").requests) == 1


async def test_the_same_question_is_bought_once_where_the_route_has_a_cache(build_house):
    text = TWO_PROVIDERS.replace("  fast:\n", "  fast:\n    cache: {exact: true, single_flight: true}\n")
    desk = Desk(await build_house(text))
    batch = await desk.ended(
        (await desk.begin(lines(*(line(f"q{n}", "the same", temperature=0) for n in range(20)))))["id"]
    )
    assert batch["request_counts"]["completed"] == 20
    assert len(desk.house.provider("main").requests) == 1


async def test_outside_its_hours_nothing_is_asked(build_house):
    # The clock begins at midnight UTC.
    desk = Desk(await build_house("batches: {hours: '00:10-00:30'}\n" + TWO_PROVIDERS))
    begun = await desk.begin(line("a"))
    await desk.house.clock.sleep(300)
    async with asyncio.timeout(20):
        while (await desk.batch(begun["id"]))["status"] == "validating":
            pass  # it is read in a thread, which is not in a hurry
    assert (await desk.batch(begun["id"]))["status"] == "in_progress" and not desk.house.provider("main").requests
    await desk.house.clock.sleep(310)
    batch = await desk.ended(begun["id"])
    assert batch["request_counts"]["completed"] == 1


async def test_what_was_begun_goes_on_after_a_start(tmp_path):
    text = "batches: {at_once: 2}\n" + TWO_PROVIDERS
    async with lived_in(text, tmp_path) as house:
        desk = Desk(house)
        house.clock.hold()
        house.provider("main").always("hello", before=10)
        begun = await desk.begin(lines(*(line(f"q{n}", f"{n}") for n in range(6))))
        await until(lambda: len(house.provider("main").requests) == 2)
        await house.clock.advance(15)
        await until(lambda: len(house.provider("main").requests) == 4)
        house.app.world.closing.set()
        await house.clock.advance(15)
    async with lived_in(text, tmp_path) as house:
        house.provider("main").always("hello")
        store = house.app.gateway.batches
        (left,) = await store.unended()
        for _ in range(500):
            if (batch := await store.batch(begun["id"], left.starter.key_id)).ended:
                break
            await house.clock.sleep(0.01)
        assert (batch.ended, batch.counts.done, batch.counts.failed) == ("completed", 6, 0)
        assert len(house.provider("main").requests) == 2  # four were answered before


async def test_another_key_sees_nothing_of_it(desk):
    begun = await desk.begin(line("a"))
    batch = await desk.ended(begun["id"])
    other = await Desk.of_another(desk.house)
    paths = [f"/v1/batches/{batch['id']}", f"/v1/files/{batch['output_file_id']}/content"]
    paths += [f"/v1/files/{batch['input_file_id']}"]
    for path in paths:
        reply = await other.get(path)
        assert (reply.status, reply.error.code) == (404, "not_found"), path
    assert (await other.post(f"/v1/batches/{batch['id']}/cancel")).status == 404
    for path in ("/v1/files", "/v1/batches"):
        assert (await other.get(path)).events[0]["data"] == []
    asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": batch["input_file_id"]}
    assert (await other.post("/v1/batches", **asked)).status == 404


async def test_it_is_counted_and_told(desk):
    await desk.ended((await desk.begin(line("a")))["id"])
    said = (await desk.house.get("/metrics")).body.decode()
    assert 'tidegate_batch_lines_total{outcome="done"} 1.0' in said
    assert 'tidegate_batch_lines_open{state="waiting"} 0.0' in said and "tidegate_batch_lag_seconds" in said


async def test_what_an_end_user_asked_and_was_answered_is_shown_and_erased(build_house):
    key = f"{TWO_PROVIDERS}vault: {{keys: ['{'00' * 32}']}}\nbatches: {{keep: 1d}}\n"
    desk = Desk(await build_house(key))
    desk.house.provider("main").always("a secret of hers")
    batch = await desk.ended((await desk.begin(lines(line("eve", user="eve"), line("other"))))["id"])
    told = [json.loads(row) for row in (await desk.get("/admin/subjects?id=eve")).body.splitlines()]
    (kept,) = [one["line"] for one in told if one["kind"] == "batch_line"]
    assert (kept["batch"], kept["custom_id"]) == (batch["id"], "eve") and "a secret of hers" in kept["said"]
    reply = await desk.house.begin(path="/admin/subjects?id=eve", method="DELETE", body=b"").reply()
    assert reply.events[0]["lines"] == 1
    erased, other = await desk.lines(batch["output_file_id"])
    assert (erased["custom_id"], erased["error"]["code"]) == (None, "erased")
    assert other["response"]["body"]["choices"][0]["message"]["content"] == "a secret of hers"
    assert (await desk.get(f"/v1/files/{batch['input_file_id']}/content")).status == 404


async def test_a_small_batch_does_not_wait_for_a_large_one(build_house):
    desk = Desk(await build_house("batches: {at_once: 2}\n" + PATIENT))
    desk.house.provider("main").always("hello", before=1)
    large = await desk.begin(lines(*(line(f"q{n}", f"{n}") for n in range(100))))
    small = await desk.begin(lines(*(line(f"q{n}", f"small {n}") for n in range(3))))
    assert (await desk.ended(small["id"]))["status"] == "completed"
    assert (await desk.batch(large["id"]))["request_counts"]["completed"] < 50
    await desk.post(f"/v1/batches/{large['id']}/cancel")
    await desk.ended(large["id"])

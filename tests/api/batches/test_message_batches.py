"""Batches as Anthropic's clients know them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House, Reply

PATH = "/v1/messages/batches"


def request(id: str, **fields: Any) -> dict[str, Any]:
    params = {"model": "fast", "max_tokens": 50, "messages": [{"role": "user", "content": f"hi {id}"}]} | fields
    return {"custom_id": id, "params": params}


async def post(house: House, path: str = PATH, **fields: Any) -> Reply:
    body = json.dumps(fields, indent=1).encode()
    return await house.begin(path=path, body=body, headers={"anthropic-version": "2023-06-01"}).reply()


async def ended(house: House, id: str) -> Any:
    for _ in range(500):
        found = (await house.get(f"{PATH}/{id}")).events[0]
        if found["processing_status"] == "ended":
            return found
        await house.clock.sleep(0.1)
    raise AssertionError(f"it never ended: {found}")


async def results(house: House, found: Any) -> list[Any]:
    return [json.loads(line) for line in (await house.get(found["results_url"])).body.splitlines()]


async def test_each_request_has_a_result_in_the_words_of_that_api(house):
    house.provider("main").always("hello")
    made = await post(house, requests=[request("a"), request("b", model="fsat"), request("c", stream=True)])
    batch = made.events[0]
    assert (batch["type"], batch["processing_status"], batch["results_url"]) == ("message_batch", "in_progress", None)
    batch = await ended(house, batch["id"])
    assert batch["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 0}
    a, b, c = await results(house, batch)
    assert a["custom_id"] == "a" and a["result"]["type"] == "succeeded"
    assert a["result"]["message"]["content"][0]["text"] == "hello"
    assert b["result"]["error"]["error"]["type"] == "not_found_error"
    assert c["result"]["type"] == "errored" and "stream" in c["result"]["error"]["error"]["message"]
    listed = (await house.get(PATH)).events[0]
    assert [one["id"] for one in listed["data"]] == [batch["id"]] and listed["has_more"] is False
    assert (await house.get("/v1/batches")).events[0]["data"] == []
    deleted = await house.begin(path=f"{PATH}/{batch['id']}", method="DELETE", body=b"").reply()
    assert deleted.events[0] == {"id": batch["id"], "type": "message_batch_deleted"}
    assert (await house.get(batch["results_url"])).status == 404


@pytest.mark.parametrize(
    ("requests", "where"),
    [
        ([], "requests"),
        ([{"params": {}}], "requests.0.custom_id"),
        ([request("a"), request("b"), request("a")], "requests.2.custom_id: 'a' is that of requests.0 too"),
        ([request("x" * 600)], "requests.0.custom_id"),
        ([7], "requests.0.custom_id"),
    ],
)
async def test_requests_that_could_not_be_told_apart_are_refused(house, requests, where):
    reply = await post(house, requests=requests)
    assert reply.status == 400 and where in reply.error.message


async def test_it_is_cancelled_and_only_then_deleted(build_house):
    house = await build_house("batches: {at_once: 0}\nproviders: {main: {type: scripted}}\n")
    id = (await post(house, requests=[request("a")])).events[0]["id"]
    assert (await house.get(f"{PATH}/{id}/results")).status == 409
    assert (await house.begin(path=f"{PATH}/{id}", method="DELETE", body=b"").reply()).status == 409
    found = (await post(house, f"{PATH}/{id}/cancel")).events[0]
    assert found["processing_status"] == "canceling" and found["cancel_initiated_at"]
    assert (await house.get(f"{PATH}/msgbatch_nobody")).status == 404

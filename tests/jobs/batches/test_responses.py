"""Responses can be asked in a batch, as they are: lines of /v1/responses."""

from __future__ import annotations

import json

from tests.jobs.batches.desk import Desk, lines
from tests.jobs.batches.vendor import Vendor


async def test_a_batch_of_responses_is_answered_and_accounted_for(build_house):
    vendor = Vendor()
    address = await vendor.start()
    house = await build_house(
        f"providers: {{main: {{type: openai, base_url: '{address}', keys: [k], price: {{input: 1, output: 2}}}}}}\n"
        "routes: {fast: {targets: [{provider: main, model: m}]}}\nlogs: {calls: false}\n"
    )
    desk = Desk(house)
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "fast", "input": "hi"}}
    batch = await desk.ended((await desk.begin(lines(json.dumps(asked).encode()), "/v1/responses"))["id"])
    (one,) = await desk.lines(batch["output_file_id"])
    assert one["response"]["body"]["output"][0]["content"][0]["text"] == "one by one"
    (row,) = [row for row in await house.rows() if row.kind == "batch"]
    assert (row.operation, row.cost_nusd, vendor.asked) == ("raw", 2_000_000, ["/responses"])
    await vendor.aclose()

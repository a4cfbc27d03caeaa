"""What holds for a line that we ask holds for one that is handed over: what is masked there."""

from __future__ import annotations

from tests.house import until
from tests.jobs.batches.desk import Desk, line, lines
from tests.jobs.batches.test_courier import CONFIG
from tests.jobs.batches.vendor import Vendor

MASKED = CONFIG.replace("model: m}}]}}", "model: m}}], guardrails: {{input: [{{type: pii, action: placeholder}}]}}}}")


async def test_masked_values_are_masked_at_the_provider_and_the_callers_own_when_they_come_back(build_house):
    vendor = Vendor()
    address = await vendor.start()
    desk = Desk(await build_house(MASKED.format(type="openai", address=address)))
    begun = await desk.begin(lines(line("a", "write to eve@example.org")))
    await until(lambda: vendor.batches and not desk.house.left())
    assert b"eve@example.org" not in b"".join(vendor.files.values())
    vendor.finish(next(iter(vendor.batches)))
    (one,) = await desk.lines((await desk.ended(begun["id"]))["output_file_id"])
    assert "eve@example.org" in one["response"]["body"]["choices"][0]["message"]["content"]
    await vendor.aclose()

"""What differs between processes stands on the page of metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from tidegate.core.topology import ALIKE
from tidegate.telemetry.alike import Alike


async def test_a_process_that_is_alone_differs_from_nobody(build_house):
    house = await build_house()
    found = [line for line in (await house.get("/metrics")).body.decode().splitlines() if "processes_differ{" in line]
    assert found == [f'tidegate_processes_differ{{what="{must.what}"}} 0.0' for must in ALIKE]


def test_what_is_not_the_same_everywhere_is_one():
    registry = CollectorRegistry()
    registry.register(Alike(["version", "vault.keys"], lambda: ["vault.keys"]))
    page = generate_latest(registry).decode()
    assert 'what="version"} 0.0' in page and 'what="vault.keys"} 1.0' in page

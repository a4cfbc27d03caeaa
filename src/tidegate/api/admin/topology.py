"""Who serves, and do they agree?"""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, Field

from tidegate.api.admin.moments import iso
from tidegate.api.admin.policy import Administering
from tidegate.api.admin.shapes import paths
from tidegate.core.topology import Process, Topology, disagreements

router = paths("/admin/topology", "topology")


class ShownProcess(BaseModel):
    id: Annotated[str, Field(description="Of its spool, and of its chain of the audit log.")]
    host: str
    pid: int
    worker: Annotated[str, Field(description="2/4: the second of the four of its machine.")]
    version: str
    configuration: Annotated[str, Field(description="A fingerprint of its file; none, where there is no file.")]
    keks: Annotated[list[str], Field(description="Fingerprints of the key-encrypting keys that it knows.")]
    counts_in: Annotated[str | None, Field(description="The Valkey in which it counts with others.")]
    since: str
    seen: str


class ShownTopology(BaseModel):
    processes: list[ShownProcess]
    disagreements: Annotated[list[str], Field(description="What is not alike everywhere, and what to do.")]


@router.get("")
async def show_topology(principal: Administering, request: Request) -> ShownTopology:
    """All processes that said in the last half minute that they are there, and what is not alike in all of them."""
    topology: Topology = request.app.state.topology
    found = await topology.seen()
    return ShownTopology(
        processes=[_shown(one) for one in found], disagreements=[one.said for one in disagreements(found)]
    )


def _shown(one: Process) -> ShownProcess:
    return ShownProcess(
        id=one.id, host=one.host, pid=one.pid, worker=one.worker, version=one.version,
        configuration=one.configuration, keks=list(one.keks), counts_in=one.counts_in or None,
        since=iso(one.since_ms, UTC), seen=iso(one.seen_ms, UTC),
    )  # fmt: skip

"""A run of a suite in the house: over a real socket, as from a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.house import House
from tidegate import plugins
from tidegate.cli.evals.suites import PLUGINS
from tidegate.core.scores import Case
from tidegate.jobs.evals.door import Door
from tidegate.jobs.evals.journal import begin
from tidegate.jobs.evals.judge import nobody_may
from tidegate.jobs.evals.results import Results, Run
from tidegate.jobs.evals.run import Means, go
from tidegate.jobs.evals.subject import Model, Subject
from tidegate.jobs.evals.suite import Ready, Suite, ready
from tidegate.providers.transport import HttpTransport

for name in plugins.names("scorers"):
    plugins.find("scorers", name)  # loaded now: in a test it would block the loop


class Found(NamedTuple):
    results: Results
    halt: str


async def no_embedding(text: str) -> bytes:
    raise AssertionError("nobody embeds here")


@asynccontextmanager
async def door(house: House, run: str = "r", key: str = "") -> AsyncIterator[Door]:
    transport = HttpTransport()
    async with house.serve() as url:
        try:
            yield Door(transport, url, key or house.key, run)
        finally:
            await transport.aclose()


def prepared(*cases: Case | str, scorers: tuple[dict[str, Any], ...] = (), **fields: Any) -> Ready:
    found = tuple(
        Case(id=case, input=case, expected_elements=(case,)) if isinstance(case, str) else case for case in cases
    )
    return ready(Suite(name="s", cases=found, scorers=scorers or ({"type": "contains"},), **fields), PLUGINS)


async def run(
    house: House,
    found: Ready,
    out: Path,
    *,
    key: str = "",
    subject: Callable[[Door], Subject] | None = None,
    **means: Any,
) -> Found:
    suite = found.suite
    line = Run(
        id="r" * 32, suite=suite.name, suite_hash=found.hash, subject=":".join(suite.answers),
        cases=tuple(case.id for case in suite.cases), repeats=suite.repeats,
    )  # fmt: skip
    journal = await asyncio.to_thread(begin, out, line)
    try:
        async with door(house, "r" * 32, key) as at:
            asked = subject(at) if subject else Model(at, "fast", suite.parameters, fresh=suite.repeats > 1)
            halt = await go(found, journal, Means(asked, at, no_embedding, **{"may_gate": nobody_may, **means}))
            return Found(journal.results, halt)
    finally:
        journal.close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"

"""The guide's test function is a test: pytest runs it in a process of its own, over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import House
from tests.jobs.evals.judging import JudgeServer, Prompt, said
from tests.jobs.evals.test_judge import CONFIG

TESTS = """
import pytest

CASES = [
    ("How do I get my money back?", ["refund", "14 days"]),
    ("Where is my parcel?", ["tracking"]),
]

@pytest.mark.parametrize(("query", "expected_elements"), CASES)
@pytest.mark.tidegate_eval(model="fast", judge="judge", criteria=["accuracy"], repeats=2)
def test_support(tidegate_eval, query, expected_elements):
    found = tidegate_eval(query, expected_elements=expected_elements)
    assert found.overall_score >= 7 and found.recommendation == "PASS"
    assert not found.faults

@pytest.mark.tidegate_eval(model="fast")
def test_that_fails(tidegate_eval):
    found = tidegate_eval("How do I get my money back?", expected_elements=["never"])
    assert not found.faults

def test_an_answer_of_mine(tidegate_eval):
    found = tidegate_eval("hi", answer="hello", scorers=[{"type": "regex", "pattern": "^h"}])
    assert found.passed and found.answer == "hello"

@pytest.mark.tidegate_eval(modle="fast")
def test_that_is_wrong(tidegate_eval):
    pass
"""


@pytest.fixture
async def judged(build_house: Any) -> AsyncIterator[House]:
    def verdict(prompt: Prompt) -> str:
        return said(prompt.code, evidence=prompt.texts["ANSWER"], scores={"accuracy": 8})

    server = JudgeServer(verdict)
    await server.start()
    yield await build_house(CONFIG.format(address=server.address))
    await server.aclose()


async def pytest_run(folder: Path, url: str, key: str) -> str:
    await asyncio.to_thread((folder / "conftest.py").write_text, 'pytest_plugins = ["tidegate.testing"]\n', "utf-8")
    await asyncio.to_thread((folder / "test_support.py").write_text, TESTS, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:valkey", "-rA"),
        "test_support.py",
        cwd=folder,
        env={"TIDEGATE_URL": url, "TIDEGATE_KEY": key, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_the_guides_test_function_works_as_a_test(judged, tmp_path: Path):
    judged.provider("main").always("A refund takes 14 days; here is the tracking of your parcel.")
    async with judged.serve() as url:
        told = await pytest_run(tmp_path, url, judged.key)
    assert "3 passed" in told and "1 failed" in told and "1 error" in told, told
    assert "#1: elements: 0 (scored): without 'never'" in told
    assert "tidegate_eval: no 'modle'; there are: url, key, model, judge" in told
    rows = await judged.rows()
    assert [row.route for row in rows].count("judge") == 4  # two questions, twice each
    assert {row.kind for row in rows} == {"eval"}

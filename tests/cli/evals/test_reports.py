"""tidegate eval report: where it is written."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from tests.cli.evals.test_changes import answers, written
from tests.jobs.evals.test_compare import run
from tidegate.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written("base.jsonl", run(answers(100)))
    written("head.jsonl", run(answers(80)))
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["eval", *words])


def test_a_run_is_told_as_markdown_unless_a_file_is_named():
    done = call("report", "head.jsonl")
    assert done.exit_code == 0 and done.stdout.startswith("### s: 80.0%"), done.output
    assert call("report", "head.jsonl", "--html", "run.html").exit_code == 0
    assert Path("run.html").read_text().startswith("<!doctype html>")


def test_a_comparison_is_written_in_every_form_at_once():
    files = ("--html", "c.html", "--markdown", "c.md", "--junit", "c.xml", "--json", "-")
    done = call("compare", "base.jsonl", "head.jsonl", *files)
    assert done.exit_code == 2
    assert json.loads(done.stdout)["comparison"]["changes"][0]["verdict"] == "regressed"
    assert len(ElementTree.parse("c.xml").getroot()) == 2 and "regressed" in Path("c.md").read_text()
    assert "Against" in Path("c.html").read_text()


def test_a_file_that_cannot_be_written_says_why():
    done = call("report", "head.jsonl", "--html", "none/run.html")
    assert done.exit_code == 3 and "cannot write none/run.html" in done.output

"""What was imported is written as a suite, and reads as the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidegate.cli.evals.suites import PLUGINS
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.suites import Imported, written
from tidegate.jobs.evals.suite import Ready, load, ready


def again(found: Imported, folder: Path) -> Ready:
    path = folder / "suite.yaml"
    path.write_text(written(found.suite), encoding="utf-8")
    first, second = ready(found.suite, PLUGINS), load(path, PLUGINS)
    assert second.suite == first.suite and second.hash == first.hash and second.asked == first.asked
    return second


def scorer_types(case: Case) -> list[Any]:
    return [one["type"] for one in case.scorers]

"""What of a run is done already? Its file grows by a line for each answer, so that a crash costs none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.results import Answer, Results, Run
from tidegate.jobs.evals.subject import read_run


class Journal:
    """The file of one run, open for more."""

    def __init__(self, path: Path, run: Run, answers: Sequence[Answer], *, resumed: bool) -> None:
        self.path = path
        self.run = run
        self.answers = list(answers)
        self.resumed = resumed
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # answers may be private
        if not resumed:
            self._write(run)

    @property
    def results(self) -> Results:
        return Results(self.run, tuple(self.answers))

    def add(self, answer: Answer) -> None:
        self._write(answer)
        self.answers.append(answer)

    def _write(self, line: Run | Answer) -> None:
        rest = memoryview(msgspec.json.encode(line) + b"\n")
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)


def begin(path: Path, run: Run) -> Journal:
    """A new file, or what is missing of the one that is there. Raises ConfigError for one of another run."""
    if not path.exists() or not path.stat().st_size:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Journal(path, run, (), resumed=False)
    found = read_run(path)
    before = found.run
    for what, was, now in (
        ("the suite (its cases, scorers or texts)", before.suite_hash, run.suite_hash),
        ("the subject", before.subject, run.subject),
        ("the number of repeats", before.repeats, run.repeats),
    ):
        if was != now:
            raise ConfigError(
                f"{path}: {what} has changed since this run began ({was}, now {now}); it is kept as it is, "
                f"{len(found.missing)} of {len(before.cases) * before.repeats} answers are missing; "
                "put back what was changed, or begin another run with another --out"
            )
    _cut(path)
    return Journal(path, before, found.answers, resumed=True)


def _cut(path: Path) -> None:
    """What a crash left of a last line: the next one begins on a line of its own."""
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)

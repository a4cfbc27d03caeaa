"""What stands in the file of a run, and what is missing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.jobs.evals.results import Answer, Run, Score, read

RUN = Run(id="r1", suite="support", suite_hash="0" * 16, subject="route:fast", cases=("a", "b"), repeats=2)


def written(path: Path, *lines: object, tail: bytes = b"") -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + tail)
    return path


def test_what_is_cut_off_is_missing_and_what_is_there_twice_counts_once(tmp_path: Path):
    first, again = Answer(case="a", repeat=0, text="one"), Answer(case="a", repeat=0, text="two")
    found = read(written(tmp_path / "run.jsonl", RUN, first, again, tail=b'{"case":"b","rep'))
    assert found.answers == (first,)
    assert found.missing == [("a", 1), ("b", 0), ("b", 1)]


def test_a_file_that_is_no_run_is_an_error_that_names_the_line(tmp_path: Path):
    with pytest.raises(ValueError, match="line 1 is no run"):
        read(written(tmp_path / "one", {"case": "a"}))
    with pytest.raises(ValueError, match="line 2 is no answer"):
        read(written(tmp_path / "two", RUN, {"what": 1}))


@pytest.mark.parametrize(
    ("scores", "error", "passed"),
    [
        ((), "", None),
        ((), "upstream_unavailable", False),
        ((Score(scorer="a", value=1, passed=True), Score(scorer="b", value=0.3)), "", True),
        ((Score(scorer="a", value=1, passed=True), Score(scorer="b", value=0, passed=False)), "", False),
        ((Score(scorer="judge", value=2, passed=False, advisory=True),), "", None),
        ((Score(scorer="judge", outcome="malformed"),), "", None),
    ],
)
def test_an_answer_has_passed_when_all_who_may_say_so(scores: tuple[Score, ...], error: str, passed: bool | None):
    assert Answer(case="a", repeat=0, scores=scores, error=error).passed is passed

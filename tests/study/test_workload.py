"""The workload: the same from one seed, at the shares that are written down, and with what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.study.workload import Law, workload


def test_the_same_seed_asks_the_same():
    assert workload(3, 200, before=50) == workload(3, 200, before=50)
    assert workload(3, 200) != workload(4, 200)


def test_of_every_question_it_is_known_what_is_right():
    work = workload(0, 1500, before=100)
    asked = [ask for ask in (*work.asks, *work.before) if ask.kind != "attack"]
    assert all(work.known[ask.line].mark == ask.mark for ask in asked)
    assert all(known.mark in known.answer for known in work.known.values())
    records = [ask for ask in asked if ask.kind == "documents"]
    assert all(work.known[ask.line].needs in ask.text for ask in records)


def test_no_two_answers_are_taken_for_each_other():
    marks = {known.mark: known.answer for known in workload(0, 10).known.values()}
    wrong = [(mark, said) for mark in marks for other, said in marks.items() if mark != other and mark in said]
    assert wrong == []


def test_shares_are_those_of_the_law():
    law = Law(hard=0.1, documents=0.2, analytics=0.1, again=0.0, attack=0.05, personal=0.2)
    work = workload(0, 4000, law=law)
    counts = {kind: sum(ask.kind == kind for ask in work.asks) / 4000 for kind in ("documents", "analytics", "attack")}
    assert counts == pytest.approx({"documents": 0.2, "analytics": 0.1, "attack": 0.05}, abs=0.02)
    support = [ask for ask in work.asks if ask.kind == "support"]
    assert sum(work.known[ask.line].hard for ask in support) / 4000 == pytest.approx(0.1, abs=0.02)
    assert all(value in ask.text for ask in support for value in ask.planted)


def test_a_steeper_law_repeats_itself_more():
    def distinct(zipf: float) -> int:
        work = workload(0, 1500, law=Law(zipf=zipf, again=0.0))
        return len({ask.text for ask in work.asks if ask.kind == "support"})

    assert distinct(1.2) < distinct(0.8) < distinct(0.0)


def test_calls_come_in_bursts_at_the_pace_that_is_said():
    times = [ask.at_s for ask in workload(0, 4000).asks]
    assert times == sorted(times)
    assert 4000 / times[-1] == pytest.approx(8.0, rel=0.25)


def test_data_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"banking77_train\.csv"):
        workload(0, 10, data=tmp_path)


def test_real_questions_and_real_times_are_taken_where_they_are(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "traces").mkdir()
    for part in ("train", "test"):
        (tmp_path / "cache" / f"banking77_{part}.csv").write_text(
            f"text,category\nWhere is my {part}?,lost\nPay?,pay\n"
        )
    times = "".join(f"2023-11-16 18:00:{at:02}.0000000,10,10\n" for at in range(50))
    (tmp_path / "traces" / "azure_llm_conv.csv").write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{times}")
    work = workload(0, 100, data=tmp_path)
    lines = {ask.line for ask in work.asks if ask.kind == "support" and not work.known[ask.line].hard}
    assert lines == {"Where is my train?", "Where is my test?", "Pay?"}
    assert work.known["Pay?"].mark != work.known["Where is my train?"].mark


@pytest.mark.parametrize(
    ("questions", "times", "error"),
    [
        ("text,category\nPay?,pay\n", None, "a head and two rows"),
        ("text\nPay?\nWhere?\n", None, "row 2: a question and its intent"),
        ("text,category\nPay?,pay\n,lost\n", None, "row 3: a question and its intent"),
        ("text,category\nPay?,pay\nWhere?,lost\n", "when\n1\n2\n", "a column TIMESTAMP"),
        ("text,category\nPay?,pay\nWhere?,lost\n", "TIMESTAMP\nnow\nthen\n", "a column TIMESTAMP"),
    ],
)
def test_data_that_is_not_what_it_should_be_is_named(tmp_path: Path, questions: str, times: str | None, error: str):
    (tmp_path / "cache").mkdir()
    (tmp_path / "traces").mkdir()
    for part in ("train", "test"):
        (tmp_path / "cache" / f"banking77_{part}.csv").write_text(questions)
    (tmp_path / "traces" / "azure_llm_conv.csv").write_text(times or "")
    with pytest.raises(ConfigError, match=error):
        workload(0, 10, data=tmp_path)

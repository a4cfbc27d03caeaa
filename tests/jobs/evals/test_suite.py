"""A suite is read with care: what is wrong in it is told before it costs anything, by line, case and nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.cli.evals.suites import PLUGINS
from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case, Turn
from tidegate.jobs.evals.suite import Suite, load, ready

GOOD = """\
name: support
subject: route:fast
system: You work for {{company}}.
prompt: "Question: {{input}}"
scorers:
  - {type: contains, none: [sorry]}
cases:
  - id: refund
    input: How do I get {{money}} back?
    variables: {company: ACME}
    expected_elements: [refund, 14 days]
    tags: [billing]
    scorers: [{type: contains, name: elements}]
  - id: again
    variables: {company: ACME}
    turns: [{content: Hello}, {role: assistant, content: Hi}, {content: "What is {{company}}?"}]
    input: ""
"""


def told(tmp_path: Path, text: str) -> str:
    """What is wrong with it, without the folder."""
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as wrong:
        load(path, PLUGINS)
    return str(wrong.value).replace(f"{path}", "suite.yaml")


def test_a_suite_says_what_is_asked_and_who_looks(tmp_path: Path):
    path = tmp_path / "suite.yaml"
    path.write_text(GOOD.replace('prompt: "Question: {{input}}"\n', ""), encoding="utf-8")
    found = load(path, PLUGINS)
    assert found.suite.answers == ("route", "fast") and found.suite.cases[0].tags == ("billing",)
    assert [one.name for one in found.lookers["refund"]] == ["contains", "elements"]
    assert found.asked["refund"] == [
        {"role": "system", "content": "You work for ACME."},
        {"role": "user", "content": "How do I get {{money}} back?"},  # what is put in is not looked through again
    ]
    assert [one["content"] for one in found.asked["again"][1:]] == ["Hello", "Hi", "What is ACME?"]


def test_a_suite_in_python_is_the_same():
    found = ready(
        Suite(name="s", scorers=({"type": "contains", "all": ["x"]},), cases=(Case(id="a", input="hi"),)), PLUGINS
    )
    assert found.asked["a"] == [{"role": "user", "content": "hi"}]


def test_its_hash_is_of_what_makes_an_answer_or_a_score():
    case = Case(id="a", input="hi", turns=(Turn("x"),))
    first = Suite(name="s", scorers=({"type": "contains", "all": ["x"]},), cases=(case,))
    same = Suite(name="t", scorers=({"all": ["x"], "type": "contains"},), cases=(case,), repeats=3, max_cost_usd=1.0)
    other = Suite(name="s", scorers=({"type": "contains", "all": ["y"]},), cases=(case,))
    assert ready(first, PLUGINS).hash == ready(same, PLUGINS).hash != ready(other, PLUGINS).hash


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "{type: contains, none", "{type: contians, none",
            "suite.yaml:6: scorers[0].type: no scorer 'contians'; did you mean 'contains'?",
        ),
        ("none: [sorry]", "nome: [sorry]", "suite.yaml:6: scorers[0].nome: no such key; did you mean 'none'?"),
        ("none: [sorry]", "none: sorry", "suite.yaml:6: scorers[0].none: expected 'array', got 'str'"),
        ("{type: contains, none: [sorry]}", "{none: [sorry]}", "suite.yaml:6: scorers[0]: needs a type"),
        ("id: again", "id: refund", "suite.yaml:14: cases[1].id (refund): 'refund' is the id of cases[0] too"),
        ("    tags:", "    tag:", "suite.yaml:12: cases[0].tag (refund): no such key; did you mean 'tags'?"),
        (
            "variables: {company: ACME}\n    exp", "variables: {compny: ACME}\n    exp",
            "cases[0] (refund): the variable 'company' has no value here; did you mean 'compny'?",
        ),
        ("name: elements", "name: contains, type: x", "suite.yaml:13: cases[0].scorers[0].type: stands twice"),
        (
            "subject: route:fast", "subject: rout:fast",
            "suite.yaml:2: subject: rout: is nobody who answers; did you mean 'route'?",
        ),
        ("subject:", "subjects:", "suite.yaml:2: subjects: no such key; did you mean 'subject'?"),
        (
            "    expected_elements: [refund, 14 days]\n", "",
            "suite.yaml:8: cases[0] (refund): elements: there are no words to look for",
        ),
        ("role: assistant", "role: robot", "invalid enum value 'robot'"),
        ("name: support", "repeats: 0", "suite.yaml:1: repeats: expected 'int' >= 1"),
        ('    input: ""', "    input: [", "suite.yaml:18: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_line_and_nearest_name(tmp_path: Path, before: str, after: str, message: str):
    assert before in GOOD
    assert message in told(tmp_path, GOOD.replace(before, after, 1))


def test_what_is_no_suite_is_told_too(tmp_path: Path):
    assert "cases: there is none" in told(tmp_path, "name: x\n")
    assert "must be keys and values" in told(tmp_path, "- a\n")
    assert "nothing is asked" in told(tmp_path, "scorers: [{type: contains, all: [x]}]\ncases: [{id: a}]\n")
    assert "nobody looks at its answer" in told(tmp_path, "cases: [{id: a, input: x}]\n")
    assert "refers to itself" in told(tmp_path, "name: x\ncases: &a\n  - *a\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml", PLUGINS)

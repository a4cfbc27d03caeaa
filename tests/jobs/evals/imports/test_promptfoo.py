from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.jobs.evals.imports.roundtrip import again, scorer_types
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.imports.promptfoo import NoCounterpart, imported, scorer_of, short

CONFIG = """\
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Letters to customers
prompts:
  - |-
    [{"role": "system", "content": "You write for {{shop}}."}, {"role": "user", "content": "Answer: {{letter}}"}]
  - "Second: {{letter}}"
providers:
  - id: openai:chat:gpt-4o-mini
    config: {temperature: 0, max_tokens: 200, organization: acme}
  - anthropic:messages:claude-sonnet
defaultTest:
  vars: {shop: ACME}
  assert:
    - {type: latency, threshold: 2000}
    - {type: not-icontains, value: as an AI}
tests:
  - description: asks for money back
    vars: {letter: "Where is my money?"}
    metadata: {area: billing}
    assert:
      - {type: icontains-all, value: [refund, 14 days], metric: elements}
      - {type: llm-rubric, value: is polite, threshold: 0.8}
      - {type: javascript, value: "output.length < 100"}
      - {type: similar, value: "You get it back in 14 days.", threshold: 0.6}
  - vars:
      letter: [Hello, Bonjour]
      shop: [ACME, Globex]
    assert:
      - {type: regex, value: "(?i)hello|bonjour"}
  - file://more.csv
outputPath: out.json
"""


def test_prompts_variables_and_assertions_are_ours(tmp_path: Path):
    found = imported(CONFIG, "promptfooconfig.yaml")
    suite = again(found, tmp_path).suite
    assert (suite.name, suite.subject) == ("Letters to customers", "model:openai/gpt-4o-mini")
    assert (suite.system, suite.prompt) == ("You write for {{shop}}.", "Answer: {{letter}}")
    assert suite.parameters == {"temperature": 0, "max_tokens": 200}
    assert [one["type"] for one in suite.scorers] == ["latency", "contains"]
    assert [case.id for case in suite.cases] == ["asks-for-money-back", "test-1", "test-1-2", "test-1-3", "test-1-4"]
    first = suite.cases[0]
    assert first.variables == {"shop": "ACME", "letter": "Where is my money?"} and first.tags == ("area:billing",)
    assert scorer_types(first) == ["contains", "rubric", "similarity"] and first.scorers[0]["name"] == "elements"
    assert first.scorers[1]["pass_at"] == pytest.approx(8.2) and first.reference == "You get it back in 14 days."
    assert {(case.variables["letter"], case.variables["shop"]) for case in suite.cases[1:]} == {
        ("Hello", "ACME"), ("Hello", "Globex"), ("Bonjour", "ACME"), ("Bonjour", "Globex"),
    }  # fmt: skip


def test_what_has_no_counterpart_is_told():
    assert imported(CONFIG, "promptfooconfig.yaml").left_out == [
        "prompts[1]: a suite has one prompt; import again without the first",
        "providers[1]: run the suite again with --subject",
        "tests[0].assert[2]: javascript: nothing here is like it",
        "tests[2]: file://more.csv: only tests that stand here are read",
        "outputPath: nothing here is like it",
    ]


@pytest.mark.parametrize(
    ("assertion", "wanted"),
    [
        ({"type": "contains", "value": "x"}, {"type": "contains", "all": ["x"], "case_sensitive": True}),
        ({"type": "contains-any", "value": "x, y"}, {"type": "contains", "any": ["x", "y"], "case_sensitive": True}),
        ({"type": "starts-with", "value": "a.b"}, {"type": "regex", "pattern": "^a\\.b"}),
        ({"type": "not-regex", "value": "x"}, {"type": "regex", "pattern": "x", "absent": True}),
        ({"type": "equals", "value": "x"}, {"type": "equality", "to": "x", "read": "exact"}),
        ({"type": "equals", "value": {"a": 1}}, {"type": "equality", "to": '{"a":1}', "read": "json"}),
        ({"type": "is-json"}, {"type": "schema"}),
        ({"type": "is-json", "value": {"type": "object"}}, {"type": "schema", "schema": {"type": "object"}}),
        ({"type": "cost", "threshold": 0.01}, {"type": "cost", "at_most_usd": 0.01}),
        ({"type": "is-refusal"}, {"type": "refusal", "wanted": True}),
        ({"type": "factuality", "value": "x"}, {"type": "reference", "model": ["judge"]}),
        ({"type": "context-faithfulness", "threshold": 0.9}, {"type": "faithful", "model": ["judge"], "pass_at": 0.9}),
    ],
)
def test_each_assertion_has_its_scorer(assertion: dict[str, Any], wanted: dict[str, Any]):
    assert scorer_of(assertion)[0] == wanted


def test_an_assertion_in_a_cell_is_read_too():
    assert short("icontains: hello")[0] == {"type": "contains", "all": ["hello"]}
    assert short("latency(500): ")[0] == {"type": "latency", "at_most": "500.0ms"}
    assert short("Note: this is it")[0]["to"] == "Note: this is it"
    assert short("grade: is polite")[0]["type"] == "rubric"
    with pytest.raises(NoCounterpart):
        short("javascript: output.length")


def test_what_is_no_configuration_is_told():
    with pytest.raises(ConfigError, match="is no configuration of promptfoo"):
        imported("prompts: [x]\n", "p.yaml")
    many = "tests: [{vars: {" + ", ".join(f"v{n}: [1, 2]" for n in range(20)) + "}}]"
    with pytest.raises(ConfigError, match="makes more than 10000 cases"):
        imported(many, "p.yaml")

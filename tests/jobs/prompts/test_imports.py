"""Prompts of other tools, and what of them has no counterpart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.core.prompts import Wording, complete
from tidegate.jobs.prompts.files import wording_of
from tidegate.jobs.prompts.imports import guide, langfuse, promptfoo

LANGFUSE = [
    {
        "name": "movie critic/de",
        "version": 2,
        "type": "chat",
        "prompt": [
            {"role": "system", "content": "As a {{level}} critic. @@@langfusePrompt:name=rules|version=3@@@"},
            {"type": "placeholder", "name": "history"},
            {"role": "user", "content": "{{movie}}?"},
        ],
        "config": {"model": "gpt-4o", "temperature": 0.5, "supported_languages": ["de"]},
        "labels": ["production", "latest"],
        "commitMessage": "stricter",
    },
    {
        "name": "movie critic/de",
        "version": 1,
        "type": "text",
        "prompt": "Is {{movie}} good?",
        "labels": [],
        "config": {},
    },
]


@pytest.mark.parametrize(
    "text", [json.dumps(LANGFUSE), json.dumps({"data": LANGFUSE}), "\n".join(map(json.dumps, LANGFUSE))]
)
def test_langfuse_s_versions_come_in_order_with_their_labels(text):
    first, second = langfuse(text, "export.json").found
    assert first.id == second.id == "movie-critic-de"
    assert first.fields == {"template": "Is {{movie}} good?"} and first.labels == ()
    assert second.fields["messages"] == [
        {"role": "system", "content": "As a {{level}} critic. {{> rules@3}}"},
        {"role": "user", "content": "{{movie}}?"},
    ]
    assert second.fields["parameters"] == {"temperature": 0.5}
    assert (second.labels, second.note) == (("production",), "stricter")


def test_what_langfuse_has_and_we_have_not_is_told():
    left_out = langfuse(json.dumps(LANGFUSE), "export.json").left_out
    assert [line.partition(": ")[2] for line in left_out] == [
        "placeholder history: a call's own messages follow the prompt's",
        "config.model: a call says which route answers",
        "config.supported_languages: nothing here is like it",
    ]


def test_promptfoo_s_prompts_are_read_from_a_configuration_and_from_files(tmp_path: Path):
    (tmp_path / "two.txt").write_text("Hello {{name}}\n---\nHi {{name}}\n", encoding="utf-8")
    (tmp_path / "chat.json").write_text('[{"role": "system", "content": "Be {{mood}}"}]', encoding="utf-8")
    file = tmp_path / "promptfooconfig.yaml"
    text = """
prompts:
  - 'Say {{word | upper}}'
  - {label: My chat, raw: '[{"role": "user", "content": "{{q}}"}]'}
  - file://two.txt
  - file://chat.json
  - file://prompt.py
providers: [openai:gpt-5]
"""
    file.write_text(text, encoding="utf-8")
    imported = promptfoo(text, str(file))
    assert {one.id: one.fields for one in imported.found} == {
        "promptfooconfig-1": {"template": "Say {{word | upper}}"},
        "My-chat": {"messages": [{"role": "user", "content": "{{q}}"}]},
        "two-1": {"template": "Hello {{name}}"},
        "two-2": {"template": "Hi {{name}}"},
        "chat": {"messages": [{"role": "system", "content": "Be {{mood}}"}]},
    }
    assert any("prompt.py" in line for line in imported.left_out)
    assert any("filters and blocks" in line for line in imported.left_out)


def test_the_guide_s_prompts_keep_their_versions_and_their_braces():
    text = json.dumps({
        "support": {
            "current": "Answer {question}. {{not a gap}}",
            "versions": {"v10": "ten", "v2": "two", "v1": "one"},
            "variants": {"control": "x", "variant": "other"},
        },
        "short": "Hi",
    })  # fmt: skip
    imported = guide(text, "prompts.json")
    assert [(one.id, one.fields["template"], one.labels) for one in imported.found] == [
        ("support", "one", ()), ("support", "two", ()), ("support", "ten", ()),
        ("support", "Answer {question}. \\{{not a gap}}", ("production",)),
        ("support", "other", ("variant",)), ("short", "Hi", ("production",)),
    ]  # fmt: skip
    assert all(complete(wording_of(one.fields), {}).variables == () for one in imported.found)
    assert isinstance(wording_of(imported.found[0].fields), Wording)
    assert "the label `variant`" in imported.left_out[0]


@pytest.mark.parametrize(
    ("read", "text", "why"),
    [(langfuse, "{", "is no JSON"), (langfuse, '[{"name": "x"}]', "with `name` and `prompt`"),
     (guide, "[]", "as the guide has it"), (guide, '{"x": {}}', "needs `current`"),
     (promptfoo, "prompts: [", "x.yaml")],
)  # fmt: skip
def test_what_is_no_such_file_is_told(read, text, why):
    with pytest.raises(ConfigError, match=why):
        read(text, "x.yaml")

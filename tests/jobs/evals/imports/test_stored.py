from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.cli.evals.suites import PLUGINS
from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.stored import added, case_of, reply_of
from tidegate.jobs.evals.suite import load

ASKED = {
    "model": "fast",
    "messages": [{"role": "system", "content": "Be {{kind}}."}, {"role": "user", "content": "hi"}],
}
BODY = {"id": "req_1", "request": json.dumps(ASKED), "reply": '{"choices":[{"message":{"content":"hello"}}]}'}
SUITE = """\
# what support answers
scorers:
  - {type: contains, none: [sorry]}  # never
cases:
  - id: a
    input: hi  # short
  - id: b
    input: bye

# after the cases
name: support
"""


def test_a_thumb_down_with_a_correction_is_a_case_with_a_reference():
    found = case_of(BODY, [{"score": 0.0, "label": "rude", "correction": "Hello, how can I help?"}])
    assert (found.id, found.input, found.reference) == ("req_1", "hi", "Hello, how can I help?")
    assert found.tags == ("thumbs-down", "rude", "stored") and found.variables == {"open": "{{"}


def test_a_good_answer_is_the_reference():
    assert case_of(BODY, [{"score": 1.0}], name="greeting", good=True).reference == "hello"
    with pytest.raises(ConfigError, match="no answer of it is kept"):
        case_of(BODY | {"reply": None}, [], good=True)


def test_an_answer_is_read_whole_or_streamed_in_either_dialect():
    stream = 'data: {"choices":[{"delta":{"content":"hel"}}]}\n\ndata: {"choices":[{"delta":{"content":"lo"}}]}\n\n'
    assert reply_of(stream + "data: [DONE]\n\n") == "hello"
    assert reply_of('{"content":[{"type":"text","text":"hello"}]}') == "hello"
    parts = ["hel", "lo"]
    said = [f'data: {{"type":"content_block_delta","delta":{{"type":"text_delta","text":"{one}"}}}}' for one in parts]
    assert reply_of("event: content_block_delta\n" + "\n\n".join(said)) == "hello"
    assert reply_of('{"odd": 1}') == reply_of("") == ""


@pytest.mark.parametrize(
    "asked", ["", "[]", '{"input": "x"}', '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}']
)
def test_what_is_no_conversation_of_texts_is_no_case(asked: str):
    with pytest.raises(ConfigError, match="req_1: "):
        case_of({"id": "req_1", "request": asked}, [])


def test_one_more_case_leaves_the_rest_as_it_stands(tmp_path: Path):
    text = added(SUITE, Case(id="c", input="more: of it"), "suite.yaml")
    assert text == SUITE.replace("    input: bye\n", "    input: bye\n  - id: c\n    input: 'more: of it'\n")
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    assert [case.id for case in load(path, PLUGINS).suite.cases] == ["a", "b", "c"]


def test_a_new_suite_begins_with_it(tmp_path: Path):
    path = tmp_path / "suite.yaml"
    path.write_text(added("", case_of(BODY, [{"correction": "Hello!"}]), "suite.yaml"), encoding="utf-8")
    (case,) = load(path, PLUGINS).suite.cases
    assert case.scorers == ({"type": "reference", "model": ["judge"]},)
    path.write_text(added(path.read_text("utf-8"), Case(id="b", input="x"), "suite.yaml"), encoding="utf-8")
    assert len(load(path, PLUGINS).suite.cases) == 2


def test_cases_in_brackets_take_no_more():
    with pytest.raises(ConfigError, match="a line for each"):
        added("cases: [{id: a}]\n", Case(id="b", input="x"), "suite.yaml")
    with pytest.raises(ConfigError, match="is no suite"):
        added("- a\n", Case(id="b", input="x"), "suite.yaml")

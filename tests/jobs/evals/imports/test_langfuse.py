from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.jobs.evals.imports.roundtrip import again
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.imports.langfuse import imported

ITEMS = [
    {
        "id": "c1", "datasetName": "support", "status": "ACTIVE", "sourceTraceId": None,
        "input": {"question": "How long?", "customer": "ann"}, "expectedOutput": "14 days",
        "metadata": {"tags": ["billing"], "level": 2},
    },
    {
        "id": "c2", "datasetName": "support", "status": "ACTIVE", "metadata": None,
        "input": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
                               {"role": "user", "content": [{"type": "text", "text": "and now?"}]}]},
        "expectedOutput": {"answer": "wait"},
    },
    {"id": "c3", "datasetName": "support", "status": "ARCHIVED", "input": "old", "expectedOutput": None},
    {"id": "c4", "datasetName": "support", "status": "ACTIVE", "input": "say something", "expectedOutput": None},
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ITEMS),
        json.dumps({"data": ITEMS, "meta": {"page": 1, "totalPages": 1}}),
        "\n".join(map(json.dumps, ITEMS)),
    ],
)
def test_items_are_cases(text: str, tmp_path: Path):
    found = imported(text, "items.json", "grader")
    loaded = again(found, tmp_path)
    first, second, third = loaded.suite.cases
    assert loaded.suite.name == "support" and [case.id for case in loaded.suite.cases] == ["c1", "c2", "c4"]
    assert (first.input, first.reference, first.tags) == ("How long?", "14 days", ("billing",))
    assert first.variables == {"customer": "ann", "level": 2}
    assert first.scorers == ({"type": "reference", "model": ["grader"]},)
    assert [one["content"] for one in loaded.asked["c2"]] == ["hi", "hello", "and now?"]
    assert second.reference == '{"answer":"wait"}' and third.scorers[0]["type"] == "regex"
    assert found.left_out == [
        "c3: is archived", "c4: nothing is expected, so that only whether it says something is looked at",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [("[]", "there is no item"), ('[{"id": "a"}]', "item 1 has no input"), ("x", "items.json:1: is no JSON")],
)
def test_what_is_no_item_is_told(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        imported(text, "items.json")

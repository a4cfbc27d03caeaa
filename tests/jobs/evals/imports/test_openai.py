from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.evals.imports.roundtrip import again
from tidegate.core.errors import ConfigError
from tidegate.core.scores import Turn
from tidegate.jobs.evals.imports.openai import imported

SAMPLES = """\
{"input": [{"role": "system", "content": "Say a {{word}}."}, {"role": "user", "content": "Sky?"}], "ideal": "blue"}
{"input": "2 + 2 = ", "ideal": ["4", "four"]}

{"item": {"question": "Is it late?", "correct_label": "no", "topic": "time"}}
{"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}
"""


def test_samples_are_cases(tmp_path: Path):
    found = imported(SAMPLES, "samples.jsonl")
    loaded = again(found, tmp_path)
    sky, sum, late, last = loaded.suite.cases
    assert loaded.asked[sky.id][0]["content"] == "Say a {{word}}."  # it was said so, and is no hole of ours
    assert (sky.input, sky.reference) == ("Sky?", "blue")
    assert sky.scorers == ({"type": "contains", "all": ["blue"], "case_sensitive": True},)
    assert sum.scorers[0]["any"] == ["4", "four"] and sum.input == "2 + 2 = "
    assert (late.input, late.reference, late.variables) == ("Is it late?", "no", {"topic": "time"})
    assert last.turns == (Turn("a"), Turn("b", "assistant")) and last.input == "c"
    assert found.left_out == ["sample 4: has no ideal answer, so that only its length is looked at"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"input": "a"}\n{"input"', "s.jsonl:2: is no JSON"),
        ('{"completion": "a"}', "sample 1 asks nothing; it has completion"),
        ("[1]", "sample 1 is no object"),
        ("\n", "there is no sample"),
    ],
)
def test_what_is_no_sample_is_told(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        imported(text, "s.jsonl")

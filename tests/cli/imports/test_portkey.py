"""A Portkey config becomes one route: targets in order or by weight, and of every key it is said what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tidegate.cli import main

THEIRS = {
    "strategy": {"mode": "fallback", "on_status_codes": [429, 503]},
    "retry": {"attempts": 2, "on_status_codes": [429]},
    "cache": {"mode": "simple", "max_age": 3600},
    "targets": [
        {"provider": "openai", "virtual_key": "main-258f4d", "override_params": {"model": "gpt-4o", "top_p": 1}},
        {
            "strategy": {"mode": "loadbalance"},
            "targets": [
                {"provider": "@anthropic", "weight": 0.7, "override_params": {"model": "@anthropic/claude-sonnet-5"}},
                {"provider": "vllm", "customHost": "http://vllm:8000/v1", "weight": 0.3, "requestTimeout": 30000},
            ],
        },
        {"provider": "groq", "api_key": "gsk-very-secret"},
        {"provider": "bedrock", "api_key": "aws-secret"},
        {"virtual_key": "who-is-this"},
    ],
}  # fmt: skip


def imported(folder: Path, theirs: Any = THEIRS, *more: str) -> Result:
    (folder / "chat.json").write_text(json.dumps(theirs, indent="\t"))
    words = ["import", "portkey", str(folder / "chat.json"), "--out", str(folder / "ours.yaml"), *more]
    return CliRunner().invoke(main, words)


def test_targets_are_asked_in_order_and_by_weight_and_the_result_can_be_checked(tmp_path: Path):
    said = imported(tmp_path)
    assert said.exit_code == 0, said.output
    ours = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    route = ours["routes"]["chat"]
    assert route["targets"] == [
        {"provider": "openai", "model": "gpt-4o", "order": 1},
        {"provider": "anthropic", "model": "claude-sonnet-5", "order": 2, "weight": 70},
        {"provider": "vllm", "model": "*", "order": 2, "weight": 30},
        {"provider": "groq", "model": "*", "order": 3},
    ]
    assert (route["strategy"], route["timeout"]) == ("weighted", "30s")
    assert route["cache"] == {"exact": True, "ttl": "3600s"}
    assert ours["providers"]["vllm"] == {"type": "openai", "base_url": "http://vllm:8000/v1"}
    assert ours["upstream"] == {"retry": {"tries": 3}}
    env = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GROQ_KEY_4": "c"}
    checked = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "ours.yaml")], env=env)
    assert checked.exit_code == 0, checked.output


def test_of_every_key_it_is_said_what_became_of_it_and_no_secret_is_shown(tmp_path: Path):
    said = imported(tmp_path).output
    for line in (
        "changed    targets[0].virtual_key: its key is at Portkey: put it into the environment as OPENAI_API_KEY",
        "left out   targets[0].override_params.top_p",
        "changed    targets[2].api_key: was a secret in the file: put it into the environment as GROQ_KEY_4",
        "left out   targets[3].provider: 'bedrock' is neither known nor OpenAI's API",
        "left out   targets[4].provider: the account that it names is Portkey's",
        "left out   strategy.on_status_codes: Tidegate goes by what went wrong",
        "changed    retry.attempts",
    ):
        assert line in said
    assert "secret" not in said.replace("was a secret", "") and "secret" not in (tmp_path / "ours.yaml").read_text()


def test_one_target_alone_and_a_name_of_its_own(tmp_path: Path):
    said = imported(tmp_path, {"provider": "openai", "api_key": "sk-secret"}, "--route", "any-*")
    assert said.exit_code == 0, said.output
    ours = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert ours["routes"] == {"any-*": {"targets": [{"provider": "openai", "model": "*"}]}}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"strategy": {"mode": "conditional"}, "targets": [{"provider": "openai"}]}, "nothing in it can be asked"),
        ({"strategy": {"mode": "fallback"}, "targets": ["openai"]}, "targets[0]: keys and values are expected"),
        ([1], "keys and values are expected"),
        ({}, "nothing in it can be asked"),
    ],
)
def test_what_cannot_be_taken_over_writes_nothing(tmp_path: Path, theirs: Any, words: str):
    said = imported(tmp_path, theirs)
    assert said.exit_code == 1 and words in said.output and not (tmp_path / "ours.yaml").exists()

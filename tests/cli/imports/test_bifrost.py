"""A Bifrost config.json becomes providers, asked for as provider/model as before; what has no place is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tidegate.cli import main

THEIRS = {
    "encryption_key": "env.BIFROST_ENCRYPTION_KEY",
    "providers": {
        "openai": {
            "keys": [
                {"name": "one", "value": "env.OPENAI_API_KEY", "models": ["gpt-4o"], "weight": 0.6},
                {"name": "two", "value": "sk-very-secret", "models": ["gpt-4o-mini"], "weight": 0.4},
            ],
            "network_config": {"max_retries": 2, "default_request_timeout_in_seconds": 30, "extra_headers": {"a": "b"}},
            "concurrency_and_buffer_size": {"concurrency": 3, "buffer_size": 10},
        },
        "anthropic": {
            "keys": [{"value": "env.ANTHROPIC_API_KEY", "models": ["*"]}],
            "network_config": {"max_retries": 4},
        },
        "ollama": {"keys": [], "network_config": {"base_url": "http://ollama:11434"}},
        "ours": {
            "keys": [{"value": "env.OURS_KEY"}],
            "network_config": {"base_url": "https://models.example.com"},
            "custom_provider_config": {"base_provider_type": "openai"},
        },
        "bedrock": {"keys": [{"bedrock_key_config": {"secret_key": "aws-secret"}}]},
    },
    "governance": {"virtual_keys": [{"id": "vk", "value": "sk-bf-secret"}]},
    "client": {"enable_logging": True},
}  # fmt: skip


def imported(folder: Path, theirs: Any = THEIRS) -> Result:
    (folder / "config.json").write_text(json.dumps(theirs))
    words = ["import", "bifrost", str(folder / "config.json"), "--out", str(folder / "ours.yaml")]
    return CliRunner().invoke(main, words)


def test_providers_are_there_and_the_result_can_be_checked(tmp_path: Path):
    said = imported(tmp_path)
    assert said.exit_code == 0, said.output
    ours = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert ours["providers"] == {
        "openai": {
            "type": "openai", "keys": ["env:OPENAI_API_KEY", "env:OPENAI_2_KEY_1"], "models": ["gpt-4o", "gpt-4o-mini"],
        },
        "anthropic": {"type": "anthropic", "keys": ["env:ANTHROPIC_API_KEY"]},
        "ollama": {"type": "openai", "base_url": "http://ollama:11434/v1"},
        "ours": {"type": "openai", "base_url": "https://models.example.com/v1", "keys": ["env:OURS_KEY"]},
    }  # fmt: skip
    assert ours["upstream"] == {"retry": {"tries": 5}, "first_token": "30s"}
    env = {"OPENAI_API_KEY": "a", "OPENAI_2_KEY_1": "b", "ANTHROPIC_API_KEY": "c", "OURS_KEY": "d"}
    checked = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "ours.yaml")], env=env)
    assert checked.exit_code == 0, checked.output


def test_of_every_key_it_is_said_what_became_of_it_and_no_secret_is_shown(tmp_path: Path):
    said = imported(tmp_path).output
    for line in (
        "changed    providers.openai.keys[1].value: was a secret in the file",
        "left out   providers.openai.keys[0].weight: several keys of a provider take turns",
        "left out   providers.openai.network_config.extra_headers",
        "left out   providers.openai.concurrency_and_buffer_size.concurrency: calls at once are bounded",
        "changed    providers.ollama.network_config.base_url: with /v1",
        "left out   providers.bedrock: 'bedrock' is neither known",
        "left out   governance: keys, teams and budgets are made by commands",
        "left out   encryption_key: what is stored is sealed by vault.keys",
        "left out   client.enable_logging",
    ):
        assert line in said
    assert "very-secret" not in said and "secret" not in (tmp_path / "ours.yaml").read_text()


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({}, "providers: is needed"),
        ({"providers": {"openai": []}}, "providers.openai: keys and values are expected"),
        ({"providers": {"bedrock": {}}}, "nothing here can be asked"),
    ],
)
def test_what_cannot_be_taken_over_writes_nothing(tmp_path: Path, theirs: Any, words: str):
    said = imported(tmp_path, theirs)
    assert said.exit_code == 1 and words in said.output and not (tmp_path / "ours.yaml").exists()

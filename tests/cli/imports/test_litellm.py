"""A LiteLLM configuration becomes ours: each key is taken over, changed or left out, and all of it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tidegate.cli import main

THEIRS = """
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 100, weight: 2, timeout: 30}
    model_info: {mode: chat}
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: sk-very-secret, rpm: 50, max_parallel_requests: 7}
  - model_name: claude
    litellm_params: {model: claude-sonnet-5, api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: own
    litellm_params: {model: hosted_vllm/llama, api_base: "http://vllm:8000/v1"}
  - model_name: cloud
    litellm_params: {model: bedrock/titan, aws_region_name: eu-west-1}
router_settings:
  routing_strategy: least-busy
  num_retries: 2
  allowed_fails: 3
  cooldown_time: 60
  model_group_alias: {gpt-old: gpt}
  fallbacks: [{gpt: [claude, own]}, {claude: [gpt]}]
  redis_host: localhost
litellm_settings: {cache: true, cache_params: {type: redis, ttl: 600}, drop_params: true, max_budget: 100}
general_settings: {master_key: sk-master-secret}
"""


def imported(folder: Path, text: str = THEIRS) -> Result:
    (folder / "theirs.yaml").write_text(text)
    words = ["import", "litellm", str(folder / "theirs.yaml"), "--out", str(folder / "ours.yaml")]
    return CliRunner().invoke(main, words)


def test_what_has_a_place_is_there_and_can_be_checked(tmp_path: Path):
    said = imported(tmp_path)
    assert said.exit_code == 0, said.output
    ours = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert ours["providers"]["openai"] == {"type": "openai", "keys": ["env:OPENAI_API_KEY"]}
    assert ours["providers"]["hosted_vllm"] == {"type": "openai", "base_url": "http://vllm:8000/v1"}
    gpt = ours["routes"]["gpt"]
    assert gpt["targets"] == [
        {"provider": "openai", "model": "gpt-4o", "weight": 2},
        {"provider": "openai-2", "model": "gpt-4o", "max_concurrent": 7},
    ]
    assert (gpt["limits"], gpt["timeout"]) == ([{"of": "requests", "most": 150, "per": "60s"}], "30s")
    assert (gpt["fallback"], gpt["aliases"], gpt["strategy"]) == ("claude", ["gpt-old"], "least_busy")
    assert gpt["cache"] == {"exact": True, "ttl": "600s"}
    assert ours["upstream"] == {"retry": {"tries": 3}, "breaker": {"failures": 4, "open_for": "60s"}}
    env = {"OPENAI_API_KEY": "a", "OPENAI_KEY_2": "b", "ANTHROPIC_API_KEY": "c"}
    checked = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "ours.yaml")], env=env)
    assert checked.exit_code == 0, checked.output


def test_of_every_key_it_is_said_what_became_of_it_and_no_secret_is_shown(tmp_path: Path):
    said = imported(tmp_path).output
    for line in (
        "changed    model_list[1].litellm_params.api_key: was a secret in the file: put it into the environment as "
        "OPENAI_KEY_2",
        "left out   model_list[4].litellm_params.model: 'bedrock' is neither known",
        "left out   model_list[4].litellm_params.aws_region_name",
        "left out   model_list[0].model_info.mode",
        "changed    router_settings.fallbacks[0].gpt: only 'claude', which may have its own; own is left out",
        "left out   router_settings.fallbacks[1].claude: goes in a circle",
        "left out   router_settings.redis_host",
        "left out   litellm_settings.drop_params",
        "left out   litellm_settings.max_budget: a budget belongs to a key",
        "left out   general_settings.master_key: set TIDEGATE_ADMIN_KEY",
    ):
        assert line in said
    assert "secret" not in said.replace("was a secret in the file", "")
    assert "sk-" not in (tmp_path / "ours.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot be read"),
        ("- a", "keys and values are expected"),
        ("general_settings: {}", "model_list: is needed"),
        ("model_list: [{model_name: a}]", "model_list[0]: needs model_name"),
        ("model_list: [{model_name: a, litellm_params: {model: bedrock/x}}]", "nothing in it can be asked"),
    ],
)
def test_what_is_no_configuration_of_theirs_is_refused_and_nothing_is_written(tmp_path: Path, text: str, says: str):
    said = imported(tmp_path, text)
    assert said.exit_code == 1 and says in said.output
    assert not (tmp_path / "ours.yaml").exists()


def test_a_file_that_is_there_is_left_alone(tmp_path: Path):
    (tmp_path / "ours.yaml").write_text("mine")
    assert "is there already" in imported(tmp_path).output
    assert (tmp_path / "ours.yaml").read_text() == "mine"

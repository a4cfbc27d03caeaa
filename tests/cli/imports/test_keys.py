"""For each of LiteLLM's keys there is a new one with what it may do; which is which stands in one file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tidegate.cli import main

TOKEN = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
KEYS: list[dict[str, Any]] = [
    {
        "token": TOKEN, "key_name": "sk-...6b4b", "key_alias": "ci", "team_id": "t-1", "team_alias": "search",
        "models": ["gpt", "claude"], "rpm_limit": 60, "tpm_limit": 10000, "max_parallel_requests": 4, "spend": 3.5,
        "max_budget": 10.0, "budget_duration": "30d", "expires": "2999-01-01T00:00:00Z", "metadata": {"a": 1},
        "blocked": None, "allowed_routes": [],
    },
    {"token": "b" * 64, "key_alias": "once", "max_budget": 10.0, "spend": 3.5, "models": ["all-proxy-models"]},
    {"token": "c" * 64, "key_alias": "odd", "max_budget": 1.0, "budget_duration": "2h"},
    {"token": "d" * 64, "key_alias": "blocked", "blocked": True},
    {"token": "e" * 64, "key_alias": "gone", "expires": "2020-01-01T00:00:00"},
    {"token": "f" * 64, "key_alias": "narrow", "allowed_routes": ["/chat/completions"]},
    {"token": "0" * 64, "key_alias": "pattern", "models": ["openai/*"]},
    {"token": "1" * 64, "key_alias": "broken", "rpm_limit": "many"},
    {"token": "2" * 64, "key_alias": "nowhere", "team_id": "a team with blanks"},
]  # fmt: skip


def run(folder: Path, *words: str) -> Result:
    (folder / "keys.json").write_text(json.dumps({"keys": KEYS, "total_count": len(KEYS)}))
    data = ["--data-dir", str(folder / "data")]
    return CliRunner().invoke(main, [*words, *data])


def imported(folder: Path, *more: str) -> Result:
    return run(folder, "import", "litellm-keys", str(folder / "keys.json"), "--out", str(folder / "new.csv"), *more)


def test_each_key_has_a_new_one_that_may_do_the_same(tmp_path: Path):
    said = imported(tmp_path)
    assert said.exit_code == 0, said.output
    made = {row["name"]: row for row in csv.DictReader((tmp_path / "new.csv").read_text().splitlines())}
    assert list(made) == ["ci", "once", "odd"] and "made 3 of 9 keys" in said.output
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o600
    assert made["ci"]["theirs"] == TOKEN and made["ci"]["key"].startswith(f"tg_live_{made['ci']['id']}_")
    assert made["ci"]["key"] not in said.output
    shown = run(tmp_path, "keys", "show", made["ci"]["id"]).output
    for words in ("t-1", "gpt, claude", "requests=60/60s, tokens=10000/60s, at_once=4", "10/month", "2999-01-01"):
        assert words in shown
    assert "6.5/total" in run(tmp_path, "keys", "show", made["once"]["id"]).output
    assert "1/total" in run(tmp_path, "keys", "show", made["odd"]["id"]).output
    assert "search" in run(tmp_path, "teams", "list").output


def test_who_was_bound_by_what_has_no_place_here_is_left_out_and_told(tmp_path: Path):
    said = imported(tmp_path).output
    for line in (
        "left out   ci: metadata",
        "changed    once: max_budget: what was left of it, $6.5 in all",
        "changed    odd: budget_duration: for ever, and not anew each 2h",
        "left out   blocked: it is blocked",
        "left out   gone: it has expired",
        "left out   narrow: allowed_routes: it may use some paths only",
        "left out   pattern: models: it may ask for a pattern",
        "left out   broken: it cannot be read",
        "left out   nowhere: the id must be 1 to 128 letters",
    ):
        assert line in said


def test_a_look_makes_nothing_and_a_file_that_is_there_is_kept(tmp_path: Path):
    assert "would make 4 of 9 keys" in imported(tmp_path, "--dry-run").output
    assert not (tmp_path / "new.csv").exists() and not (tmp_path / "data").exists()
    (tmp_path / "new.csv").write_text("mine")
    said = imported(tmp_path)
    assert said.exit_code == 1 and "name another with --out" in said.output
    assert (tmp_path / "new.csv").read_text() == "mine" and not (tmp_path / "data").exists()


def test_bare_digests_are_no_keys(tmp_path: Path):
    (tmp_path / "bare.json").write_text(json.dumps({"keys": [TOKEN]}))
    said = run(tmp_path, "import", "litellm-keys", str(tmp_path / "bare.json"), "--out", str(tmp_path / "new.csv"))
    assert said.exit_code == 1 and "return_full_object=true" in said.output

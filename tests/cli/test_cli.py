"""What every command says when something is wrong: one line with what to do, and never a trace."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from tidegate.cli import main

GOOD = """
api: {port: 9000}
providers:
  main: {type: scripted, price: {input: 1, output: 2}}
routes:
  fast: {targets: [{provider: main, model: m}], timeout: 30s}
"""
KEY = re.compile(r"tg_[a-z]+_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def why_not(*words: str) -> str:
    """The one line that says why this does not work."""
    done = run(*words)
    assert done.exit_code == 1 and not done.stdout, done.output
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def write(text: str) -> None:
    Path("tidegate.yaml").write_text(text)


# --- check


def test_check_prints_what_a_file_comes_to():
    write(GOOD)
    done = run("check")
    assert done.exit_code == 0 and not done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["api"]["port"] == 9000 and shown["api"]["host"] == "127.0.0.1"
    assert shown["routes"]["fast"]["timeout"] == "30s"
    assert run("check", "--config", "tidegate.yaml").stdout == done.stdout


def test_what_it_prints_it_can_read():
    write(GOOD)
    first = run("check").stdout
    write(first)
    assert run("check").stdout == first


def test_it_prints_no_secret(monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-secret-one")
    Path("key").write_text("sk-secret-two\n")
    write("providers: {main: {type: openai, keys: ['env:A_KEY', 'file:key', sk-secret-three]}}\n")
    shown = run("check").stdout
    assert "sk-secret" not in shown and "env:A_KEY" in shown and "file:key" in shown


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("api: {prot: 1}\n", 1, "api.prot: no such key; did you mean 'port'?"),
        ("\n\napi:\n  host: a\n  porrt: 1\n", 5, "api.porrt: no such key; did you mean 'port'?"),
        ("ap: {}\n", 1, "ap: no such key; did you mean 'api'?"),
        ("xyzzy: {}\n", 1, "xyzzy: no such key; there are: api, console, storage"),
        ("api: {port: many}\n", 1, "api.port: expected 'int'"),
        ("api: {port: 70000}\n", 1, "api.port: expected 'int' <= 65535"),
        ("api: {head_timeout: soon}\n", 1, "api.head_timeout: a duration such as 250ms, 60s, 5m or 1h is expected"),
        ("api: {max_body: big}\n", 1, "api.max_body: a size such as 64KiB, 32MiB or 1GiB is expected"),
        ("api: {port: 1}\napi: {port: 2}\n", 1, "api: stands twice, again in line 2"),
        ("api:\n  port: 1\n host: a\n", 3, "look at the indentation and colons there"),
        ("api:\n\tport: 1\n", 2, "look at the indentation and colons there"),
        ("api: {port: 1\n", 2, "look at the indentation and colons there"),
        ("- a\n- b\n", None, "must be keys and values"),
        ("providers:\n  main: {}\n", 2, "providers.main: needs a type; there are: "),
        (
            "providers:\n  main:\n    type: opnai\n",
            3,
            "providers.main.type: no provider 'opnai'; did you mean 'openai'?",
        ),
        ("providers: {main: {type: openai, keys: ['env:NOT_THERE']}}\n", 1, "variable NOT_THERE is not set"),
        ("providers: {main: {type: openai, keys: ['file:/not/there']}}\n", 1, "the file /not/there cannot be read"),
        (GOOD.replace("provider: main", "provider: mian"), None, "no provider 'mian'; did you mean 'main'?"),
        (GOOD + "  slow: {targets: []}\n", 7, "routes.slow.targets: needs at least one"),
        (GOOD + "  slow: {targets: [{provider: main}]}\n", 7, "routes.slow.targets[0].model: is needed"),
        (GOOD + "  slow: {aliases: [fast], targets: [{provider: main, model: m}]}\n", None, "the name 'fast' is taken"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line_and_key(text, line, words):
    write(text)
    for command in ("check", "serve"):
        said = why_not(command)
        assert words in said
        if line is not None:
            assert said.startswith(f"tidegate.yaml:{line}: ")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_file_that_cannot_be_read_is_told(command):
    assert why_not(command, "--config", "nowhere.yaml") == "nowhere.yaml: cannot be read: No such file or directory"
    Path("folder").mkdir()
    assert why_not(command, "--config", "folder") == "folder: cannot be read: Is a directory"
    Path("image.yaml").write_bytes(b"\x89PNG\xff")
    assert why_not(command, "--config", "image.yaml") == "image.yaml: is not UTF-8 text"


# --- keys


def test_a_key_is_made_listed_and_revoked():
    made = run("keys", "create", "--name", "ci", "--env", "test")
    key = made.stdout.strip()
    assert made.exit_code == 0 and KEY.fullmatch(key) and "it is not shown again" in made.stderr
    id = key.split("_")[2]
    listed = run("keys", "list").stdout
    assert listed.startswith(f"{id}  member ") and " test " in listed and listed.endswith("  ci\n")
    assert key not in listed
    assert run("keys", "revoke", id).stdout == f"revoked {id}\n"
    assert "  revoked " in run("keys", "list").stdout


def test_an_admins_key_is_listed_as_one():
    run("keys", "create", "--admin")
    assert "  admin  " in run("keys", "list").stdout


def test_an_env_that_cannot_be_part_of_a_key_is_refused():
    assert why_not("keys", "create", "--env", "Live!").startswith("env must be 1 to 16 small letters")


def test_a_name_cannot_begin_a_line_of_its_own():
    run("keys", "create", "--name", "a\nfake  admin  \x1b[2J")
    listed = run("keys", "list").stdout
    assert len(listed.splitlines()) == 1 and "\x1b" not in listed


@pytest.mark.parametrize(
    "words", [("keys", "create"), ("keys", "list"), ("keys", "revoke", "x"), ("serve", "--port", "0")]
)
def test_a_data_folder_that_cannot_be_made_is_told(words):
    Path("file").write_text("")
    said = why_not(*words, "--data-dir", "file/data")
    assert "file/data" in said and "Not a directory" in said and "folder" in said


@pytest.mark.parametrize("words", [("keys", "create"), ("keys", "list"), ("serve", "--port", "0")])
def test_a_data_folder_that_cannot_be_written_is_told(words):
    folder = Path("data").resolve()
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        folder = Path("/sys")  # root may write anywhere but there
    said = why_not(*words, "--data-dir", str(folder))
    assert str(folder) in said and re.search("Read-only|denied|permitted", said)


def test_a_data_folder_of_another_program_is_left_alone():
    Path("data").mkdir()
    Path("data/tidegate.sqlite").write_text("this is no database, but somebody's letter")
    said = why_not("keys", "list", "--data-dir", "data")
    assert "data/tidegate.sqlite" in said and "move it away, or choose another" in said


# --- help


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [path]
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_explains_itself(path):
    for flag in ("--help", "-h"):
        done = run(*path, flag)
        assert done.exit_code == 0 and len(done.stdout.splitlines()) > 4


@pytest.mark.parametrize(
    "path", [(), ("serve",), ("check",), ("init",), ("keys",), ("chat",), ("doctor",)], ids=" ".join
)
def test_help_shows_examples(path):
    assert f"\n  tidegate {' '.join(path)}".rstrip() in run(*path, "--help").stdout


@pytest.mark.parametrize("words", [("srve",), ("serve", "--prot", "1"), ("serve", "--port", "70000"), ("keys", "make")])
def test_a_word_that_is_none_is_told(words):
    done = run(*words)
    assert done.exit_code == 2 and "Error: " in done.stderr and "Traceback" not in done.stderr


def test_its_version_is_told():
    assert re.fullmatch(r"tidegate, version \d+\.\d+\.\d+\n", run("--version").stdout)

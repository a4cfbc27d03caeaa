"""A name is a class, or an error that says what to do: whoever wrote a file of their own is told where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import plugins
from tidegate.core.errors import ConfigError

DOORS = ("providers", "guardrails", "routers", "scorers")
GOOD = "import msgspec\n\n\nclass Config(msgspec.Struct):\n    pass\n\n\nclass Mine:\n    pass\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def told(name: str, door: str = "guardrails") -> str:
    with pytest.raises(ConfigError) as wrong:
        plugins.config_of(plugins.find(door, name))
    return wrong.value.message


def test_one_file_in_this_folder_is_a_plugin(here: Path) -> None:
    (here / "mine_good.py").write_text(GOOD)
    mine = plugins.find("guardrails", "mine_good:Mine")
    assert mine.__name__ == "Mine" and plugins.config_of(mine).__name__ == "Config"


@pytest.mark.parametrize(
    "name", [":", ":x", "x:", ".x:y", "a..b:C", "a:b.c", "a b:C", "a\0b:C", "a:b:c", "1a:B", "./a:B"]
)
def test_what_cannot_be_a_class_is_told_how_one_is_named(name: str) -> None:
    assert told(name) == f"guardrail {name!r}: what is your own is named like package.module:Name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nclass Mine(\n", "SyntaxError: '(' was never closed (mine_wrong.py, line 2)"),
        ("x = 1\ny = z\n", "NameError: name 'z' is not defined ("),
        ("x = 1\ny = z\n", "mine_wrong.py, line 2)"),
        ("raise ValueError('no licence')\n", "ValueError: no licence ("),
        ("x = 1\nimport nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all' ("),
        ("x = 1\nimport nowhere_at_all\n", "mine_wrong.py, line 2)"),
        ("import re\nre.nothing\n", "AttributeError: module 're' has no attribute 'nothing' ("),
        ("import re\nre.nothing\n", "mine_wrong.py, line 2)"),
        ("class Other: pass\n", "has no attribute 'Mine'"),
        ("Mine = 'a secret'\n", "must be a class; what stands there is of type str"),
        ("class Mine: pass\n", "mine_wrong has no class Config, so it cannot be configured"),
    ],
)
def test_a_file_with_a_mistake_is_told_with_the_mistake_and_its_place(here: Path, text: str, message: str) -> None:
    (here / "mine_wrong.py").write_text(text)
    try:
        assert message in told("mine_wrong:Mine")
    finally:
        plugins.sys.modules.pop("mine_wrong", None)


def test_what_is_there_and_is_no_class_is_told_by_its_type_and_not_shown() -> None:
    assert told("os:path") == "must be a class; what stands there is of type module"
    assert told("os:getcwd") == "must be a class; what stands there is of type builtin_function_or_method"


def test_what_is_not_there_is_told() -> None:
    assert told("nowhere_at_all:Mine").endswith(
        "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"
    )
    assert told("os:Mine").endswith("cannot be loaded: AttributeError: module 'os' has no attribute 'Mine'")
    assert told("injektion") == "no guardrail 'injektion'; did you mean 'injection'?"


@given(st.sampled_from(DOORS), st.text(max_size=12) | st.from_regex(r"[a-z.:]{1,8}", fullmatch=True))
def test_any_name_is_a_class_or_a_mistake_that_is_told(door: str, name: str) -> None:
    try:
        plugins.config_of(plugins.find(door, name))
    except ConfigError as wrong:
        assert wrong.message


@pytest.mark.parametrize("door", DOORS)
def test_every_built_in_of_a_users_door_is_a_class_with_a_config(door: str) -> None:
    for name in plugins.BUILT_IN[door]:
        assert plugins.config_of(plugins.find(door, name))

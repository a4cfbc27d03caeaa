"""The pepper is made once, and never again in silence."""

import subprocess
import sys

import pytest

from tidegate.core.errors import ConfigError
from tidegate.storage.pepper import load_or_create_pepper


def test_it_is_made_once_and_found_again(tmp_path):
    folder = tmp_path / "new" / "data"
    pepper = load_or_create_pepper(folder)
    assert len(pepper) == 32
    assert load_or_create_pepper(folder) == pepper
    assert [path.name for path in folder.iterdir()] == ["pepper"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_nobody_else_can_read_it(tmp_path):
    load_or_create_pepper(tmp_path / "data")
    assert (tmp_path / "data" / "pepper").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31, "00" * 33, "ü" * 32])
def test_a_damaged_file_is_an_error_that_says_what_depends_on_it(tmp_path, content):
    (tmp_path / "pepper").write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="all API keys depend on it"):
        load_or_create_pepper(tmp_path)
    assert (tmp_path / "pepper").read_text("utf-8") == content


def test_a_file_that_cannot_be_read_is_an_error_that_says_what_depends_on_it(tmp_path):
    (tmp_path / "pepper").mkdir()
    with pytest.raises(ConfigError, match="all API keys depend on it"):
        load_or_create_pepper(tmp_path)


def test_processes_that_start_at_once_agree(tmp_path):
    code = f"""
import pathlib, sys
from tidegate.storage.pepper import load_or_create_pepper
sys.stdin.readline()
print(load_or_create_pepper(pathlib.Path({str(tmp_path)!r})).hex())
"""
    starters = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = []
    for starter in starters:
        starter.stdin.write("go\n")
        starter.stdin.flush()
    for starter in starters:
        said.append(starter.communicate(timeout=60)[0])
    assert len(set(said)) == 1
    assert said[0].strip() == load_or_create_pepper(tmp_path).hex()

"""Which file is tried beside the configuration?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate import config
from tidegate.app.candidate import Files
from tidegate.core.canary import fingerprint
from tidegate.core.errors import ConfigError

ONE, OTHER = "api: {port: 1}\n", "api: {port: 2} # tried\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "tidegate.yaml").write_text(ONE)
    (tmp_path / "tidegate.canary.yaml").write_text(OTHER)
    return Files(tmp_path / "tidegate.yaml", lambda path: config.parse(path.read_text(), {}, str(path)))


def test_it_is_the_one_next_to_it(files: Files):
    found = files.read()
    assert found is not None and found.config.api.port == 2 and found.fingerprint == fingerprint(OTHER.encode())


def test_none_there_is_nothing(files: Files):
    files.candidate.unlink()
    assert files.read() is None


def test_a_broken_one_says_where(files: Files):
    files.candidate.write_text("api: {prt: 2}")
    with pytest.raises(ConfigError, match=r"tidegate\.canary\.yaml:1: api\.prt: no such key; did you mean 'port'"):
        files.read()


def test_one_that_is_written_just_now_is_not_read_half(files: Files):
    def load(path: Path) -> config.Config:
        path.write_text("api: {port: 3}")
        return config.Config()

    with pytest.raises(ConfigError, match="was written just now"):
        Files(files.file, load).read()


def test_it_takes_the_place_of_the_configuration_word_by_word_and_that_is_kept(files: Files):
    files.settle(fingerprint(OTHER.encode()))
    assert files.file.read_text() == OTHER and files.before.read_text() == ONE and not files.candidate.exists()
    files.settle(fingerprint(OTHER.encode()))  # another process on this machine finds it done
    assert files.file.read_text() == OTHER and files.before.read_text() == ONE


def test_what_was_not_tried_takes_nobodys_place(files: Files):
    with pytest.raises(ConfigError, match="is not what was tried"):
        files.settle("0000000000000000")
    assert files.file.read_text() == ONE


def test_a_folder_that_nobody_may_write_in_says_what_to_do(files: Files, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tidegate.app.candidate.shutil.copy2", refuse)
    with pytest.raises(ConfigError, match=r"Permission denied; put .*canary.yaml in its place before the next start"):
        files.settle(fingerprint(OTHER.encode()))
    assert files.file.read_text() == ONE

"""Who else used the cores: counted by the system, less what we used ourselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.study.machine import CORES, TICKS_PER_S, Meter, busy_s


def stat(path: Path, busy: int) -> Path:
    path.write_text(f"cpu  {busy} 0 0 5 5 0 0 0 0 0\n")
    return path


def test_what_others_used_is_told(tmp_path: Path):
    meter = Meter(stat(tmp_path / "stat", 0))
    stat(tmp_path / "stat", TICKS_PER_S * 1000 * CORES)
    assert (meter.others() or 0) > 1


def test_what_we_used_ourselves_is_not_of_others(tmp_path: Path):
    meter = Meter(stat(tmp_path / "stat", 0))
    sum(range(10**6))
    assert meter.others() == 0


@pytest.mark.parametrize("text", [None, "", "cpu nonsense here and there and on and on\n"])
def test_a_system_that_does_not_say_is_not_guessed_at(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert busy_s(tmp_path / "stat") is None
    assert Meter(tmp_path / "stat").others() is None

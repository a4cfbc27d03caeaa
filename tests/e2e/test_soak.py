"""Does it stay as it was? The bench's soak, for a few seconds; ./run bench soak takes ten minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import ROOT, needs

pytestmark = [needs(Path("/proc/self/schedstat").exists(), "Linux's /proc"), pytest.mark.timeout(300)]

FIGURES = {
    "rss_mb_per_10k", "leaked_sockets", "leaked_tasks", "leaked_files", "loop_stall_ms_max", "rows_missing",
}  # fmt: skip


def test_nothing_is_left_of_mixed_load_and_every_call_has_its_row() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [sys.executable, "-m", "bench", "soak", "--minutes", "0.2", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figures = found["figures"]
    assert set(figures) >= FIGURES
    for name in ("leaked_sockets", "leaked_tasks", "leaked_files", "rows_missing"):
        assert figures[name] == 0, name
    assert figures["reloads"] >= 2
    assert figures["calls"] > 200  # on the slowest machine
    assert figures["status 200"] > 0
    wrong = [doubt for doubt in found["doubts"] if doubt.startswith("tidegate") and ": 50" not in doubt]
    assert not wrong, "an answer was wrong"

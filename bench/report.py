"""What does a bench hand back? Figures with their spread, or why there is none; as JSON, as a table, as a picture."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench import environments

OURS = ("httptools", "msgspec", "uvicorn", "uvloop")  # whose versions decide how fast we are


class Limit(msgspec.Struct, frozen=True):
    """What a figure must be, and what we aim at. `most`: lower is better. `timed`: a busy machine spoils it."""

    must: float
    aim: float
    most: bool = True
    timed: bool = True

    def verdict(self, value: float) -> str:
        for name, bound in (("aim", self.aim), ("met", self.must)):
            if value <= bound if self.most else value >= bound:
                return name
        return "missed"

    def __str__(self) -> str:
        sign = "≤" if self.most else "≥"
        return f"{sign} {self.must:g}" + (f" ({self.aim:g})" if self.aim != self.must else "")


class Report(msgspec.Struct):
    bench: str
    quick: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    figures: dict[str, float | None]
    missing: dict[str, str] = {}
    spread: dict[str, tuple[float, float]] = {}  # least and most over the rounds
    limits: dict[str, Limit] = {}
    verdicts: dict[str, str] = {}
    doubts: list[str] = []  # why there is no verdict
    gateways: dict[str, dict[str, float | None]] = {}
    left_out: dict[str, str] = {}  # what was not measured, and why
    rows: list[dict[str, Any]] = []

    def take(self, name: str, values: Sequence[float], why_none: str = "") -> None:
        """The median of `values` as a figure; none of them is a figure too, with its reason."""
        self.figures[name] = round(median(values), 4) if values else None
        if values:
            self.spread[name] = (round(min(values), 4), round(max(values), 4))
        else:
            self.missing[name] = why_none

    def judge(self) -> None:
        for name, limit in self.limits.items():
            value = self.figures.get(name)
            if value is not None:
                self.verdicts[name] = "no verdict" if self.doubts and limit.timed else limit.verdict(value)


def machine() -> dict[str, Any]:
    model = next(_lines("/proc/cpuinfo", "model name"), platform.processor())
    memory_kb = int(next(_lines("/proc/meminfo", "MemTotal"), "0 kB").split()[0])
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory_kb / 1e6, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in OURS}


def _lines(path: str, field: str) -> Iterator[str]:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        lines = []
    return (line.partition(":")[2].strip() for line in lines if line.startswith(field))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns that stand under each other: the first to the left, numbers to the right."""
    cells = [list(head), *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = []
    for first, *others in cells:
        numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *numbers)).rstrip())
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def figures_table(report: Report) -> str:
    def row(name: str, value: float | None) -> tuple[Any, ...]:
        low, high = report.spread.get(name, (None, None))
        spread = "" if low is None or low == high else f"{_shown(low)} … {_shown(high)}"
        limit = report.limits.get(name)
        return name, value, spread, str(limit) if limit else "", report.verdicts.get(name, "")

    lines = [table(("figure", "median", "of", "must (aim)", "verdict"), [row(*one) for one in report.figures.items()])]
    lines += [f"{name}: none, since {why}" for name, why in report.missing.items()]
    lines += [f"NO VERDICT: {doubt}" for doubt in report.doubts]
    return "\n".join(lines)


def hand_over(report: Report, say: Callable[[Report], str], json_to: str | None, plot_to: Path | None) -> None:
    """To whom it was asked for. With `--json -` people read standard error, so that a program can read the output."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1).decode()
    print(say(report), file=sys.stderr if json_to == "-" else sys.stdout, flush=True)
    if json_to == "-":
        print(encoded, flush=True)
    elif json_to:
        Path(json_to).write_text(encoded + "\n", "utf-8")
    if plot_to:
        _draw(encoded, plot_to)


def _draw(encoded: str, picture: Path) -> None:
    python = environments.python("plot")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "report.json")
        data.write_text(encoded, "utf-8")
        script = Path(__file__).with_name("plot.py")
        command = [python, script, data, picture.resolve()]
        subprocess.run(command, check=True, timeout=120, env=environments.clean(MPLCONFIGDIR=folder))

"""What does it look like? Runs in an environment of its own: plot.py REPORT.json PICTURE.png"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib  # type: ignore[import-not-found, unused-ignore]

matplotlib.use("agg")
from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

PANELS = (
    ("c16", "rps", "calls per second\n16 connections"),
    ("c16", "cpu_us", "CPU per call, µs\n16 connections"),
    ("c1", "p50_ms", "median answer, ms\none connection"),
    ("stream", "cpu_us", "CPU per stream, µs\n200 chunks"),
)
OURS, THEIRS = "#0b7285", "#adb5bd"


def draw(report: dict[str, Any], picture: Path) -> None:
    DRAWN.get(report["bench"], overhead)(report)
    doubts = "; no verdict: " + "; ".join(report["doubts"]) if report["doubts"] else ""
    machine = report["machine"]
    pyplot.figtext(0.01, 0.01, f"{machine['cpu']}, {machine['cores']} cores{doubts}"[:170], fontsize=7, color="#555555")
    pyplot.tight_layout(rect=(0, 0.04, 1, 1))
    pyplot.savefig(picture, dpi=130)


def cache(report: dict[str, Any]) -> None:
    """Hits against wrong ones among them: a point per setting."""
    _, axis = pyplot.subplots(figsize=(6.4, 4))
    for kind, colour in (("static", THEIRS), ("verified", OURS)):
        named: dict[float, list[tuple[float, float]]] = {}
        for row in report["rows"]:
            if row["kind"] == kind:
                named.setdefault(row["setting"], []).append((100 * row["hits"], 100 * row["wrong"]))
        points = [tuple(map(statistics.fmean, zip(*found, strict=True))) for _, found in sorted(named.items())]
        label = {"static": "fixed similarity threshold", "verified": "max_error 1, 2, 3, 5 %"}[kind]
        axis.plot(*zip(*points, strict=True), "o-", color=colour, label=label)
    axis.set_xlabel("hits, % of lookups")
    axis.set_ylabel("wrong, % of hits")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def overhead(report: dict[str, Any]) -> None:
    _, axes = pyplot.subplots(1, len(PANELS), figsize=(14, 3.6))
    for axis, (suite, field, title) in zip(axes, PANELS, strict=True):
        found: dict[str, list[float]] = {}
        for row in report["rows"]:
            if row["suite"] == suite and row[field] is not None:
                found.setdefault(row["target"], []).append(row[field])
        names = [name for name in ("litellm", "portkey", "tensorzero", "url", "tidegate", "direct") if name in found]
        middle = [statistics.median(found[name]) for name in names]
        bars = axis.barh(names, middle, color=[OURS if name == "tidegate" else THEIRS for name in names])
        axis.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in middle], padding=3)
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log")
        axis.margins(x=0.3)
        axis.spines[["top", "right"]].set_visible(False)


DRAWN = {"cache": cache}


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))

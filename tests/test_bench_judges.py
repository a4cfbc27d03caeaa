"""The bench of recorded judges, beside a computation that shares nothing with it.

Recorded verdicts are not ours to ship: these are drawn, in the same form. TIDEGATE_JUDGES=DIR takes those in DIR.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta
from statsmodels.stats.inter_rater import cohens_kappa

from tests.test_bench import bench

SKILLS = {"Owl": (0.96, 0.02), "Parrot": (0.75, 0.3), "Coin": (0.5, 0.0), "Contrarian": (0.2, 0.1), "First": (0.5, 0.9)}
SETS = {"Natural": 100, "Adversarial/Drawn": 320}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judges that are right so often, and so often say what stands first; some say no verdict."""
    if given := os.environ.get("TIDEGATE_JUDGES"):
        return Path(given)
    chance, rows = random.Random(4), []
    for judge, (right, first) in SKILLS.items():
        for name, count in SETS.items():
            for at in range(count):
                gold = chance.choice((1, 2))
                said: list[str | None] = []
                for shown_first in ("1", "2"):
                    verdict = str(gold if chance.random() < right else 3 - gold)
                    verdict = shown_first if chance.random() < first else verdict
                    said.append(None if chance.random() < 0.01 else verdict)
                row = {"id": f"{name}:{at}", "judge": judge, "mode": "Vanilla", "gold": gold}
                rows.append(row | {"ab": said[0], "ba": said[1]})
    folder = tmp_path_factory.mktemp("data")
    (folder / "judges").mkdir()
    file = folder / "judges" / "llmbar_judge_verdicts.json.gz"
    file.write_bytes(gzip.compress(json.dumps(rows).encode()))
    return folder


def independently(rows: list[dict[str, Any]]) -> dict[str, float]:
    number = {"1": 1, "2": 2, None: 0}
    gold = np.array([int(row["gold"]) for row in rows])
    ab, ba = (np.array([number[row[order]] for row in rows]) for order in ("ab", "ba"))
    table = np.zeros((3, 3))
    np.add.at(table, (gold, ab), 1)
    right = float(np.mean(np.concatenate([ab == gold, ba == gold])))
    n = len(rows)
    kappa = cohens_kappa(table)
    return {
        "accuracy": right,
        "accuracy_low": float(beta.ppf(0.025, right * n, n - right * n + 1)),
        "kappa": float(kappa.kappa),
        "kappa_low": float(kappa.kappa_low),
        "swap_agreement": float(np.mean((ab == ba) & (ab > 0))),
        "first_share": float(((ab == 1).sum() + (ba == 2).sum()) / ((ab > 0).sum() + (ba > 0).sum())),
    }


def test_the_card_of_a_recorded_judge_is_what_others_compute(data: Path):
    done = bench("judges", "--data", str(data), "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    verdicts = json.loads(gzip.decompress((data / "judges" / "llmbar_judge_verdicts.json.gz").read_bytes()))
    assert len(found["rows"]) == 2 * len({(one["judge"], one["mode"]) for one in verdicts})
    for row in found["rows"]:
        of_it = (row["judge"], row["mode"])
        held = [one for one in verdicts if (one["judge"], one["mode"]) == of_it and one["id"].startswith(row["set"])]
        expected = independently(held)
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-9)
        assert row["may_gate"] is (
            expected["accuracy_low"] > 0.8
            and expected["kappa_low"] > 0.6
            and float(beta.ppf(0.025, *_around(expected["swap_agreement"], len(held)))) > 0.8
        )
        assert row["may_gate"] is not bool(row["why_not"])
    assert found["figures"]["may_gate"] >= 1


def _around(share: float, n: int) -> tuple[float, float]:
    return share * n, n - share * n + 1


def test_without_its_data_it_says_what_it_needs(tmp_path: Path):
    assert "--data DIR" in bench("judges").stderr
    assert "judges/" in bench("judges", "--data", str(tmp_path)).stderr

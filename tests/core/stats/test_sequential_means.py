"""Two groups over several stages: against regressions of statsmodels, and against the traps there are."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidegate.core.stats.moments import Moments
from tidegate.core.stats.sequential_means import PLAIN, Again, Difference, Side, without_before
from tidegate.core.stats.sequential_means import Stratum as Known
from tidegate.core.stats.sequential_means import compared as of_known

SEEDS = 2_000 if os.environ.get("TIDEGATE_SEQUENTIAL") else 150


class Stratum(NamedTuple):
    """Values of units."""

    arm: Mapping[str, float]
    control: Mapping[str, float]


def compared(
    strata: Sequence[Stratum], relative: bool = False, before: Mapping[str, float] | None = None
) -> Difference | None:
    """By what is known of all units together; `before` is taken away."""

    def row(value: float, unit: str) -> tuple[float, ...]:
        return (value,) if before is None else (value, before.get(unit, 0.0), float(unit in before))

    def moments(rows: list[tuple[float, ...]]) -> Moments | None:
        return Moments.of(*zip(*rows, strict=True)) if rows else None

    sides = {(at, of): side for at, one in enumerate(strata) for of, side in enumerate(one)}
    found = {at: moments([row(value, unit) for unit, value in side.items()]) for at, side in sides.items()}
    weights = PLAIN if before is None else without_before([one for one in found.values() if one is not None])
    known = [Known(*(Side.of(found[at, of], weights) for of in (0, 1))) for at in range(len(strata))]
    again = []
    for (one, ours), (other, theirs) in combinations(sides.items(), 2):
        both = moments([row(ours[unit], unit) + row(theirs[unit], unit) for unit in ours.keys() & theirs.keys()])
        if both is not None:
            again.append(Again.of(one, other, both, known, weights))
    return of_known(known, again, relative)


def drawn(seed: int, sizes: list[tuple[int, int]], again: float = 0.0, apart: float = 0.0) -> list[Stratum]:
    """Stages of so many units with the arm and without; a share of them was there before, and is alike each time."""
    chance, found = np.random.default_rng(seed), []
    own = chance.normal(0, 1, 5_000)
    free = 1_000
    for stage, (arm, control) in enumerate(sizes):
        groups = []
        for offset, size in ((0, arm), (500, control)):
            units = [offset + at if at < again * size else (free := free + 1) for at in range(size)]
            groups.append(
                {f"{unit}": stage + apart * (offset == 0) + own[unit] + chance.normal(0, 0.5) for unit in units}
            )
        found.append(Stratum(*groups))
    return found


def frame(strata: list[Stratum]) -> pd.DataFrame:
    rows = [
        (unit, stage, int(group == 0), value)
        for stage, stratum in enumerate(strata)
        for group, side in enumerate(stratum)
        for unit, value in side.items()
    ]
    return pd.DataFrame(rows, columns=["unit", "stage", "arm", "value"])


@pytest.mark.parametrize("again", [0.0, 0.7])
def test_strata_are_a_regression_with_a_term_for_each_stage_and_units_as_clusters(again):
    strata = drawn(3, [(60, 900), (300, 800), (500, 500)], again, apart=0.2)
    table = frame(strata)
    theirs = smf.ols("value ~ arm + C(stage)", table).fit(
        cov_type="cluster", cov_kwds={"groups": table["unit"].astype(int)}
    )
    ours = compared(strata)
    assert ours is not None
    assert ours.estimate == pytest.approx(theirs.params["arm"], abs=1e-9)
    assert math.sqrt(ours.variance) == pytest.approx(theirs.bse["arm"], rel=0.03)


def test_one_stage_is_welchs():
    (stratum,) = drawn(5, [(200, 800)])
    ours = compared([stratum])
    theirs = stats.ttest_ind(list(stratum.arm.values()), list(stratum.control.values()), equal_var=False)
    assert ours is not None
    assert ours.estimate / math.sqrt(ours.variance) == pytest.approx(theirs.statistic, rel=0.02)
    assert ours.free == pytest.approx(theirs.df, rel=0.1)


def test_units_that_come_again_say_less_than_new_ones():
    new, again = (compared(drawn(4, [(300, 300), (300, 300)], share)) for share in (0.0, 1.0))
    assert new is not None and again is not None
    assert again.variance > 1.5 * new.variance


def test_a_trend_during_the_ramp_is_no_effect():
    strata = drawn(6, [(50, 950), (500, 500), (900, 100)])  # everything grows by 1 from stage to stage
    pooled = compared([Stratum(*(dict(enumerate(v for one in strata for v in one[g].values())) for g in (0, 1)))])
    ours = compared(strata)
    assert ours is not None and pooled is not None
    assert abs(ours.estimate) < 3 * math.sqrt(ours.variance)
    assert pooled.estimate > 8 * math.sqrt(pooled.variance)


def test_relative_means_have_the_spread_that_others_like_them_have():
    chance, ratios, variances = np.random.default_rng(8), [], []
    for _ in range(SEEDS):
        sides = [dict(enumerate(chance.gamma(2, size, 150))) for size in (3.3, 3.0)]
        found = compared(
            [Stratum({f"a{k}": v for k, v in sides[0].items()}, {f"c{k}": v for k, v in sides[1].items()})],
            relative=True,
        )
        assert found is not None
        ratios.append(found.estimate)
        variances.append(found.variance)
    assert np.mean(ratios) == pytest.approx(0.1, abs=0.03)
    assert np.mean(variances) == pytest.approx(np.var(ratios), rel=0.3)


def test_what_was_so_before_takes_spread_away_and_leaves_the_difference():
    chance = np.random.default_rng(9)
    before = {f"{at}": float(chance.normal(0, 1)) for at in range(1_200)}
    sides = [{unit: value + 0.3 * arm + float(chance.normal(0, 0.5)) for unit, value in list(before.items())[cut]}
             for arm, cut in ((1, slice(0, 600)), (0, slice(600, 1_200)))]  # fmt: skip
    plain, less = compared([Stratum(*sides)]), compared([Stratum(*sides)], before=before)
    table = frame([Stratum(*sides)])
    table["before"] = table["unit"].map(before)
    theirs = smf.ols("value ~ arm + before", table).fit()
    assert plain is not None and less is not None
    assert less.estimate == pytest.approx(theirs.params["arm"], abs=0.01)
    assert math.sqrt(less.variance) == pytest.approx(theirs.bse["arm"], rel=0.03)
    assert less.variance < 0.3 * plain.variance
    assert compared([Stratum(*sides)], before={}) == plain


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=40), st.floats(-3, 3), st.randoms())
def test_order_says_nothing_and_swapping_the_groups_turns_the_sign(values, offset, order):
    arm = {f"a{at}": value + offset for at, value in enumerate(values)}
    control = {f"c{at}": value for at, value in enumerate(values)}
    mixed = list(arm.items())
    order.shuffle(mixed)
    one, other, turned = (
        compared([Stratum(*sides)]) for sides in ((arm, control), (dict(mixed), control), (control, arm))
    )
    assert one is not None and other is not None and turned is not None
    assert other.estimate == pytest.approx(one.estimate, abs=1e-9)
    assert other.variance == pytest.approx(one.variance, rel=1e-6)
    assert turned.estimate == pytest.approx(-one.estimate, abs=1e-9)
    assert turned.variance == pytest.approx(one.variance, rel=1e-6)


def test_few_that_are_all_alike_prove_nothing():
    found = compared([Stratum({f"a{at}": 1.0 for at in range(25)}, {f"c{at}": 0.99 for at in range(25)})])
    assert found is not None
    assert found.estimate - found.reach(0.05, 0.05) < 0
    assert compared([Stratum({"a": 1.0}, {"b": 1.0, "c": 2.0})]) is None
    assert compared([]) is None

"""What a unit gets depends on nothing but the salt and the unit, evenly, and stays while the share grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.units import ALL, Place, bounds, in_layer, place, unit, upto

UNITS = [f"default:user:u{number}" for number in range(20_000)]
# Of 3 degrees of freedom and of 9: what chance exceeds once in ten thousand times.
CHI2_3, CHI2_9 = 21.11, 33.72


def chi2(counts: Iterable[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def tenths(numbers: Iterable[int]) -> Counter[int]:
    return Counter(number * 10 // ALL for number in numbers)


@pytest.mark.parametrize(
    ("salt", "name", "found"),
    [
        ("5a17", "default:user:ann", Place(5996523276031725241, 16583885942514066091, "c89c6fd9ad5f1dd0")),
        ("5a17", "default:user:ключ☃", Place(87003090460653565, 9648721774831584944, "51dc3fbff909296f")),
        ("", "", Place(2260284453779783407, 13803889182589521562, "88ac0d35b45f623a")),
    ],
)
def test_they_are_the_same_in_every_process_and_version_for_ever(salt, name, found):
    assert place(salt, name) == found


def test_so_are_places_in_layers():
    assert in_layer("default", "default:user:ann") == 8914144511821780964


@pytest.mark.parametrize("salt", ["a", "b", "c"])
def test_they_are_spread_evenly_over_the_ramp_and_the_arms(salt):
    places = [place(salt, name) for name in UNITS]
    assert chi2(tenths(one.ramp for one in places).values(), len(UNITS) / 10) < CHI2_9
    assert chi2(tenths(one.pick for one in places).values(), len(UNITS) / 10) < CHI2_9
    assert chi2(tenths(in_layer(salt, name) for name in UNITS).values(), len(UNITS) / 10) < CHI2_9
    assert len({one.id for one in places}) == len(UNITS)


def test_experiments_layers_ramps_and_arms_have_nothing_to_do_with_each_other():
    a, b = ([place(salt, name) for name in UNITS] for salt in ("a", "b"))
    layer, other = ([in_layer(name, one) for one in UNITS] for name in ("x", "y"))
    pairs = [
        ([one.ramp for one in a], [one.ramp for one in b]),
        ([one.pick for one in a], [one.pick for one in b]),
        ([one.ramp for one in a], [one.pick for one in a]),
        ([one.ramp for one in a], layer),
        (layer, other),
    ]
    for first, second in pairs:
        both = Counter((x < ALL // 2, y < ALL // 2) for x, y in zip(first, second, strict=True))
        assert chi2(both.values(), len(UNITS) / 4) < CHI2_3


@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_who_has_an_arm_keeps_it_while_the_share_grows(name, one, other):
    small, large = sorted((one, other))
    at = place("salt", name)
    assert not at.ramp < upto(small) or at.ramp < upto(large)


def test_five_percent_more_move_only_newcomers():
    before = {name for name in UNITS if place("salt", name).ramp < upto(0.05)}
    after = {name for name in UNITS if place("salt", name).ramp < upto(0.10)}
    assert before < after and len(after) / len(UNITS) == pytest.approx(0.10, abs=0.01)
    assert upto(0.0) == 0 and upto(1.0) == ALL


def test_arms_share_by_their_weights_and_leave_nobody_out():
    assert bounds([1, 1, 2]) == [ALL // 4, ALL // 2, ALL]
    assert bounds([1, 1, 1])[-1] == ALL


@given(st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_slices_that_touch_share_no_unit(border):
    at = in_layer("default", f"u{border}")
    assert (at < upto(border)) != (upto(border) <= at < upto(1.0))


@pytest.mark.parametrize(
    ("kind", "named", "found"),
    [
        ("user", {"user": "ann", "session": "s"}, "acme:user:ann"),
        ("user", {"session": "s"}, "acme:session:s"),
        ("user", {"team": "t"}, None),
        ("session", {"user": "ann", "session": "s"}, "acme:session:s"),
        ("session", {"user": "ann"}, None),
        ("team", {"team": "t", "user": "ann"}, "acme:team:t"),
        ("team", {"user": "ann"}, None),
    ],
)
def test_a_unit_is_what_a_call_says_of_itself(kind, named, found):
    assert unit(kind, "acme", **({"user": None, "session": None, "team": None} | named)) == found

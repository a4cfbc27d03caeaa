"""Cards: what they say of a judge, and which judges they refuse."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tidegate.jobs.evals.card import Card, Policy, made, why_not
from tidegate.jobs.evals.labels import Item, Kind, Labels, Word

NOW = datetime(2026, 11, 26, tzinfo=UTC)
Judge = Callable[[random.Random, Word], tuple[Word | None, ...]]


def labels(kind: Kind, judge: Judge, golds: list[Word], seed: int = 1) -> Labels:
    chance = random.Random(seed)
    return Labels(
        "drawn", "h", kind, tuple(Item(str(at), {"ann": one}, judge(chance, one)) for at, one in enumerate(golds))
    )


def right(share: float, words: tuple[Word, ...] = ("pass", "fail"), orders: int = 1) -> Judge:
    """What people say so often, and otherwise another word."""

    def say(chance: random.Random, gold: Word) -> tuple[Word, ...]:
        others = [word for word in words if word != gold]
        return tuple(gold if chance.random() < share else chance.choice(others) for _ in range(orders))

    return say


def card(kind: Kind, judge: Judge, golds: list[Word], seed: int = 1) -> Card:
    return made("m/1", labels(kind, judge, golds, seed), NOW)


HALF: list[Word] = ["pass", "fail"] * 60


def test_a_good_judge_may_gate():
    assert why_not(card("pass", right(0.96), HALF), Policy(), NOW) == []
    assert why_not(card("pair", right(0.97, ("1", "2"), 2), ["1", "2"] * 60), Policy(), NOW) == []
    near: Judge = lambda chance, gold: (float(gold) + chance.choice((-0.5, 0, 0, 0.5)),)  # noqa: E731
    assert why_not(card("scale", near, [1.0, 3.0, 5.0, 6.0, 8.0, 9.0] * 10), Policy(), NOW) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_judge_at_chance_never_may(seed: int):
    for kind, words, golds in (("pass", ("pass", "fail"), HALF), ("pair", ("1", "2", "tie"), ["1", "2"] * 60)):
        toss: Judge = lambda chance, gold, words=words: (chance.choice(words), chance.choice(words))  # noqa: E731
        assert why_not(card(kind, toss, golds, seed), Policy(), NOW)
    points: Judge = lambda chance, gold: (float(chance.randint(1, 10)),)  # noqa: E731
    assert why_not(card("scale", points, [float(one) for one in range(1, 11)] * 9, seed), Policy(), NOW)


def test_a_judge_that_passes_everything_may_not_where_nearly_everything_is_good():
    found = card("pass", lambda chance, gold: ("pass",), ["pass"] * 195 + ["fail"] * 5)
    assert found.accuracy.low is not None and found.accuracy.low > 0.9
    assert found.kappa.value == 0 and found.specificity.value == 0
    (reason,) = why_not(found, Policy(), NOW)
    assert reason.startswith("kappa is 0.000")
    (reason,) = why_not(card("pass", lambda chance, gold: ("pass",), ["pass"] * 200), Policy(), NOW)
    assert reason.startswith("kappa is not known")


def test_a_judge_that_always_takes_the_first_is_found_out():
    found = card("pair", lambda chance, gold: ("1", "2"), ["1", "2"] * 60)
    assert (found.first_share, found.orders.value, found.accuracy.value) == (1.0, 0.0, 0.5)
    assert any("both orders" in reason for reason in why_not(found, Policy(), NOW))


def test_a_judge_that_was_asked_in_one_order_may_not_gate_on_two_answers():
    found = card("pair", right(1.0, ("1", "2")), ["1", "2"] * 60)
    assert why_not(found, Policy(), NOW) == ["agreement of both orders is not known: nothing was asked in both orders"]


def test_a_verdict_that_is_none_is_wrong_and_not_left_out():
    found = card("pass", lambda chance, gold: (gold if chance.random() < 0.5 else None,), HALF)
    assert found.malformed and found.accuracy.value == pytest.approx(1 - found.malformed / 120)
    assert found.sensitivity.value is not None and found.sensitivity.value < 0.7
    nothing = card("pair", lambda chance, gold: (None, None), ["1", "2"])
    assert nothing.orders.value == 0, "to say nothing twice is not to agree"


def test_few_labels_and_old_cards_are_not_enough():
    perfect = card("pass", right(1.0), HALF[:20])
    assert why_not(perfect, Policy(), NOW)[0] == "people labelled 20 items, and 30 are wanted"
    good = card("pass", right(1.0), HALF)
    assert why_not(good, Policy(), NOW + timedelta(days=91)) == ["the card is of 2026-11-26, and holds for 90 days"]
    assert why_not(good, Policy(days=365), NOW + timedelta(days=91)) == []


def test_a_judge_that_likes_long_answers_is_found_out_and_people_who_do_are_not():
    chance = random.Random(9)

    def biased(judge: Callable[[float, str], str]) -> Card:
        items = []
        for at in range(200):
            length = float(chance.randrange(20, 900))
            gold = "pass" if chance.random() < (0.8 if length > 450 else 0.4) else "fail"
            items.append(Item(str(at), {"ann": gold}, (judge(length, gold),), length))
        return made("m/1", Labels("drawn", "h", "pass", tuple(items)), NOW)

    longest = biased(lambda length, gold: "pass" if length > 450 else "fail").length_bias
    assert longest.value is not None and longest.p is not None and longest.value > 0.2 and longest.p < 0.001
    honest = biased(lambda length, gold: gold).length_bias
    assert honest.value is None, "it never differs from people"


def test_no_judge_is_asked_for_more_than_people_agree_about():
    items = [Item(str(at), {"ann": "pass", "bob": "fail" if at % 4 == 0 else "pass"}, ("pass",)) for at in range(40)]
    found = made("m/1", Labels("two", "h", "pass", tuple(items)), NOW)
    assert (found.items, found.split, found.people) == (30, 10, 2)
    assert found.ceiling == 0.75 and found.people_alpha is not None and found.people_alpha < 0


def test_a_share_that_it_let_pass_is_corrected():
    found = card("pass", right(0.9), HALF * 3)
    apparent = round(1000 * (0.7 * 0.9 + 0.3 * 0.1))
    share = found.corrected(apparent, 1000)
    assert share.low is not None and share.high is not None and share.low < 0.7 < share.high


def test_of_nothing_there_is_no_card():
    with pytest.raises(ValueError, match="of no item of drawn"):
        card("pass", lambda chance, gold: (), HALF)


def test_bars_that_are_none_are_told():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"accuracy": 1.5}, Policy)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"acuracy": 0.5}, Policy)

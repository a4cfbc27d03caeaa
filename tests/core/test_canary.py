"""Is the candidate worse than what answers now?"""

from __future__ import annotations

import random

import pytest

from tidegate.core.canary import Canary, Config, Tally, Verdict, Wish, judge, place, read, stored, trouble, worse
from tidegate.core.values import Duration, Share

SECOND = 1_000_000_000
CONFIG = Config()


def canary(**fields) -> Canary:
    wish = Wish(0.05, **fields)
    return Canary("f00d", "salt", wish, CONFIG, began_ms=0, since_ms=0, by="key_1")


def tally(*, ok=0, failed=0, refused=0, units=50, took_s=1.0, cost=1000, at_s=0, spread=0.0, seed=1) -> Tally:
    """Calls in turn over so many units, all in the same second."""
    chance, made = random.Random(seed), Tally(CONFIG.window)
    said = ["ok"] * ok + ["failed"] * failed + ["refused"] * refused
    chance.shuffle(said)
    for at, outcome in enumerate(said):
        noise = chance.lognormvariate(0, spread)
        made.add(at_s * SECOND, f"u{at % units}", outcome, took_s * noise, round(cost * noise))
    return made


def test_a_unit_gets_the_same_everywhere_and_keeps_it_while_the_share_grows():
    assert place("salt", "tg_live_1") == place("salt", "tg_live_1")
    assert place("salt", "tg_live_1")[0] == pytest.approx(0.218156, abs=1e-6)  # the same over versions, too
    at = [place("salt", f"user {n}")[0] for n in range(20_000)]
    for share in (0.01, 0.05, 0.5):
        assert sum(one < share for one in at) / len(at) == pytest.approx(share, abs=0.01)
    other = [place("other", f"user {n}")[0] for n in range(20_000)]
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(at, other, strict=True)) / len(at)
    assert both == pytest.approx(0.25, abs=0.01)


def test_what_is_stored_is_read_again_and_what_another_version_wrote_is_nothing():
    one = canary(promote_after_s=60.0)
    assert read(stored(one)) == one
    assert read('{"fingerprint": 1}') is None


def test_failures_in_a_row_take_it_back_unless_the_others_fail_too():
    new, old = tally(ok=3), tally(ok=100)
    for at in range(5):
        assert worse(new, old, CONFIG, 0) == ""
        new.add(0, f"u{at}", "failed")
    assert worse(new, old, CONFIG, 0) == "5 calls in a row failed (canary.failures)"
    for at in range(5):
        old.add(0, f"u{at}", "failed")
    assert worse(new, old, CONFIG, 0) == ""


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        (tally(ok=40, failed=10), tally(ok=400), "10 of 50 calls failed, 0 of 400 calls of the others"),
        (tally(ok=49, failed=1), tally(ok=400), ""),
        (tally(ok=40, failed=10), tally(ok=320, failed=80), ""),
        (tally(ok=40, failed=10, units=1), tally(ok=400), "10 of 50 calls failed"),
        (tally(ok=40, refused=10), tally(ok=400), "10 of 50 calls were refused"),
        (tally(ok=50, took_s=3.0, spread=0.5), tally(ok=400, spread=0.5), "an answer takes "),
        (tally(ok=50, took_s=1.2, spread=0.5), tally(ok=400, spread=0.5), ""),
        (tally(ok=10, took_s=9.0, spread=0.5), tally(ok=400, spread=0.5), ""),  # few units
        (tally(ok=50, cost=3000, spread=0.5), tally(ok=400, spread=0.5), "an answer costs $0.00000"),
        (tally(), tally(ok=400), ""),
        (tally(ok=40, failed=10), tally(), ""),
    ],
)
def test_what_is_worse_beyond_doubt_is_said_in_plain_words(new, old, why):
    found = worse(new, old, CONFIG, 0)
    assert found.startswith(why) if why else found == ""


def test_what_one_unit_alone_gets_wrong_takes_nothing_back_where_there_are_others():
    new = tally(ok=40)
    for _ in range(3):
        for _ in range(4):
            new.add(0, "u7", "failed")
        new.add(0, "u8", "ok", 1.0)
    assert worse(new, tally(ok=400), CONFIG, 0) == ""


def test_what_failed_long_ago_is_forgotten():
    new, old = tally(ok=40, failed=10), tally(ok=400)
    assert worse(new, old, CONFIG, 0) != ""
    for one, calls in ((new, 50), (old, 400)):
        for at in range(calls):
            one.add(301 * SECOND, f"u{at}", "ok", 1.0)
    assert worse(new, old, CONFIG, 301 * SECOND) == ""


def test_it_is_promoted_by_itself_only_when_told_and_after_time_and_calls():
    new, old = tally(ok=100), tally(ok=900)
    told = canary(promote_after_s=60.0, promote_calls=100)
    assert judge(canary(), new, old, 0, 10**6).did == "wait"
    assert judge(told, new, old, 0, 59_000).did == "wait"
    assert judge(told, tally(ok=99), old, 0, 60_000).did == "wait"
    assert judge(told, new, old, 0, 60_000) == Verdict("promote", "100 calls in 60 s, and nothing was worse")


def test_what_nobody_promotes_is_taken_back():
    assert judge(canary(), tally(ok=1), tally(ok=1), 0, 86_400_000).why.startswith("it was not promoted within 86400s")


@pytest.mark.parametrize("field", ["window", "longest"])
def test_a_time_of_nothing_is_refused(field):
    assert trouble(Config(**{field: Duration(0)})) == (field, "must be longer than nothing")


def tripped(chance: random.Random, wrong: float, usual: float, calls: int, *, slower: float = 1.0) -> int | None:
    """At which call of the candidate; heavy users and long tails, looked at after every tenth call."""
    config = Config(latency=Share(0.5), cost=Share(0.5))
    new, old = Tally(config.window), Tally(config.window)
    for at in range(calls):
        for one, share, slow, each in ((new, wrong, slower, 1), (old, usual, 1.0, 4)):
            for _ in range(each):
                user = f"u{min(int(chance.paretovariate(0.8)), 500)}"
                took_s = slow * chance.lognormvariate(0, 0.7)
                one.add(
                    at * SECOND // 5, user, "failed" if chance.random() < share else "ok", took_s, round(took_s * 1e6)
                )
        if (at % 10 == 9 or new.in_a_row >= config.failures) and worse(new, old, config, at * SECOND // 5):
            return at + 1
    return None


def test_what_is_no_worse_is_hardly_ever_taken_back_and_what_is_is_within_a_hundred_calls():
    chance = random.Random(11)
    alarms = [tripped(chance, 0.02, 0.02, 300) for _ in range(20)]
    assert sum(one is not None for one in alarms) == 0
    worse_ones = sorted(tripped(chance, 0.3, 0.01, 500) or 10**6 for _ in range(20))
    assert worse_ones[10] <= 60 and worse_ones[-2] <= 200

"""Keys take turns; one that is refused is set aside, for one model or for all, and one that is limited rests."""

from __future__ import annotations

from tidegate.core.values import Secret
from tidegate.upstream.keys import KeyRing

A, B, C = (Secret(f"sk-{name}") for name in "abc")
KEYS = (A, B, C)


def test_keys_take_turns() -> None:
    ring = KeyRing()
    assert [ring.pick(KEYS, "m", 0) for _ in range(4)] == [A, B, C, A]


def test_a_key_that_was_tried_is_not_tried_again() -> None:
    ring = KeyRing()
    assert ring.pick(KEYS, "m", 0, [A]) == B
    assert ring.pick(KEYS, "m", 0, [A, B, C]) is None
    assert ring.pick((), "m", 0) is None


def test_a_key_that_was_refused_is_set_aside_for_its_time() -> None:
    ring = KeyRing()
    ring.set_aside(A, "", 0, 60)
    assert [ring.pick(KEYS, "m", 59) for _ in range(3)] == [B, C, B]
    assert A in [ring.pick(KEYS, "m", 60) for _ in range(3)]
    assert (ring.aside(59), ring.aside(60)) == (1, 0)


def test_one_that_was_refused_for_one_model_serves_the_others() -> None:
    ring = KeyRing()
    ring.set_aside(A, "dear", 0, 60)
    assert (ring.pick((A,), "dear", 1), ring.pick((A,), "cheap", 1)) == (None, A)


def test_where_all_are_set_aside_it_is_known_when_the_first_comes_back() -> None:
    ring = KeyRing()
    for key, until in ((A, 60), (B, 30)):
        ring.set_aside(key, "", 0, until)
    assert ring.pick((A, B), "m", 1) is None
    assert ring.back_ns((A, B), "m", 1) == 30 and ring.back_ns(KEYS, "m", 1) == 1


def test_a_key_that_was_limited_rests_but_where_all_rest_the_first_to_be_ready_is_used() -> None:
    ring = KeyRing()
    ring.rest(A, 60)
    assert [ring.pick((A, B), "m", 1) for _ in range(3)] == [B, B, B] and ring.fresh((A, B), "m", 1)
    ring.rest(B, 90)
    assert ring.pick((A, B), "m", 1) == A and not ring.fresh((A, B), "m", 1)


def test_forgiven_keys_are_used_again() -> None:
    ring = KeyRing()
    ring.set_aside(A, "", 0, 60)
    ring.forgive()
    assert ring.pick((A,), "m", 1) == A

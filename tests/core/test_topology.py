"""What is not alike in all processes is said, with who says what, and what to do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tidegate.core.topology import Process, disagreements

ONE = Process("a", "north", 1, "1/2", "0.1", "c0ffee", ("k1", "k2"), "valkey:6379", since_ms=1000, seen_ms=5000)

ANYWHERE = "name one server for all of them, or each allows the whole of every limit"


def test_those_who_agree_have_nothing_to_be_told() -> None:
    assert disagreements([]) == disagreements([ONE]) == []
    assert disagreements([ONE, replace(ONE, id="b", pid=2, worker="2/2", keks=("k2", "k1"), since_ms=1)]) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "0.2"}, "version is not the same everywhere (0.1: north 1/2; 0.2: south 1/2): finish the release"),
        ({"configuration": "decaf"}, "configuration is not the same everywhere (c0ffee: north 1/2; decaf: south 1/2)"),
        ({"keks": ()}, "vault.keys is not the same everywhere (k1 k2: north 1/2; none: south 1/2): name the same keys"),
        ({"counts_in": ""}, "storage.valkey is not the same everywhere (valkey:6379: north 1/2; none: south 1/2)"),
    ],
)
def test_what_differs_is_told_with_who_and_what_to_do(changed: dict[str, object], said: str) -> None:
    (found,) = disagreements([ONE, replace(ONE, id="b", host="south", **changed)])
    assert found.said.startswith(said)


def test_those_who_count_each_for_themselves_are_told_so() -> None:
    alone = replace(ONE, counts_in="")
    assert disagreements([alone]) == []
    (found,) = disagreements([alone, replace(alone, id="b", host="south")])
    assert (found.what, found.said.partition(": ")[2]) == ("storage.valkey", ANYWHERE)

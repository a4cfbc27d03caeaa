"""Which process is this, and what is its own?"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate.app.place import VARIABLE, Place, place_in


def test_one_alone_is_the_first_of_one() -> None:
    assert place_in({}) == Place() and (Place().number, Place().of, Place().spool) == (1, 1, "spool")


def test_a_worker_is_told_its_place() -> None:
    place = Place(number=2, of=3, socket=5, line=7, greets=False)
    assert place_in({VARIABLE: msgspec.json.encode(place).decode()}) == place
    assert place.spool == "spool-2"


def test_the_first_looks_after_the_spools_of_those_who_are_no_more(tmp_path: Path) -> None:
    for name in ("spool", "spool-2", "spool-3", "spool-12", "spool-x"):
        (tmp_path / name).mkdir()
    assert Place(of=2).left_in(tmp_path) == ["spool-12", "spool-3"]
    assert Place(number=2, of=2).left_in(tmp_path) == []

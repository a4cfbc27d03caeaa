"""What is the same said shorter?"""

from __future__ import annotations

import json

from tidegate.upstream.shrink.lossless import lossless
from tidegate.upstream.shrink.tables import restored

ROWS = [{"id": at, "name": "Ann", "town": "Moor"} for at in range(9)]
TEXT = json.dumps(ROWS, indent=2)
PROSE = "The gate opens at six and closes at nine, unless it rains, snows, or the keeper is away for the day. " * 4


def test_json_is_made_a_table_wherever_it_stands_in_lines_of_its_own() -> None:
    [short] = lossless([f"These are all:\n{TEXT}\nWho is first?"])
    assert short.startswith("These are all:\n9 rows, split by tab:\n") and short.endswith("\n8\nWho is first?")
    table = short.removeprefix("These are all:\n").removesuffix("\nWho is first?")
    assert json.loads(restored(table)) == ROWS


def test_in_code_nothing_is_changed() -> None:
    assert lossless([f"```json\n{TEXT}\n```"] * 2) == [f"```json\n{TEXT}\n```"] * 2


def test_what_comes_later_changes_nothing_before_it() -> None:
    turns = [TEXT, PROSE, f"{PROSE}\n\nand", TEXT, "what?"]
    whole = lossless(turns)
    assert all(lossless(turns[:many]) == whole[:many] for many in range(len(turns)))


def test_what_cannot_be_said_shorter_stays() -> None:
    texts = ["", "hello", "[not json", "{}", PROSE]
    assert lossless(texts) == texts

"""Lines keep their numbers, wherever a file is cut into pieces."""

from __future__ import annotations

import pytest

from tidegate.jobs.batches.reading import Lines


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n"])
def test_lines_are_the_same_in_pieces_of_any_size(size: int, end: bytes) -> None:
    text = b"one\n\n  \nfour\r\nfive" + end
    lines, found = Lines(), []
    for at in range(0, len(text), size):
        found += lines.feed(text[at : at + size])
    found += lines.end()
    assert [(number, line.strip()) for number, line in found] == [(1, b"one"), (4, b"four"), (5, b"five")]

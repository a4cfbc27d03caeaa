"""Which name was meant, of those that there are? The end of each sentence that tells of one that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable

TOLD = 20  # names, where none is near
LOOKED_AT = 200  # characters of what was asked for: comparing takes as long as it is long
COMPARED = 50  # names, with most letters in common: comparing takes ten times as long as to see what letters a name has


def nearest(name: str, there: Iterable[str], empty: str = "there are: none") -> str:
    """What to write instead of `name`, or all that could be; `empty` is said where there is nothing."""
    names = list(there)
    asked = name[:LOOKED_AT]
    letters = set(asked)
    alike = heapq.nsmallest(COMPARED, names, key=lambda one: len(letters.symmetric_difference(one)))
    near = difflib.get_close_matches(asked, alike, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"there are: {', '.join(names[:TOLD])}{more}" if names else empty

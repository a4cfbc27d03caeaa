"""Level 0: what is the same said shorter? JSON as tables, repeats by reference, and not a letter of anything else.

Each text becomes the same whatever comes after it: so what was sent in one turn of a conversation is sent again, to the
byte, in all later ones, and what a provider has kept of them stays good.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.upstream.shrink.fences import pieces
from tidegate.upstream.shrink.repeats import referred
from tidegate.upstream.shrink.tables import SHORTEST, compact, values


def lossless(texts: Sequence[str]) -> list[str]:
    """The same texts, in the order in which they are read, each as short as it can be said."""
    return referred([_compacted(text) for text in texts])


def _compacted(text: str) -> str:
    if len(text) < SHORTEST or ("{" not in text and "[" not in text):
        return text
    return "".join([piece if is_code else _without_blanks(piece) for piece, is_code in pieces(text)])


def _without_blanks(piece: str) -> str:
    """Each JSON value that begins a line and ends one, made compact."""
    found: list[str] = []
    at = 0
    for start, end in values(piece):
        found += (piece[at:start], compact(piece[start:end]))
        at = end
    return "".join((*found, piece[at:])) if found else piece

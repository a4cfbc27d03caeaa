"""What was said before, word for word? It is referred to, and not said again.

A reference names the earlier text by how it begins and how long it is, so that a reader finds it, and it can be put
back. Only what stands before decides: so a message becomes the same in every later turn of its conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidegate.upstream.shrink.fences import pieces

SHORTEST = 240  # characters: a reference takes a third of it
SHOWN = 40  # of its beginning
OURS = "[as said before, "
_REFERENCE = re.compile(r'\[as said before, \d+ characters from "[^\n]{0,40}…"\]')
_BETWEEN = re.compile(r"(\n[ \t]*\n\s*)")

Known = dict[str, str | None]  # by reference, what it stands for; None: for two


def referred(texts: Sequence[str]) -> list[str]:
    """The same texts, in order, with what stands twice replaced by references, where all can be put back."""
    end = next((at for at, text in enumerate(texts) if OURS in text), len(texts))
    known: Known = {}
    found = [_referred(text, known) for text in texts[:end]]
    if restored(found) != list(texts[:end]):
        return list(texts)
    return [*found, *texts[end:]]  # from there on, nobody could tell theirs from ours


def restored(texts: Sequence[str]) -> list[str]:
    """What `referred` was given."""
    known: Known = {}
    return [_restored(text, known) for text in texts]


def _referred(text: str, known: Known) -> str:
    if len(text) < SHORTEST:
        return text
    if known.get(_reference(text)) == text:
        return _reference(text)
    found: list[str] = []
    for block, is_code in _blocks(text):
        name = _reference(block)
        found.append(name if not is_code and len(block) >= SHORTEST and known.get(name) == block else block)
        if not is_code:
            _note(block, known)
    _note(text, known)
    return "".join(found)


def _restored(text: str, known: Known) -> str:
    if _REFERENCE.fullmatch(text):
        return known.get(text) or text
    found: list[str] = []
    for block, is_code in _blocks(text):
        found.append(known.get(block) or block if not is_code and _REFERENCE.fullmatch(block) else block)
        if not is_code:
            _note(found[-1], known)
    said = "".join(found)
    _note(said, known)
    return said


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """Paragraphs, and what is between them; and code, which is one, and left as it is."""
    for piece, is_code in pieces(text):
        for block in [piece] if is_code else _BETWEEN.split(piece):
            yield block, is_code


def _note(block: str, known: Known) -> None:
    """It may be referred to from now on; not where there is code in it, nor where two begin alike."""
    if len(block) >= SHORTEST and "```" not in block and "~~~" not in block:
        name = _reference(block)
        known[name] = block if known.get(name, block) == block else None


def _reference(block: str) -> str:
    return f'{OURS}{len(block)} characters from "{" ".join(block[:SHOWN].split())}…"]'

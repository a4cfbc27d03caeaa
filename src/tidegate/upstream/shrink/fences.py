"""Where is code in a text? There nothing is ever changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A fence is closed by one that is as long, or by the end of the text.
_FENCE = re.compile(
    r"^[ \t]{0,3}(`{3,}|~{3,})[^\n]*(?:\n.*?(?:^[ \t]{0,3}\1[`~]*[ \t]*$|\Z)|\Z)", re.DOTALL | re.MULTILINE
)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """`text` in pieces, and whether each is code."""
    if "```" not in text and "~~~" not in text:
        yield text, False
        return
    at = 0
    for found in _FENCE.finditer(text):
        if found.start() > at:
            yield text[at : found.start()], False
        yield found[0], True
        at = found.end()
    if at < len(text):
        yield text[at:], False

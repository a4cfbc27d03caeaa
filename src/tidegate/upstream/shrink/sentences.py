"""Where does each sentence of a text stand, and which must stay? Every letter of the text is in exactly one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.upstream.shrink.fences import pieces

LONGEST_QUOTE = 600  # characters; a quotation mark that is not closed by then is none
HEADING = 100  # characters of a line that stands alone and ends like no sentence

_PARAGRAPH = re.compile(r".+?(?:\n[ \t]*\n\s*|\Z)", re.DOTALL)
_END = re.compile(r"(?:[.!?…][\"'”’»)\]]*\s+(?=[\"'“‘«(\[]?[^\W_a-z])|[。！？]\s*|\n(?=[ \t]*(?:[-*•]|\d+[.)])\s))")
_SHORT = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|No|Prof|Inc|Ltd|Co|Jr|Sr|e\.g|i\.e|cf|c|ca|al|approx|Gen|Col|Lt|Rev|Hon|Mt|Ft|"
    r"Fig|Sec|Art|pp?)|\b[^\W\d_]|\b[A-Za-z]\.[A-Za-z])\.\s*$"
)
# What tells a model what to do, wherever it stands.
_ORDER = re.compile(
    r"\s*(?:[-*•]\s*|\d+[.)]\s*)?(?:please|always|never|do not|don't|you (?:must|should|may|can|are|will)|make sure|"
    r"ensure|answer|respond|reply|return|write|output|use (?:only|the following)|ignore|format|note|important|"
    r"instructions?|rules?|question|query|task|q)\b[\s:,]",
    re.IGNORECASE,
)
_DATA = re.compile(r"\s*(?:[{\[|<]|(?:#\d+: )?\d+ rows, split by |#{1,6} | {4}|\t)")


class Sentence(NamedTuple):
    """`text[start:end]`, with the blanks after it. `fixed`: code, data, a heading or an order, which stays."""

    start: int
    end: int
    paragraph: int
    fixed: bool = False


def sentences(text: str) -> list[Sentence]:
    found: list[Sentence] = []
    start = paragraph = 0
    for piece, is_code in pieces(text):
        if is_code:
            found.append(Sentence(start, start + len(piece), paragraph, fixed=True))
            paragraph += 1
        else:
            for one in _PARAGRAPH.finditer(piece):
                at = start + one.start()
                if _is_data(one[0]):
                    found.append(Sentence(at, at + len(one[0]), paragraph, fixed=True))
                else:
                    found += [
                        Sentence(at + begins, at + ends, paragraph, _ORDER.match(one[0], begins) is not None)
                        for begins, ends in _split(one[0])
                    ]
                paragraph += 1
        start += len(piece)
    return found


def _is_data(paragraph: str) -> bool:
    """JSON, a table, a heading, indented code, what is between two of them: no prose."""
    bare = paragraph.strip()
    return (
        not bare
        or _DATA.match(paragraph) is not None
        or (len(bare) < HEADING and "\n" not in bare and bare[-1:] not in ".!?。")
    )


def _split(paragraph: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in _END.finditer(paragraph):
        said = paragraph[start : found.end()]
        if _SHORT.search(said) or (_is_quoting(said) and len(said) < LONGEST_QUOTE):
            continue
        yield start, found.end()
        start = found.end()
    if start < len(paragraph):
        yield start, len(paragraph)


def _is_quoting(said: str) -> bool:
    return said.count('"') % 2 == 1 or said.count("“") > said.count("”")

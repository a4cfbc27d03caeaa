"""Where does each sentence of a text stand, and which must stay? Every letter of the text is in exactly one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.upstream.shrink.fences import pieces

LONGEST_QUOTE = 600  # characters; a quotation mark that is not closed by then is none
LOOKED_AT = 16  # characters before the end of a sentence, where a short form may stand
MOSTLY = 0.5  # of a text: where more of it is data, all of it is
LETTERS, MARKS = 0.7, 0.02  # of prose, at least and at most: letters and blanks; marks of programs

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
_NO_LETTER = re.compile(r"[\d_]|[^\w\s]")
_MARKS = re.compile(r"[{}\[\]=<>_\\|;$]")
_STOP = re.compile(r"[.!?…][\"'”’»)\]]*(?:\s|$)|[。！？]")
_DATA = re.compile(r"\s*(?:[{\[|<]|(?:#\d+: )?\d+ rows, split by |#{1,6} | {4}|\t)")


class Sentence(NamedTuple):
    """`text[start:end]`, with the blanks after it. `fixed`: code, data, a heading or an order, which stays."""

    start: int
    end: int
    paragraph: int
    fixed: bool = False


def sentences(text: str) -> list[Sentence]:
    found: list[Sentence] = []
    start = paragraph = data = 0
    for piece, is_code in pieces(text):
        for said in [piece] if is_code else _PARAGRAPH.findall(piece):
            end = start + len(said)
            if is_code or not _is_prose(said):
                found.append(Sentence(start, end, paragraph, fixed=True))
                data += len(said)
            else:
                found += [
                    Sentence(start + begins, start + ends, paragraph, _ORDER.match(said, begins) is not None)
                    for begins, ends in _split(said)
                ]
            start, paragraph = end, paragraph + 1
    if data > len(text) * MOSTLY:
        return [one._replace(fixed=True) for one in found]  # a program with its comments, say
    return found


def _is_prose(paragraph: str) -> bool:
    """Else it is JSON, a table, a heading, code, lines of a log, or what is between two of them."""
    bare = paragraph.strip()
    if not bare or _DATA.match(paragraph) or _STOP.search(bare) is None:
        return False
    lines = paragraph.splitlines()
    indented = sum(line.startswith((" ", "\t")) for line in lines)
    if indented >= len(lines) / 3 or len(_MARKS.findall(bare)) >= MARKS * len(bare):
        return False
    return len(_NO_LETTER.findall(bare)) <= (1 - LETTERS) * len(bare)


def _split(paragraph: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in _END.finditer(paragraph):
        end = found.end()
        if end - start < LONGEST_QUOTE and (
            _SHORT.search(paragraph, max(start, end - LOOKED_AT), end) or _is_quoting(paragraph[start:end])
        ):
            continue
        yield start, end
        start = end
    if start < len(paragraph):
        yield start, len(paragraph)


def _is_quoting(said: str) -> bool:
    return said.count('"') % 2 == 1 or said.count("“") > said.count("”")

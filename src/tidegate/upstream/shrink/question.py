"""What is asked in a turn, and what is only given to answer it from?

A question stands at the beginning or the end, in a paragraph of its own that is short, or has a label such as
`Question:`; often a whole text is nothing else. What is long and none of it is context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

SHORT = 400  # characters: a question, or an order
LONG = 1_200  # characters of context that are worth reading closely

_PARAGRAPH = re.compile(r"\S.*?(?=\n[ \t]*\n|\n(?:question|query|task)\s*:|\Z)", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"(?:question|query|task|q|user|asked|frage|pregunta)\s*:\s*(?=\S)", re.IGNORECASE)
# Who wants all of a text wants each of its sentences.
_WHOLE = re.compile(
    r"(?:^|[.!?:,;]\s+|\b(?:please|and|then|to|(?:can|could|would|will) you)\s+)(?:summar|translat|re-?writ|re-?phras|"
    r"paraphras|proof-?read|correct|edit|improve|shorten|condense|convert|re-?format|transcri|review|critique|analy[sz]e|"
    r"classif|extract|list|enumerate|count|outline|compare|continue|check|explain|fasse|übersetz|résume|tradui|resum|"
    r"traduc)\w*|\b(?:tl;?dr|summary|sentiment|main (?:point|idea|theme|topic)|word for word|"
    r"(?:whole|entire) (?:text|article|document|passage|essay|story|letter|e-?mail|code|conversation))\b",
    re.IGNORECASE | re.MULTILINE,
)


class Said(NamedTuple):
    """One text of a turn. `given`: a tool's answer, in which nobody asks anything."""

    text: str
    given: bool = False


class Span(NamedTuple):
    """Context: `texts[text][start:end]`."""

    text: int
    start: int
    end: int


class Asked(NamedTuple):
    question: str  # empty where none is found, or where it is about all of the text
    context: list[Span]


def asked(turn: Sequence[Said]) -> Asked:
    questions: list[str] = []
    others: list[str] = []  # short paragraphs at an edge that ask nothing by their looks
    context: list[Span] = []
    for at, one in enumerate(turn):
        if one.given:
            context.append(Span(at, 0, len(one.text)))
            continue
        inner, edges, labelled = _parted(one.text)
        questions += labelled
        for edge in edges:
            (questions if edge.rstrip().endswith(("?", "？")) or _LABEL.match(edge) else others).append(edge)
        if inner is not None:
            context.append(Span(at, *inner))
    context = [span for span in context if span.end - span.start >= LONG]
    question = "\n".join(map(_without_label, questions or others[-1:]))
    return Asked("" if _WHOLE.search(question) else question, context)


def _parted(text: str) -> tuple[tuple[int, int] | None, list[str], list[str]]:
    """Where the context of a text stands, the short paragraphs at its edges, and those within that have a label."""
    spans = [found.span() for found in _PARAGRAPH.finditer(text)]
    first, last = 0, len(spans)
    while first < last and _is_edge(text[slice(*spans[first])], first == 0):
        first += 1
    while last > first and _is_edge(text[slice(*spans[last - 1])], last == len(spans)):
        last -= 1
    edges = [text[start:end] for start, end in (*spans[:first], *spans[last:])]
    labelled = [
        text[start:end] for start, end in spans[first:last] if _LABEL.match(text, start) and end - start < SHORT
    ]
    if first == last:
        return None, edges, labelled
    start = spans[first][0]
    return (start, spans[last][0] if last < len(spans) else len(text)), edges, labelled


def _without_label(paragraph: str) -> str:
    label = _LABEL.match(paragraph)
    return paragraph[label.end() :] if label else paragraph


def _is_edge(paragraph: str, outermost: bool) -> bool:
    """The outermost that is short; further in, only what looks like a question."""
    if len(paragraph) >= SHORT:
        return False
    return outermost or paragraph.rstrip().endswith(("?", "？")) or _LABEL.match(paragraph) is not None

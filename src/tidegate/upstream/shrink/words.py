"""Which words of a text count, and which of them are the same? Enough of it for looking sentences up."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import SequenceMatcher

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_WIDE = "⺀"  # from here on, scripts that put no blanks between words
COMMON = frozenset(
    _WORD.findall(
        "a an the of in on at to for from by with and or but is are was were be been being it its this that "
        "these those as what which who whom whose when where why how did do does has have had i you he she they we his "
        "her their our not than then there into about after before between during can could would should will may "
        "might if so such also any some more most other"
    )
)
LONG = 5  # letters of a word that is compared with others like it
BEGINNING = 0.6  # of the longer word, that two must begin alike with
ALIKE = 0.72  # difflib's ratio, of two that are spelt nearly alike
SAME_STEM, NEARLY_SPELT = 0.7, 0.6  # what such a word counts for


def words(text: str, stems: dict[str, str] | None = None) -> list[str]:
    """Those that count, without their endings, in order. `stems`: known so far, where many texts are read."""
    found: list[str] = []
    known: dict[str, str] = {} if stems is None else stems
    for word in _WORD.findall(text.lower()):
        if word[0] >= _WIDE:
            found += [word[at : at + 2] for at in range(max(len(word) - 1, 1))]
        elif word not in COMMON:
            if word not in known:
                known[word] = word if word.isdigit() else stem(word)
            found.append(known[word])
    return found


def stem(word: str) -> str:
    """Without the endings of English that most often make two words of one."""
    if len(word) > 4:
        if word.endswith("ies"):
            word = word[:-3] + "y"
        elif word.endswith(("sses", "ches", "shes", "xes")):
            word = word[:-2]
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
    if len(word) > 5:
        ending = next((one for one in ("ing", "edly", "ed") if word.endswith(one) and len(word) - len(one) >= 3), "")
        if ending:
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def like(word: str, known: Collection[str]) -> dict[str, float]:
    """Words that are probably the same one, and how much each counts: they begin alike, or are spelt nearly alike."""
    found: dict[str, float] = {}
    if len(word) < LONG:
        return found
    for other in known:
        if other[0] != word[0] or len(other) < LONG:
            continue
        alike = next((at for at, (one, two) in enumerate(zip(other, word, strict=False)) if one != two), None)
        if alike is None or (alike >= LONG and alike >= BEGINNING * max(len(other), len(word))):
            found[other] = SAME_STEM
        elif abs(len(other) - len(word)) <= 2:
            ratio = SequenceMatcher(None, other, word)
            if ratio.quick_ratio() >= ALIKE and ratio.ratio() >= ALIKE:
                found[other] = NEARLY_SPELT
    return found

"""What does a question look like, before anybody has understood it? Length, structure, words: plain numbers."""

from __future__ import annotations

import re
from collections import Counter
from math import log1p

MOST = 2_000  # characters that are looked at: most of them from the beginning, and the end, where questions stand
TAIL = 500
LONG_WORD = 9

_BREAKS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~“”„«»—–…¿¡。，、？！', " "))
_UPPER = re.compile(r"[A-Z]")
_ENDS = (". ", "? ", "! ", ".\n", "?\n", "!\n")
_SYMBOLS = "+*/=^<>|\\_{}[]"
_CODE = ("```", "def ", "return ", "==", "->", ");", "();", "{\n", "import ")

# Words that say something about what is asked, whatever it is about.
KINDS: dict[str, str] = {
    "stop": "the of and a an to in is was were be by for with on at from as it its this that these those or are been "
    "has have had which who whose whom",
    "person": "he she his her him hers i you we they them their our my your me us",
    "modal": "can could may might must shall should will would",
    "negation": "not no never none nor neither without except cannot false incorrect least",
    "compare": "more less than most fewer greater higher lower larger smaller better best worse increase decrease",
    "logic": "if then all some only every any each either both unless therefore because implies thus hence",
    "quantity": "how many much total per each half twice times percent number average",
    "ask": "what which who when where",
    "why": "why explain compare describe prove derive show",
}
_KINDS_OF: dict[str, tuple[str, ...]] = {
    word: tuple(kind for kind, words in KINDS.items() if word in words.split())
    for words in KINDS.values()
    for word in words.split()
}

NAMES: tuple[str, ...] = (
    "chars", "words", "lines", "longest_line", "rest", "word_length", "long_words", "longest_word", "variety",
    "single_letters", "numbers", "number_share", "digits", "longest_number", "capitals", "names",
    "symbols", "parentheses", "commas", "comma_share", "sentences", "sentence_length", "inner_dots", "questions",
    "quotes", "apostrophes", "colons", "percent", "money", "foreign", "blank", "roman", "code", "dashes",
    *(f"{kind}_share" for kind in KINDS), *KINDS,
)  # fmt: skip


def features(text: str) -> tuple[float, ...]:
    """One number for each of NAMES: counts as logarithms, shares between 0 and 1. Some 2,400 steps at most."""
    whole = len(text)
    if whole > MOST:
        text = f"{text[: MOST - TAIL]}\n{text[-TAIL:]}"
    times = max(whole / MOST, 1.0)  # what was not looked at is taken to be like what was

    def much(found: float) -> float:
        return log1p(found * times)

    has = text.count
    tokens = text.translate(_BREAKS).split()
    numbers = [token for token in tokens if token.isdigit()]
    known = Counter([token.lower() for token in tokens])
    sizes = Counter(map(len, tokens))
    kinds = _kinds(known)
    count, size = max(len(tokens), 1), max(len(text), 1)
    longest = max(map(len, text.split("\n")))
    dots, ends = has("."), sum(map(has, _ENDS)) + text.endswith((".", "?", "!"))
    return (
        log1p(whole),
        much(len(tokens)),
        much(has("\n")),
        log1p(longest),
        log1p(whole - longest),
        sum(length * often for length, often in sizes.items()) / count,
        sum(often for length, often in sizes.items() if length >= LONG_WORD) / count,
        log1p(max(sizes, default=0)),
        len(known) / count,
        sizes[1] / count,
        much(len(numbers)),
        len(numbers) / count,
        much(sum(map(len, numbers))),
        log1p(max(map(len, numbers), default=0)),
        len(_UPPER.findall(text)) / size,
        sum(map(str.istitle, tokens)) / count,
        much(sum(map(has, _SYMBOLS))),
        much(has("(")),
        much(has(",")),
        has(",") / count,
        much(ends),
        log1p(count / max(ends, 1)),
        much(max(dots - has(". ") - has(".\n") - text.endswith("."), 0)),
        much(has("?")),
        much(has('"') + has("“")),
        much(has("'")),
        much(has(":") + has(";")),
        float("%" in text),
        much(has("$") + has("€") + has("£")),
        0.0 if text.isascii() else much(len(text.encode("utf-8", "surrogatepass")) - len(text)),
        float("__" in text),
        float(" II" in text),
        float(any(sign in text for sign in _CODE)),
        much(has("-")),
        *[kinds[kind] / count for kind in KINDS],
        *[much(kinds[kind]) for kind in KINDS],
    )


def _kinds(known: Counter[str]) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for word in _KINDS_OF.keys() & known.keys():
        for kind in _KINDS_OF[word]:
            found[kind] += known[word]
    return found

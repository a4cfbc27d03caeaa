"""What must be the same in two texts, however alike they sound? Numbers, amounts, dates, ids, URLs, code, negations."""

from __future__ import annotations

import re

# A prompt is short here (the semantic part is for short conversations), and all of this is linear in its length.
ADDRESSES = re.compile(r"https?://[^\s<>\"')\]]+|www\.[^\s<>\"')\]]+|[\w.+-]{1,64}@[\w-]+\.[\w.-]+", re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
WORDS = re.compile(r"[^\W_](?:[\w.,:/'’-]*\w)?[%°]?|[$€£¥₹]", re.UNICODE)
NAMES = re.compile(r"\b[A-Za-z]\w*(?:_\w+|\(\))|\b[a-z]+[A-Z]\w*")  # snake_case, call(), camelCase
NO = (
    "no not never none nobody nothing nowhere neither nor cannot without "
    "dont cant wont didnt doesnt isnt hasnt havent wasnt arent couldnt "
    "kein keine keinen nicht nie ohne ne pas jamais sans nunca sin non mai senza"
)
UP_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
DAYS = (
    "january february march april june july august september october november december "  # may is a verb too
    "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday"
)
NEGATIONS = frozenset(NO.split())
SPELLED = {word: str(value) for value, word in enumerate(UP_TO_TWENTY.split()) if word != "one"}  # "this one" is none
DATES = frozenset(DAYS.split())
CURRENCIES = {"$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr", "dollars": "usd", "euros": "eur"}


def marks(text: str) -> tuple[str, ...]:
    """All that must agree, sorted; two texts with other marks do not share an answer."""
    found: list[str] = []
    for pattern, kind in ((CODE, "code"), (ADDRESSES, "at")):
        found += [f"{kind}:{one.strip('`').strip().rstrip('.,;:!?')}" for one in pattern.findall(text)]
        text = pattern.sub(" ", text)
    found += [f"name:{one}" for one in NAMES.findall(text)]
    found += filter(None, map(_mark, WORDS.findall(text)))
    # Whether something is denied, and not how often: "I have not got it" and "no, it never came" may be the same.
    kept = {one if not one.startswith("not:") else "not" for one in found}
    return tuple(sorted(kept))


def _mark(word: str) -> str:
    lower = word.lower().replace("’", "'")
    if lower in NEGATIONS or lower.endswith("n't"):
        return "not:"
    if lower in SPELLED:
        return f"number:{SPELLED[lower]}"
    if lower in DATES:
        return f"date:{lower}"
    if lower in CURRENCIES:
        return f"money:{CURRENCIES[lower]}"
    if any(character.isdigit() for character in word):
        return f"number:{_number(lower)}"
    return ""


def _number(word: str) -> str:
    """1,000.50 and 1000.5 are one number; what is no number stays as it is written: an id, a date, a version."""
    plain = word.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?%?", word) else word
    if re.fullmatch(r"\d+\.\d+", plain):
        return plain.rstrip("0").rstrip(".")
    return re.sub(r"(?<=\d)(st|nd|rd|th)$", "", plain)

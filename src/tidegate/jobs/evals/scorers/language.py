"""Is the answer in this language? By its script, and where several share one, by small words that each has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.ports import Bench
from tidegate.core.scores import Case, Said, Score

# The small words that make up a third of any text, and that few of the others have.
WORDS = {
    "en": "the and of to is that it was for you with this are have not be on at by from your will can what",
    "de": "der die das und ist nicht ein eine zu mit den von für auf dem sie wir ich auch wird sich werden oder bei",
    "fr": "le la les et est une des du que pour dans pas vous nous sur avec ce qui au aux votre sont être ou",
    "es": "el la los las y es una de que para en no por con su del al se lo más como está son puede usted",
    "it": "il la lo gli e è una di che per non con del della sono si le al questo può come nel anche ha",
    "pt": "o a os as e é uma de que para em não por com seu do da no na se mais como está são você",
    "nl": "de het een en is van dat niet op te voor met zijn je ook wordt aan door bij kan uw deze of",
    "sv": "och att det är en ett på inte som för med den av till kan du har vi om eller från din",
    "da": "og at det er en et på ikke som for med den af til kan du har vi om eller fra din være",
    "pl": "i w na jest nie się z do to że o jak po co czy są być dla za przez lub może oraz od",
    "tr": "ve bir bu için ile da de ne gibi daha olarak var mı değil çok olan en ama veya kadar sonra size",
    "id": "yang dan di ini untuk dengan dari tidak pada adalah itu akan ke atau dalam anda dapat bisa juga oleh",
}
SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),  # before zh: it has Han, too
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),  # before ru: it has these beside the rest
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
LANGUAGES = tuple(sorted({*WORDS, *(name for name, _ in SCRIPTS)}))
LOOKED_AT = 4_000  # characters
MARKS = {"es": "ñ¿¡", "de": "ßäöü", "fr": "çœêè", "pt": "ãõ", "pl": "łąęśżź", "tr": "ğışİ", "sv": "åäö", "da": "æøå"}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The language of an answer.

    is_: one of ar, da, de, el, en, es, fr, he, hi, id, it, ja, ko, nl, pl, pt, ru, sv, th, tr, uk, zh; written `is`.
    """

    is_: Annotated[str, Meta(min_length=2)] = msgspec.field(name="is")


class Language:
    def __init__(self, config: Config) -> None:
        if config.is_ not in LANGUAGES:
            raise ValueError(f"is: {config.is_!r} is none that is known here; there are: {', '.join(LANGUAGES)}")
        self._wanted = config.is_

    def lacks(self, case: Case) -> str | None:
        return None

    async def score(self, case: Case, said: Said, bench: Bench) -> Sequence[Score]:
        found = language_of(said.text)
        if found is None:
            return [Score(scorer="", outcome="failed", why="too short to tell its language")]
        passed = found == self._wanted
        return [Score(scorer="", value=float(passed), passed=passed, why="" if passed else f"it is in {found}")]


def language_of(text: str) -> str | None:
    """None where nothing tells."""
    text = text[:LOOKED_AT]
    letters = [one for one in text if one.isalpha()]
    for name, script in SCRIPTS:
        found = len(script.findall(text))
        few = 0.02 if name in ("ja", "uk") else 0.3  # of Japanese and Ukrainian, some letters give it away
        if letters and found / len(letters) >= few:
            return name
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = {name: _points(name, words, text) for name in WORDS}
    best = max(counts, key=lambda name: counts[name])
    rivals = sorted(counts.values())
    return best if rivals[-1] > rivals[-2] else None


def _points(name: str, words: Sequence[str], text: str) -> float:
    own = WORDS[name].split()
    return sum(word in own for word in words) + 0.3 * sum(one in MARKS.get(name, "") for one in text.lower())

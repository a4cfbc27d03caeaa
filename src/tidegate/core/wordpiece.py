"""Which ids does a text come to? BERT's WordPiece, uncased: the same ids as the reference tokenizer gives."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

BEGIN, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100  # characters; a longer one is unknown, as in the reference
CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPiece:
    """A vocabulary: piece → id, where a piece that goes on with a word begins with `##`."""

    def __init__(self, vocabulary: Mapping[str, int], longest: int) -> None:
        self._ids = vocabulary
        self._room = longest - 2  # for the text, between the two marks

    def ids(self, text: str) -> list[int]:
        """At most `longest`, marks included; what does not fit is cut off."""
        found: list[int] = []
        for word in words(text):
            found += self._pieces(word)
            if len(found) >= self._room:
                break
        return [self._ids[BEGIN], *found[: self._room], self._ids[END]]

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that fits, then the longest that goes on from there; else the word is unknown."""
        found: list[int] = []
        begin, end = 0, len(word)
        while begin < len(word) <= LONGEST_WORD:
            piece = self._ids.get(("##" if begin else "") + word[begin:end])
            if piece is not None:
                found.append(piece)
                begin, end = end, len(word)
            elif end - begin > 1:
                end -= 1
            else:
                break
        return found if begin == len(word) else [self._ids[UNKNOWN]]


def words(text: str) -> Iterator[str]:
    """Lower-case words without accents; each sign of punctuation and each Chinese character is one."""
    apart = text if text.isascii() else unicodedata.normalize("NFD", text)
    return iter("".join(map(_as_counted, apart)).split())


def _as_counted(character: str) -> str:
    """Whitespace is a space, accents and control characters are nothing, signs stand alone."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character in "\0\ufffd" or category in ("Mn", "Cc", "Cf", "Co", "Cs"):
        return ""
    if category[0] == "P" or (character.isascii() and category[0] == "S") or _is_chinese(ord(character)):
        return f" {character} "
    return character.lower()


def _is_chinese(code: int) -> bool:
    return any(low <= code <= high for low, high in CHINESE)

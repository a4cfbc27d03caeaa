"""What does a text say, however it is dressed up? Look-alikes, odd blanks and encodings, undone within bounds."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Collection, Iterator

from tidegate.stages.guardrails.patterns import Patterns

MOST = 4  # pieces that are decoded of one text
LONGEST = 4_096  # characters of each
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝмнткѵгαοερτυνικχβηωϲɡıⅼ",
    "aeopcyxijsdhqwmhtkvraoeptuvikxbnwcgil",
)
_LOOKALIKE = re.compile(f"[{''.join(map(chr, _LOOKALIKES))}]")
_LEET = bytes.maketrans(b"013457@$!+", b"oieastasit")  # no byte of what is longer in UTF-8 is one of these
_UNSEEN = re.compile(
    "[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\u00ad\ufeff\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_LEETED = re.compile(r"[a-z][013457@$!+][a-z]|[013457@$!+][a-z][013457@$!+]|\b[013457][a-z]{2}")
_SPELLED = re.compile(r"(?:\b\w[ .\-_*\\|/+~]){5,}\w\b")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{20,}={0,2}")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}[ :]?){12,})")
_ESCAPED = re.compile(r"(?:\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|%[0-9a-fA-F]{2}){4,}")
# Of what is said backwards, or turned by 13, some words that give it away.
_BACKWARDS = re.compile(r"erongi|tpmorp|snoitcurtsni|tegrof|metsys|suoiverp")
_TURNED = re.compile(r"vtaber|cebzcg|vafgehpgvbaf|sbetrg|cerivbhf|flfgrz")
# RE2 looks for many of them at once; most texts wear none. Those that count are apart: with the others they made states
# that no two texts share.
_DISGUISES = (_LEETED, _SPELLED, _BACKWARDS, _TURNED, _ESCAPED)
_SEEN = Patterns([pattern.pattern for pattern in _DISGUISES])
_CODES = (_BASE64, _HEX)
_CODED = Patterns([pattern.pattern for pattern in _CODES])


def plain(text: str) -> str:
    """Small letters, one kind of blank, look-alikes as what they look like."""
    if not text.isascii():
        text = _TAGS.sub(lambda tags: "".join(chr(ord(one) - 0xE0000) for one in tags[0]), text)
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).lower()
        if _LOOKALIKE.search(text) and re.search(r"[a-z]", text):  # a text that is Greek or Russian stays so
            text = _WORD.sub(_as_latin, text)
    return " ".join(text.lower().split())


_WORD = re.compile(r"\w+")


def _as_latin(word: re.Match[str]) -> str:
    """Of a word in two scripts one is a disguise."""
    text = word[0]
    if text.isascii() or not re.search(r"[a-z]", text):
        return text
    return text.translate(_LOOKALIKES)


def readings(text: str) -> Iterator[str]:
    """`text` plainly, and what else it may say: once for each disguise that it seems to wear."""
    said = plain(text)
    yield said
    data = said.encode("utf-8", "surrogatepass")
    seen, coded = _SEEN.which(data), _CODED.which(data)
    if not seen and not coded:
        return
    worn = {_DISGUISES[number] for number in seen} | {_CODES[number] for number in coded}
    if _LEETED in worn:
        yield data.translate(_LEET).decode("utf-8", "surrogatepass")
    if _SPELLED in worn:
        yield _SPELLED.sub(lambda found: re.sub(r"[ .\-_*\\|/+~]", "", found[0]), said)
    if _BACKWARDS in worn:
        yield said[::-1]
    if _TURNED in worn:
        yield codecs.decode(said, "rot13")
    yield from _decoded(text, worn)


def _decoded(text: str, worn: Collection[re.Pattern[str]]) -> Iterator[str]:
    left = MOST
    for pattern, decode in ((_BASE64, _from_base64), (_HEX, _from_hex), (_ESCAPED, _from_escapes)):
        if pattern not in worn:
            continue
        for found in pattern.finditer(text[: 16 * LONGEST]):
            if left <= 0:
                return
            hidden = decode(found[0][:LONGEST])
            if hidden is not None:
                left -= 1
                yield plain(hidden)


def _text(data: bytes) -> str | None:
    """Bytes that are a text of some words."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and " " in text else None


def _from_base64(text: str) -> str | None:
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _text(base64.b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None


def _from_hex(text: str) -> str | None:
    try:
        return _text(bytes.fromhex(re.sub(r"0x|[ :]", "", text)))
    except ValueError:
        return None


def _from_escapes(text: str) -> str | None:
    values = re.findall(r"[0-9a-fA-F]{4}|[0-9a-fA-F]{2}", text.replace("\\u", "").replace("\\x", "").replace("%", ""))
    if "\\u" in text:
        return "".join(chr(int(one, 16)) for one in re.findall(r"\\u([0-9a-fA-F]{4})", text))
    return _text(bytes(int(one, 16) for one in re.findall(r"[0-9a-fA-F]{2}", "".join(values))))

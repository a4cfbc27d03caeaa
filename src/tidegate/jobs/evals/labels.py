"""What do people say of answers, and what did a judge say of the same? A file of labels, read by item.

JSON lines or CSV, a line for an item or for what one person said of it; lines of one item belong together:

    item                 its name; of a run's answer case#repeat
    label, labeller      what somebody said, and who: pass or fail, a number of points, or 1, 2 or tie of two answers
    labels               of several people: a list, or by name; in CSV columns label:ann, label:bob
    verdict              what the judge said, in the same words; nothing, where it said no verdict
    ab, ba               of two answers, in both orders: which of them, not which place
    length               of the answer, in characters; of two answers of the first less the second
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import msgspec

from tidegate.core.errors import ConfigError

Kind = Literal["pass", "scale", "pair"]
Word = str | float

PASSED = {"pass": "pass", "passed": "pass", "true": "pass", "yes": "pass", "good": "pass", "up": "pass"} | {
    "fail": "fail", "failed": "fail", "false": "fail", "no": "fail", "bad": "fail", "down": "fail",
}  # fmt: skip
OF_TWO = {"1": "1", "2": "2", "a": "1", "b": "2", "tie": "tie", "both": "tie"}
NOTHING = {"", "none", "null"}


class Item(NamedTuple):
    """What was said of one answer, or of two that stood beside each other."""

    id: str
    labels: Mapping[str, Word]  # by who said it
    verdicts: tuple[Word | None, ...] = ()  # of two answers in both orders; None: it said none
    length: float | None = None

    @property
    def gold(self) -> Word | None:
        """What most say, of points the middle. None where as many say one thing as another."""
        said = list(self.labels.values())
        if all(isinstance(one, float) for one in said):
            return median([one for one in said if isinstance(one, float)]) if said else None
        first, *others = Counter(said).most_common(2)
        return None if others and others[0][1] == first[1] else first[0]


class Labels(NamedTuple):
    """A whole file."""

    name: str
    hash: str
    kind: Kind
    items: tuple[Item, ...]


def read(path: Path, kind: Kind | None = None) -> Labels:
    """`kind`: where it is known; else by what they look like. Raises ConfigError, naming the line."""
    try:
        said = path.read_bytes()
        lines = list(_rows(said.decode("utf-8-sig"), path))
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{path}: cannot be read: {wrong}") from None
    if not lines:
        raise ConfigError(f"{path}: nobody has said anything; each line is an item with a label")
    kind = kind or _kind([row for _, row in lines])
    items: dict[str, Item] = {}
    for number, row in lines:
        try:
            item = _item(row, kind, number)
        except ValueError as wrong:
            raise ConfigError(f"{path}:{number}: {wrong}") from None
        items[item.id] = _with(items[item.id], item) if item.id in items else item
    unsaid = [item.id for item in items.values() if not item.labels]
    if unsaid:
        raise ConfigError(f"{path}: nobody says anything of {unsaid[0]}; each item needs a label")
    return Labels(path.stem, hashlib.sha256(said).hexdigest()[:16], kind, tuple(items.values()))


def _rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
        for row in rows:
            yield rows.line_num, {name: value for name, value in row.items() if name and value is not None}
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as wrong:
                raise ConfigError(f"{path}:{number}: is no JSON object ({wrong})") from None


def _kind(rows: list[dict[str, Any]]) -> Kind:
    """By what they look like: in both orders, in words, or as points."""
    if any("ab" in row or "ba" in row for row in rows):
        return "pair"
    said = {_plain(value) for row in rows for value in _labels(row, 0).values()} - NOTHING
    if said & {"a", "b", "tie"}:
        return "pair"
    return "pass" if said <= set(PASSED) or said <= {"0", "1"} else "scale"


def _item(row: Mapping[str, Any], kind: Kind, number: int) -> Item:
    id = str(row.get("item", "")).strip()
    if not id:
        raise ValueError("no item; each line names one")
    labels = {who: word for who, value in _labels(row, number).items() if (word := _word(value, kind)) is not None}
    verdicts: tuple[Word | None, ...] = ()
    if kind == "pair":
        verdicts = tuple(_word(row.get(order), kind) for order in ("ab", "ba") if order in row)
    elif "verdict" in row:
        verdicts = (_word(row["verdict"], kind),)
    length = row.get("length")
    try:
        return Item(id, labels, verdicts, float(length) if length not in (None, "") else None)
    except (TypeError, ValueError):
        raise ValueError(f"length {length!r} is no number") from None


def _labels(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """By who said it; of somebody without a name, by the line: two of them are two people."""
    found = {name.removeprefix("label:"): value for name, value in row.items() if name.startswith("label:")}
    several = row.get("labels")
    if isinstance(several, Mapping):
        found |= several
    elif isinstance(several, list):
        found |= {f"{at}": value for at, value in enumerate(several, 1)}
    if "label" in row:
        found[str(row.get("labeller") or f"line {number}")] = row["label"]
    return found


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _word(value: Any, kind: Kind) -> Word | None:
    said = _plain(value)
    if value is None or said in NOTHING:
        return None
    if kind == "scale":
        try:
            return float(said)
        except ValueError:
            raise ValueError(f"{value!r} is no number of points") from None
    words = OF_TWO if kind == "pair" else PASSED | {"1": "pass", "0": "fail"}
    if said not in words:
        raise ValueError(f"{value!r} is none of: {', '.join(dict.fromkeys(words.values()))}")
    return words[said]


def _with(before: Item, now: Item) -> Item:
    """What a later line says of the same item is added; what the same person said before is replaced."""
    return Item(
        before.id,
        {**before.labels, **now.labels},
        now.verdicts or before.verdicts,
        before.length if now.length is None else now.length,
    )

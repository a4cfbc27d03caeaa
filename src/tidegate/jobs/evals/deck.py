"""Which judges may gate? Those whose cards are good, in a folder that is kept beside the suites."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.card import Card, Policy, why_not

FOLDER = Path("judge-cards")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A card as it lies there, with where its labels were."""

    card: Card
    labels_file: str = ""  # from the folder; where it is there and has changed, the card holds no more


def keep(folder: Path, card: Card, labels: Path) -> Path:
    """One file for each judge and set of labels: a newer card takes the place of the older one. Raises ConfigError."""
    words = re.sub(r"[^\w.-]+", "-", f"{card.judge}--{card.labels}").strip("-.")[:120]
    unlike = hashlib.sha256(f"{card.judge}\n{card.labels}".encode()).hexdigest()[:6]  # what the words do not tell apart
    path = folder / f"{words}-{unlike}.json"
    where = os.path.relpath(labels.resolve(), folder.resolve())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        encoded = msgspec.json.format(msgspec.json.encode(Kept(card=card, labels_file=where)), indent=1)
        path.write_bytes(encoded + b"\n")
    except OSError as wrong:
        raise ConfigError(f"cannot write {path}: {wrong.strerror or wrong}") from None
    return path


def read(folder: Path) -> list[Kept]:
    """Nothing, where there is no such folder. Raises ConfigError for a file that is no card."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Kept))
        except (OSError, msgspec.DecodeError) as wrong:
            raise ConfigError(f"{path}: is no card of a judge ({wrong}); take it away, or calibrate again") from None
    return found


def against(folder: Path, judge: str, policy: Policy, now: datetime) -> list[str]:
    """Why `judge` may not gate; nothing of one that may.

    Of several sets of labels all must be good: a judge that is right on the easy ones and wrong on the hard ones is not
    the judge of a suite that has both.
    """
    cards = [kept for kept in read(folder) if kept.card.judge == judge]
    if not cards:
        return ["it has no card: tidegate eval calibrate"]
    reasons = []
    for kept in cards:
        said = why_not(kept.card, policy, now)
        if _changed(folder, kept):
            said.append("the labels have changed since")
        reasons += [f"on {kept.card.labels}: {reason}" for reason in said]
    return reasons


def _changed(folder: Path, kept: Kept) -> bool:
    path = folder / kept.labels_file
    try:
        return bool(kept.labels_file) and hashlib.sha256(path.read_bytes()).hexdigest()[:16] != kept.card.labels_hash
    except OSError:
        return False  # labels may be private, and stay where they were made


def may_gate(folder: Path, policy: Policy) -> Callable[[str], bool]:
    """Whether a judge, as model/hash of prompt and rubric, may gate today."""
    known: dict[str, bool] = {}

    def may(judge: str) -> bool:
        if judge not in known:
            known[judge] = not against(folder, judge, policy, datetime.now(UTC))
        return known[judge]

    return may


def card_of(folder: Path) -> Callable[[str], Card | None]:
    """The newest card of a judge of single answers, with which the share that it lets pass is corrected."""
    newest: dict[str, Card] = {}
    for kept in read(folder):
        card = kept.card
        before = newest.get(card.judge)
        if card.kind != "pair" and (before is None or before.made < card.made):
            newest[card.judge] = card
    return newest.get

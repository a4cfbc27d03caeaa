"""Whose is it? Personal data that has a form, known by its checksum or by what stands before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding
from tidegate.stages.guardrails.patterns import Patterns, characters
from tidegate.stages.guardrails.personal import KINDS, Kind
from tidegate.stages.guardrails.units import UnitGuard


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Personal data that has a form. Names and street addresses have none, and are not found.

    kinds: what is looked for, such as email, card, iban, phone, ip, us_ssn; none named: everything.
    without: what is not.
    """

    kinds: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Pii(UnitGuard):
    shortest = 3

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        names = [kind.name for kind in KINDS]
        for field, given in (("kinds", config.kinds), ("without", config.without)):
            for name in given:
                if name not in names:
                    raise ConfigError(f"{field}: no kind {name!r}; there are: {', '.join(dict.fromkeys(names))}")
        wanted = config.kinds or names
        self._kinds: list[Kind] = [one for one in KINDS if one.name in wanted and one.name not in config.without]
        self._patterns = Patterns([kind.pattern for kind in self._kinds], loose=True)
        contexts = "\0".join(kind.context for kind in self._kinds)
        self._contexts = Patterns([kind.context or "$never^" for kind in self._kinds])
        said = f"{self._patterns.fingerprint}\0{contexts}"
        self.fingerprint = hashlib.sha256(said.encode()).hexdigest()[:16]

    def may_hold(self, text: bytes) -> bool:
        return bool(self._patterns.which(text))

    def begin(self) -> Pii:
        return self  # it remembers nothing

    def scan(self, unit: str, before: str) -> list[Finding]:
        text = unit.encode("utf-8", "surrogatepass")
        which = self._patterns.which(text)
        if not which:
            return []
        near: set[int] | None = None
        taken: list[Finding] = []
        for number in sorted(which):  # kinds are in order of how sure they are
            kind = self._kinds[number]
            for start, end in self._patterns.finds(number, text):
                value = text[start:end].decode("utf-8", "replace")
                if near is None and kind.context:
                    near = set(self._contexts.which(before.encode("utf-8", "surrogatepass") + text[:start]))
                if not kind.holds(value, number in near if near is not None else False):
                    continue
                first, last = characters(text, start, end)
                if all(last <= one.start or one.end <= first for one in taken):
                    taken.append(Finding(kind.name, first, last))
            near = None if len(taken) and near is not None else near
        return sorted(taken, key=lambda one: one.start)

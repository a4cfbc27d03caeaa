"""Which of a provider's keys is used? They take turns; one that is refused is set aside, one that is limited rests."""

from __future__ import annotations

from collections.abc import Collection

from tidegate.core.ports import Provider
from tidegate.core.values import Secret


class KeyRing:
    """What is known of the keys of one provider, by their text: a reload may bring others or the same.

    A key may be refused for one model alone, or, as model "", for all of them.
    """

    __slots__ = ("_aside", "_rests", "_turn")

    def __init__(self) -> None:
        self._aside: dict[tuple[str, str], int] = {}  # key and model, until when
        self._rests: dict[str, int] = {}
        self._turn = 0

    def pick(self, keys: tuple[Secret, ...], model: str, now_ns: int, tried: Collection[Secret] = ()) -> Secret | None:
        """The next that is not set aside and was not tried; one that rests only when all do. None: there is none."""
        if len(keys) == 1 and not (self._aside or self._rests or tried):
            return keys[0]
        best: Secret | None = None
        best_at = best_rest = 0
        for step in range(len(keys)):
            at = (self._turn + step) % len(keys)
            key = keys[at]
            if (self._aside and self._back_ns(key, model) > now_ns) or key in tried:
                continue
            rest = max(self._rests.get(key.value, 0) - now_ns, 0) if self._rests else 0
            if best is None or rest < best_rest:
                best, best_at, best_rest = key, at, rest
            if not rest:
                break
        self._turn = best_at + 1
        return best

    def set_aside(self, key: Secret, model: str, now_ns: int, until_ns: int) -> None:
        self._aside = {about: until for about, until in self._aside.items() if until > now_ns}
        self._aside[key.value, model] = until_ns

    def rest(self, key: Secret, until_ns: int) -> None:
        self._rests[key.value] = until_ns

    def forgive(self) -> None:
        """Use all of them again."""
        self._aside.clear()
        self._rests.clear()

    def fresh(self, keys: tuple[Secret, ...], model: str, now_ns: int) -> bool:
        """Whether there is one that neither rests nor is set aside."""
        return any(max(self._rests.get(key.value, 0), self._back_ns(key, model)) <= now_ns for key in keys)

    def back_ns(self, keys: tuple[Secret, ...], model: str, now_ns: int) -> int:
        """When the first of them is no longer set aside; now, when one is not."""
        return max(min((self._back_ns(key, model) for key in keys), default=0), now_ns)

    def aside(self, now_ns: int) -> int:
        """How many are set aside now, for any model."""
        return len({text for (text, _), until in self._aside.items() if until > now_ns})

    def _back_ns(self, key: Secret, model: str) -> int:
        return max(self._aside.get((key.value, model), 0), self._aside.get((key.value, ""), 0))


def shown(provider: Provider, key: Secret) -> str:
    """A key, for people: where it stands and where it comes from, never what it is."""
    return f"key {provider.keys.index(key) + 1} of {len(provider.keys)} ({key.source})"

"""How many in the last so many seconds? Counts that slide, in steps."""

from __future__ import annotations

STEPS = 10  # a window forgets a tenth of itself at a time


class Window:
    """`kinds` counts over the last `seconds`; what is older falls out a step at a time."""

    __slots__ = ("_at", "_newest", "_step_ns", "_steps", "_totals", "_until_ns")

    def __init__(self, seconds: float, kinds: int) -> None:
        self._step_ns = max(round(seconds * 1e9) // STEPS, 1)
        self._at = 0  # the newest step, counted from the clock's beginning
        self._until_ns = self._step_ns  # it ends
        self._steps = [[0] * kinds for _ in range(STEPS)]
        self._newest = self._steps[0]
        self._totals = [0] * kinds

    def add(self, now_ns: int, kind: int) -> None:
        if now_ns >= self._until_ns:
            self._move(now_ns)
        self._newest[kind] += 1
        self._totals[kind] += 1

    def totals(self, now_ns: int) -> list[int]:
        """One count for each kind. The list is the window's own: read it, and keep none."""
        self._move(now_ns)
        return self._totals

    def clear(self) -> None:
        for step in self._steps:
            step[:] = [0] * len(step)
        self._totals[:] = [0] * len(self._totals)

    def _move(self, now_ns: int) -> None:
        """Forget what has become too old."""
        at = now_ns // self._step_ns
        if at > self._at:
            for old in range(max(self._at + 1, at - STEPS + 1), at + 1):
                step = self._steps[old % STEPS]
                for kind, count in enumerate(step):
                    self._totals[kind] -= count
                    step[kind] = 0
            self._at = at
            self._until_ns = (at + 1) * self._step_ns
            self._newest = self._steps[at % STEPS]

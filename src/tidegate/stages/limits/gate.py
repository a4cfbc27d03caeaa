"""Who is guessing keys? An address that presented too many wrong ones waits before the next is even looked at."""

from __future__ import annotations

from collections import OrderedDict

from tidegate.core.errors import LimitReached, Unauthenticated
from tidegate.core.ports import Clock

MINUTE_NS = 60_000_000_000
REMEMBERED = 10_000  # addresses that presented a wrong key lately


class Gate:
    """Counts wrong keys only, so an address whose keys are good pays one look into a dict that is mostly empty."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()  # how many since, and since when

    def passing(self, address: str) -> Gate.Passing:
        return Gate.Passing(self, address)

    def check(self, address: str) -> None:
        found = self._wrong.get(address)
        if found is None:
            return
        count, since_ns = found
        left_ns = since_ns + MINUTE_NS - self._clock.now_ns()
        if left_ns <= 0:
            del self._wrong[address]
        elif count >= self._most:
            wait_s = left_ns / 1e9
            raise LimitReached(
                f"{count} wrong keys came from this address within a minute; try again in {wait_s:.0f} s",
                retry_after_s=wait_s,
            )

    def wrong(self, address: str) -> None:
        count, since_ns = self._wrong.get(address, (0, self._clock.now_ns()))
        self._wrong[address] = (count + 1, since_ns)
        if len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    class Passing:
        __slots__ = ("_address", "_gate")

        def __init__(self, gate: Gate, address: str) -> None:
            self._gate = gate
            self._address = address

        def __enter__(self) -> None:
            if self._gate._wrong:
                self._gate.check(self._address)

        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
            if isinstance(error, Unauthenticated):
                self._gate.wrong(self._address)

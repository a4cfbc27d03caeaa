"""Is the candidate worse than what answers now? A configuration that a share of units has first, and its tripwires.

Which of the two a unit gets depends on nothing but the canary's salt and the unit, so all processes say the same
without asking anybody; and who has the candidate keeps it while the share grows. What takes it back is decided on two
tallies, the candidate's and that of the others.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from tidegate.core.stats import NORMAL
from tidegate.core.stats.screening import clopper_pearson
from tidegate.core.values import Duration, Share

Unit = Literal["key", "user", "session", "request"]
Arm = Literal["control", "candidate"]
Outcome = Literal["ok", "failed", "refused"]
State = Literal["running", "promoted", "rolled_back"]
CONFIDENCE = 0.999  # of each bound, one-sided: they are looked at every second
PARTS = 20  # of a window
MAX_UNITS = 5_000  # whose times and costs are compared, on either side


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a configuration that a share of the units has first is taken back by itself.

    failures: so many calls of the candidate that failed, one after the other.
    error_rate: so many more of its calls fail than of the others.
    refused_rate: so many more of them are refused by what is configured: an unknown model or key, a limit, a guard.
    latency: its answers take so much longer; 50% is half as long again.
    cost: they cost so much more.
    min_units: below so many units on either side nothing is said of latency and cost.
    window: what failed or was refused is forgotten after so long.
    longest: it is taken back when it was not promoted by then.
    """

    failures: Annotated[int, Meta(ge=2)] = 5
    error_rate: Share = Share(0.02)
    refused_rate: Share = Share(0.02)
    latency: Share = Share(0.5)
    cost: Share = Share(0.5)
    min_units: Annotated[int, Meta(ge=2)] = 20
    window: Duration = Duration(300)
    longest: Duration = Duration(86_400)


def trouble(config: Config) -> tuple[str, str] | None:
    """Which key is wrong, and what to do."""
    if config.window <= 0:
        return "window", "must be longer than nothing"
    if config.longest <= 0:
        return "longest", "must be longer than nothing"
    return None


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants who starts one.

    promote_after: without a tripwire for so long, and after `promote_calls` calls, it is promoted by itself.
    """

    share: float
    unit: Unit = "key"
    promote_after_s: float | None = None
    promote_calls: int = 100


class Canary(msgspec.Struct, frozen=True):
    """One as it stands, as all processes know it."""

    fingerprint: str  # of the candidate's file
    salt: str
    wish: Wish
    config: Config  # that it was started under
    began_ms: int
    since_ms: int  # it is in this stage or state
    by: str  # a key's id; `house`, when nobody was asked
    stage: int = 0
    state: State = "running"
    why: str = ""

    @property
    def experiment(self) -> str:
        """As rows call it."""
        return f"config:{self.fingerprint}"

    @property
    def until_ms(self) -> int:
        return self.began_ms + round(self.config.longest * 1000)


_STORED = msgspec.json.Decoder(Canary, dec_hook=lambda kind, value: kind(value))  # shares and durations are numbers


def stored(canary: Canary) -> str:
    return msgspec.json.encode(canary, enc_hook=float).decode()


def read(text: str) -> Canary | None:
    """None: it is of another version."""
    try:
        return _STORED.decode(text)
    except msgspec.DecodeError:
        return None


def fingerprint(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def place(salt: str, unit: str) -> tuple[float, str]:
    """Where a unit stands, from 0 to 1, and its digest: nothing of the one can be told from the other."""
    found = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), key=salt.encode()[:64], digest_size=16).digest()
    return int.from_bytes(found[:8], "big") / 2**64, found[8:].hex()


class Seen(msgspec.Struct, frozen=True):
    """Of one arm, within the window; times and costs since the stage began, each unit counted once."""

    calls: int = 0
    failed: int = 0
    refused: int = 0
    units: int = 0  # two stands for all more: so with the next two
    units_failed: int = 0
    units_refused: int = 0
    timed_units: int = 0
    latency_s: float | None = None  # the middle of units, of answers that were bought
    cost_usd: float | None = None


class _Part:
    """Of a window."""

    __slots__ = ("at", "calls", "failed", "refused", "units", "units_failed", "units_refused")

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = self.failed = self.refused = 0
        self.units: set[str] = set()
        self.units_failed: set[str] = set()
        self.units_refused: set[str] = set()


def _some(units: set[str], one: str) -> None:
    """Whether there are several is all that is asked."""
    if len(units) < 2:
        units.add(one)


class Logs:
    """Means of logarithms, unit by unit: a unit that asks a thousand times has one voice."""

    __slots__ = ("_squares", "_sum", "_units")

    def __init__(self) -> None:
        self._units: dict[str, tuple[int, float]] = {}
        self._sum = self._squares = 0.0

    @property
    def count(self) -> int:
        return len(self._units)

    @property
    def mean(self) -> float:
        return self._sum / len(self._units)

    @property
    def variance(self) -> float:
        """Of the mean."""
        count = len(self._units)
        spread = max(self._squares - self._sum * self._sum / count, 0.0) / (count - 1)
        return spread / count

    def add(self, unit: str, value: float) -> None:
        before = self._units.get(unit)
        if before is None and len(self._units) >= MAX_UNITS:
            return
        count, total = before or (0, 0.0)
        if count:
            self._sum -= total / count
            self._squares -= (total / count) ** 2
        count, total = count + 1, total + math.log(value)
        self._units[unit] = (count, total)
        self._sum += total / count
        self._squares += (total / count) ** 2


class Tally:
    """Of one arm in one stage, as this process sees it."""

    def __init__(self, window_s: float) -> None:
        self._part_ns = max(1, round(window_s * 1e9 / PARTS))
        self._parts: deque[_Part] = deque()
        self.in_a_row = 0  # failures
        self.calls = 0  # of the whole stage
        self.latency = Logs()  # seconds, of answers that were bought
        self.cost = Logs()  # nano-dollars

    def add(
        self, now_ns: int, unit: str, outcome: Outcome, took_s: float | None = None, cost_nusd: int | None = None
    ) -> None:
        """`took_s` and `cost_nusd`: of what was answered, and not from a cache."""
        self.calls += 1
        part = self._part(now_ns)
        part.calls += 1
        _some(part.units, unit)
        if outcome == "failed":
            part.failed += 1
            self.in_a_row += 1
            _some(part.units_failed, unit)
            return
        self.in_a_row = 0
        if outcome == "refused":
            part.refused += 1
            _some(part.units_refused, unit)
            return
        if took_s:
            self.latency.add(unit, took_s)
        if cost_nusd:
            self.cost.add(unit, cost_nusd)

    def _part(self, now_ns: int) -> _Part:
        at = now_ns // self._part_ns
        if not self._parts or self._parts[-1].at != at:
            self._parts.append(_Part(at))
            self._forget(at)
        return self._parts[-1]

    def _forget(self, at: int) -> None:
        while self._parts and self._parts[0].at <= at - PARTS:
            self._parts.popleft()

    def seen(self, now_ns: int) -> Seen:
        self._forget(now_ns // self._part_ns)
        parts = self._parts
        return Seen(
            sum(part.calls for part in parts),
            sum(part.failed for part in parts),
            sum(part.refused for part in parts),
            _several(part.units for part in parts),
            _several(part.units_failed for part in parts),
            _several(part.units_refused for part in parts),
            self.latency.count,
            round(math.exp(self.latency.mean), 6) if self.latency.count else None,
            math.exp(self.cost.mean) / 1e9 if self.cost.count else None,
        )


def _several(sets: Iterable[set[str]]) -> int:
    return min(2, len(set().union(*sets)))


class Verdict(NamedTuple):
    did: Literal["wait", "promote", "roll_back"]
    why: str = ""


WAIT = Verdict("wait")


def judge(canary: Canary, candidate: Tally, control: Tally, now_ns: int, now_ms: int) -> Verdict:
    """Whether it goes on. What is worse beyond doubt takes it back at once; promoted is what lasted without."""
    if now_ms >= canary.until_ms:
        return Verdict("roll_back", f"it was not promoted within {canary.config.longest!r} (canary.longest)")
    why = worse(candidate, control, canary.config, now_ns)
    if why:
        return Verdict("roll_back", why)
    after_s, age_s = canary.wish.promote_after_s, (now_ms - canary.since_ms) / 1000
    if after_s is not None and age_s >= after_s and candidate.calls >= canary.wish.promote_calls:
        return Verdict("promote", f"{candidate.calls} calls in {age_s:.0f} s, and nothing was worse")
    return WAIT


def worse(candidate: Tally, control: Tally, config: Config, now_ns: int) -> str:
    """In what the candidate is worse, as a person would say it; "" where nothing is beyond doubt."""
    if candidate.in_a_row >= config.failures > control.in_a_row:
        return f"{candidate.in_a_row} calls in a row failed (canary.failures)"
    new, old = candidate.seen(now_ns), control.seen(now_ns)
    # What one unit alone gets wrong says nothing of the configuration, where there are others.
    if new.units_failed >= new.units and _more(new.failed, new.calls, old.failed, old.calls, config.error_rate):
        return f"{_of(new.failed, new.calls)} failed, {_of(old.failed, old.calls)} of the others (canary.error_rate)"
    if new.units_refused >= new.units and _more(new.refused, new.calls, old.refused, old.calls, config.refused_rate):
        said = f"{_of(new.refused, new.calls)} were refused, {_of(old.refused, old.calls)} of the others"
        return f"{said} (canary.refused_rate)"
    least = config.min_units
    if _longer(candidate.latency, control.latency, config.latency, least):
        said = f"{_middle(candidate.latency):.3f} s, and {_middle(control.latency):.3f} s of the others"
        return f"an answer takes {said} (canary.latency)"
    if _longer(candidate.cost, control.cost, config.cost, least):
        said = f"${_middle(candidate.cost) / 1e9:.6f}, and ${_middle(control.cost) / 1e9:.6f} with the others"
        return f"an answer costs {said} (canary.cost)"
    return ""


def _of(hits: int, calls: int) -> str:
    return f"{hits} of {calls} calls"


def _middle(logs: Logs) -> float:
    return math.exp(logs.mean)


def _more(hits: int, calls: int, others: int, of: int, margin: float) -> bool:
    """Whether the share is larger by more than `margin`, beyond doubt: by exact bounds of both."""
    if not calls or not of or hits / calls - others / of <= margin:
        return False
    both = 2 * CONFIDENCE - 1
    low, high = clopper_pearson(hits, calls, both).low, clopper_pearson(others, of, both).high
    return low is not None and high is not None and low > high + margin


def _longer(new: Logs, old: Logs, margin: float, least: int) -> bool:
    if new.count < least or old.count < least:
        return False
    apart = new.mean - old.mean - NORMAL.inv_cdf(CONFIDENCE) * math.sqrt(new.variance + old.variance)
    return apart > math.log1p(margin)


class Report(msgspec.Struct, frozen=True):
    """One, and what the process that is asked sees of it; `here`: whether it has the candidate itself."""

    canary: Canary
    here: bool
    candidate: Seen
    control: Seen


class Canaries(Protocol):
    """What an administrator may do. Raises NotFound, BadRequest, Conflict, StoreDown."""

    async def start(self, wish: Wish, by: str) -> Canary: ...

    async def report(self) -> Report:
        """The one that runs, or the last."""

    async def advance(self, share: float, by: str) -> Canary: ...

    async def promote(self, by: str) -> Canary: ...

    async def roll_back(self, by: str, why: str) -> Canary: ...

"""May this target be asked, or is it set aside for a while? A state machine, which decides and does nothing.

    closed ──(failures in a row, or too many, or too many slow ones)──► open
    open ──(its time is over, and nobody else is asking)──► half_open: one call goes through
    half_open ──(that call got an answer)──► closed      ──(it did not)──► open

What clients did wrong, what they left, and what we refused ourselves says nothing about a target and never comes here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration, Share
from tidegate.upstream.window import Window

State = Literal["closed", "open", "half_open"]
Verdict = Literal["ask", "probe", "pass"]

CALLS, FAILED, SLOW = 0, 1, 2
EARLY_NS = 1_000_000_000
PROBE_S = 60.0  # a probe of which nothing was heard for so long is lost, and another may go


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a target that fails is set aside, so that calls go elsewhere at once. For each target on its own.

    enabled: no sets nobody aside.
    failures: so many in a row set it aside; 0 never does.
    error_rate: so large a part of the calls in the window.
    slow: a first token later than this is slow; null, and none ever is.
    slow_rate: so large a part of the calls in the window, slow.
    min_calls: below so many calls in the window their parts say nothing.
    window: how long a call is remembered.
    open_for: how long it is set aside; then one call tries it, of all processes together.
    """

    enabled: bool = True
    failures: Annotated[int, Meta(ge=0)] = 5
    error_rate: Share = Share(0.5)
    slow: Duration | None = None
    slow_rate: Share = Share(0.5)
    min_calls: Annotated[int, Meta(ge=1)] = 20
    window: Duration = Duration(30)
    open_for: Duration = Duration(10)


class Breaker:
    """Of one target. Every method that returns a bool says whether the state has changed."""

    __slots__ = ("_in_a_row", "_window", "_window_s", "forced", "since_ns", "state", "until_ns", "why")

    def __init__(self, config: Config, now_ns: int) -> None:
        self.state: State = "closed"
        self.forced = False  # by an admin: it stays as it is until it is reset
        self.why = ""
        self.since_ns = now_ns
        self.until_ns = 0  # open: when one call may try; half open: when that call counts as lost
        self._in_a_row = 0
        self._window_s = float(config.window)
        self._window = Window(config.window, 3)

    def asks(self, now_ns: int, *, early: bool = False) -> Verdict:
        """`early`: nobody else is left for a call, so it may try before the time is over, one in a second."""
        if self.state == "closed":
            return "ask"
        early = early and self.state == "open" and now_ns - self.since_ns >= EARLY_NS
        if self.forced or (now_ns < self.until_ns and not early):
            return "pass"
        return "probe"

    def probing(self, now_ns: int) -> bool:
        """One call goes through, and this is known to be the one."""
        self.until_ns = now_ns + round(PROBE_S * 1e9)
        return self._become("half_open", "one call tries whether it is well again", now_ns)

    def wait(self, now_ns: int, seconds: float) -> None:
        """Another process is trying: look again later."""
        self.until_ns = max(self.until_ns, now_ns + round(seconds * 1e9))

    def probe_answered(self, now_ns: int, first_s: float, config: Config) -> bool:
        """It has begun to answer: that is enough, and the rest may take minutes."""
        if self.state != "half_open" or self.forced:
            return False
        if config.slow is not None and first_s > config.slow:
            return self._open(now_ns, f"still slow: its first token took {first_s:.1f} s", config)
        return self.close("it answers again", now_ns)

    def probe_failed(self, now_ns: int, why: str, config: Config) -> bool:
        if self.state != "half_open" or self.forced:
            return False
        return self._open(now_ns, why, config)

    def probe_left(self, now_ns: int) -> bool:
        """Whoever was trying went away, so nothing is known: the next call may try."""
        if self.state != "half_open" or self.forced:
            return False
        self.until_ns = now_ns
        return self._become("open", "the call that tried it was left", now_ns)

    def ended(self, now_ns: int, ok: bool, slow: bool, config: Config) -> bool:
        """A call at a target that is not set aside went well, or it did not."""
        if self._window_s != config.window:
            self._window, self._window_s = Window(config.window, 3), float(config.window)
        self._window.add(now_ns, CALLS)
        if slow:
            self._window.add(now_ns, SLOW)
        if ok:
            self._in_a_row = 0
            if not slow:
                return False
        else:
            self._window.add(now_ns, FAILED)
            self._in_a_row += 1
        if self.state != "closed" or self.forced or not config.enabled:
            return False  # what was under way when it was set aside changes nothing
        why = self._too_bad(now_ns, config)
        return bool(why) and self._open(now_ns, why, config)

    def _too_bad(self, now_ns: int, config: Config) -> str:
        if config.failures and self._in_a_row >= config.failures:
            return f"{self._in_a_row} failures in a row"
        calls, failed, slow = self._window.totals(now_ns)
        if calls < config.min_calls:
            return ""
        if failed >= calls * config.error_rate and failed:
            return f"{failed} of {calls} calls failed within {float(config.window):g} s"
        if slow >= calls * config.slow_rate and slow:
            return f"{slow} of {calls} calls were slow within {float(config.window):g} s"
        return ""

    def force(self, state: State, now_ns: int) -> bool:
        """As an admin says, until `close` or another force."""
        self.forced = True
        return self._become(state, "an admin says so", now_ns)

    def close(self, why: str, now_ns: int) -> bool:
        """As new."""
        self.forced = False
        self._in_a_row = 0
        self._window.clear()
        return self._become("closed", why, now_ns)

    def agree(self, state: State, why: str, since_ns: int, until_ns: int, forced: bool) -> bool:
        """What another process knows, and knew later than we."""
        changed = state != self.state
        if state == "closed" and not forced:
            self.close(why, since_ns)
        else:
            self.forced, self.until_ns = forced, until_ns
            self._become(state, why, since_ns)
        return changed

    def _open(self, now_ns: int, why: str, config: Config) -> bool:
        self.until_ns = now_ns + round(config.open_for * 1e9)
        return self._become("open", why, now_ns)

    def _become(self, state: State, why: str, now_ns: int) -> bool:
        changed = state != self.state
        self.state, self.why, self.since_ns = state, why, now_ns
        return changed

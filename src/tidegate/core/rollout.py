"""Where does a rollout go from here? On, back, to everybody or nowhere: by what its units say, and by nothing else.

    wait · advance · promote · roll_back · inconclusive · blocked

Back is easy, on is not: one metric that is certainly worse takes back; to promote, all of them must be fine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from tidegate.core.experiments import CONTROL, METRICS, Spec
from tidegate.core.findings import Finding, findings, share_of
from tidegate.core.stats import sequential_counts
from tidegate.core.tally import NEVER, Group, Tally

Did = Literal["wait", "advance", "promote", "roll_back", "inconclusive", "blocked"]
WRONG_RATIO = 0.001  # how often, of all rollouts, a right sample ratio is told to be wrong


class Ratio(msgspec.Struct, frozen=True):
    """Units of one stage that were seen for the first time, by arm, and how many there should be.

    chance: that it ever comes to this while all is right (at most). Of several stages the one that is least likely.
    """

    stage: int
    units: dict[str, int]
    expected: dict[str, float]
    chance: float


class Judgement(msgspec.Struct, frozen=True):
    """What should be done, and all that a report says of why."""

    did: Did
    why: str
    arm: str | None = None  # that wins, or is taken back
    findings: tuple[Finding, ...] = ()
    ratio: Ratio | None = None


def decide(spec: Spec, stage: int, stage_age_s: float, age_s: float, tally: Tally) -> Judgement:
    """The same for the same units, in whatever order they were counted, whenever it is asked.

    `tally`: of all stages so far. Whether what comes out is done without a person, is not asked here.
    """
    found, ratio = findings(spec, tally), sample_ratio(spec, tally)
    units = {
        arm.name: sum(count for group, count in tally.lines.items() if group[:2] == (stage, arm.name))
        for arm in spec.arms
    }
    now = _Now(spec, stage, stage_age_s, age_s, tally.spent_on_arms_nusd, units)
    did, why, who = _decided(now, found, ratio)
    return Judgement(did, why, who, found, ratio)


def sample_ratio(spec: Spec, tally: Tally) -> Ratio | None:
    """Of the units that chance had to give something to. None: there are none yet."""
    names = [CONTROL, *(arm.name for arm in spec.arms)]
    found, logs = [], []
    for stage in sorted({group.stage for group in tally.lines if group.before == NEVER}):
        chances = [1 - spec.ramp[stage], *(share_of(spec, name, stage) for name in names[1:])]
        counts = [tally.lines.get(Group(stage, name, NEVER), 0) for name in names]
        logs.append(sequential_counts.log_evidence(counts, chances))
        total = sum(counts)
        expected = {name: total * chance for name, chance in zip(names, chances, strict=True)}
        found.append(Ratio(stage, dict(zip(names, counts, strict=True)), expected, 1.0))
    if not found:
        return None
    least_likely = found[max(range(len(found)), key=lambda at: logs[at])]
    return msgspec.structs.replace(least_likely, chance=math.exp(-max(0.0, sequential_counts.mixed(logs))))


class _Now(NamedTuple):
    spec: Spec
    stage: int
    stage_age_s: float
    age_s: float
    spent_nusd: int
    units: dict[str, int]  # in this stage, by arm

    @property
    def is_last(self) -> bool:
        return self.stage >= len(self.spec.ramp) - 1

    @property
    def is_compared(self) -> bool:
        """Somebody still has the control."""
        return self.spec.ramp[self.stage] < 1

    @property
    def over(self) -> str:
        """Why it must end; "" while it need not."""
        if self.age_s >= self.spec.max_duration:
            return f"its time of {self.spec.max_duration!r} is over"
        if self.spec.max_usd is not None and self.spent_nusd >= self.spec.max_usd * 1e9:
            return f"it has cost the {self.spec.max_usd:g} USD that it may"
        return ""

    @property
    def lacks(self) -> str:
        """What this stage has to have before it may end; "" when it has that."""
        few = {arm: count for arm, count in self.units.items() if count < self.spec.min_units}
        if few:
            said = ", ".join(f"{arm} {count}" for arm, count in few.items())
            return f"this stage needs {self.spec.min_units} {self.spec.unit}s with each arm, and has: {said}"
        if self.stage_age_s < self.spec.min_duration:
            return f"this stage lasts {self.spec.min_duration!r} at least"
        return ""


Decided = tuple[Did, str, str | None]


def _decided(now: _Now, found: Sequence[Finding], ratio: Ratio | None) -> Decided:
    """In this order: who is harmed is helped first, also where the sample ratio is wrong, since the control is safe."""
    spec = now.spec
    if spec.unit == "request":
        why = "counted by request, where calls of one user pass for many: no decision is made from that"
        return ("inconclusive", f"{now.over}; {why}", None) if now.over else ("wait", why, None)
    harm = next((one for one in found if one.verdict == "worse"), None)
    if harm is not None:
        return "roll_back", harmed(harm, spec.unit), harm.arm
    if ratio is not None and ratio.chance < WRONG_RATIO:
        why = _wrong_ratio(ratio, spec.unit)
        return ("inconclusive", f"{now.over}; {why}", None) if now.over else ("blocked", why, None)
    winner = _winner(spec, found)
    did, why = _onward(now, found, winner)
    if did == "wait" and now.over:
        return "inconclusive", f"{now.over}, and the control stays: {why}", None
    return did, why, winner if did in ("promote", "advance") else None


def _onward(now: _Now, found: Sequence[Finding], winner: str | None) -> tuple[Did, str]:
    """Wherever nobody would have the control any more, all must be known: there is nothing to compare with there."""
    if now.lacks:
        return "wait", now.lacks
    if now.is_last:
        if winner is None:
            return "wait", unsettled(now.spec, found)
        return "promote", _won(now.spec, found, winner)
    if winner is None and (now.over or now.spec.ramp[now.stage + 1] >= 1):
        return "wait", unsettled(now.spec, found)
    if now.over:
        return "wait", f"{winner} has shown all it had to, but not yet to {now.spec.ramp[-1]!r} of the {now.spec.unit}s"
    worrying = next((one for one in found if one.looks_worse), None)
    if worrying is not None:
        return "wait", f"{worrying.arm} looks worse in {named(worrying)}, by {apart(worrying)}, but that may be chance"
    return "advance", f"nothing looks worse than its margin after {_counted(now.units, now.spec.unit)} of this stage"


def _winner(spec: Spec, found: Sequence[Finding]) -> str | None:
    """Of the arms of which all is known and good: the one with most gain; without a primary metric, the heaviest."""
    good = [
        arm for arm in spec.arms if all(one.verdict in ("better", "within") for one in found if one.arm == arm.name)
    ]
    gains = {one.arm: _gain(one) for one in found if one.role == "primary"}
    best = max(good, key=lambda arm: (gains.get(arm.name, 0.0), arm.weight), default=None)
    return None if best is None or not found else best.name


def _gain(finding: Finding) -> float:
    estimate = finding.estimate or 0.0
    return estimate if METRICS[finding.metric].better == "higher" else -estimate


# --- in plain words


def named(finding: Finding) -> str:
    return finding.metric.replace("_", " ")


def amount(finding: Finding, difference: float) -> str:
    """0.031 of a ratio as 3.1 %, of a share as 3.1 points (of a hundred), of scores as it is; without its sign."""
    size = abs(difference)
    match METRICS[finding.metric].kind:
        case "mean":
            return f"{size:.2g}"
        case "share":
            return f"{float(f'{size * 100:.2g}'):g} points" if size != 0.01 else "1 point"
        case "ratio":
            return f"{size:.2%}" if size < 0.01 else f"{size:.0%}" if size >= 0.1 else f"{size:.1%}"


def apart(finding: Finding) -> str:
    return amount(finding, finding.estimate or 0.0)


def _surely(finding: Finding, worse: bool) -> float:
    """The end of the interval on this side."""
    end = finding.high if worse == (METRICS[finding.metric].better == "higher") else finding.low
    return end or 0.0


def harmed(finding: Finding, unit: str) -> str:
    least = amount(finding, _surely(finding, worse=True))
    return (
        f"{finding.arm} is worse in {named(finding)}: by {apart(finding)}, and by {least} at least, after "
        f"{finding.units} {unit}s with it and {finding.control_units} without; the margin is "
        f"{amount(finding, finding.margin)}"
    )


def _won(spec: Spec, found: Sequence[Finding], winner: str) -> str:
    own = [one for one in found if one.arm == winner]
    said = [
        f"better in {named(one)} by {apart(one)}, and by {amount(one, _surely(one, worse=False))} at least"
        for one in own
        if one.role == "primary"
    ]
    guards = ", ".join(f"{named(one)} within {amount(one, one.margin)}" for one in own if one.role == "guard")
    return f"{winner}: {'; '.join((*said, *([guards] if guards else [])))} ({own[0].units} {spec.unit}s with it)"


def unsettled(spec: Spec, found: Sequence[Finding]) -> str:
    """What is not known yet, of the arm and metric that needs most; and what would tell."""
    open_ = [one for one in found if one.verdict in ("unsure", "unknown")]
    if not open_:
        return "nothing is looked at, so nothing can be known: name guards or a primary metric"
    most = max(open_, key=lambda one: math.inf if one.needs is None else one.needs)
    if most.estimate is None or most.low is None or most.high is None:
        seen = f"{most.units} with it, {most.control_units} without"
        return f"{most.arm}: too few {spec.unit}s have a value of {named(most)}: {seen}"
    wanted = "better" if most.role == "primary" else f"within {amount(most, most.margin)} of the control"
    between = f"the difference is between {_signed(most, most.low)} and {_signed(most, most.high)}"
    tells = (
        f"some {most.needs} more {spec.unit}s with it would probably tell"
        if most.needs
        else "more units would not tell"
    )
    return f"{most.arm}: it is not sure that {named(most)} is {wanted}: {between}; {tells}"


def _signed(finding: Finding, difference: float) -> str:
    return ("-" if difference < 0 else "+") + amount(finding, difference)


def _counted(units: dict[str, int], unit: str) -> str:
    return ", ".join(f"{count} {unit}s with {arm}" for arm, count in units.items())


def _wrong_ratio(ratio: Ratio, unit: str) -> str:
    said = ", ".join(f"{arm} {count} instead of {ratio.expected[arm]:.0f}" for arm, count in ratio.units.items())
    return (
        f"{unit}s were not given out, or not counted, as they should be: {said}. Nothing can be compared until it is "
        "known why: calls of one arm may leave no row"
    )

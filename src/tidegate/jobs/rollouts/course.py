"""Which moves are there, by a person and by what was found? All of it is decided here, in plain functions.

draft ─► gate ─► running: stage by stage ─► promoted │ rolled_back │ inconclusive │ stopped
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from tidegate.core.errors import BadRequest, Conflict
from tidegate.core.experiments import Experiment, Spec, State
from tidegate.core.rollout import Judgement

Verb = Literal["start", "advance", "promote", "rollback", "stop"]
VERBS: tuple[Verb, ...] = get_args(Verb)
POSSIBLE: dict[State, tuple[Verb, ...]] = {
    "draft": ("start", "stop"),
    "gate": ("stop",),
    "running": ("advance", "promote", "rollback", "stop"),
    "promoted": ("rollback",),
    "rolled_back": (),
    "inconclusive": (),
    "stopped": (),
}


class Move(NamedTuple):
    """`did` is the decision's word, and the alert's after `experiment_`."""

    did: str
    state: State
    stage: int
    why: str
    arm: str = ""


def possible(experiment: Experiment, spec: Spec) -> list[Verb]:
    """What a person can do with it now. What only a shadow has said is given to nobody: that is another experiment."""
    last, unseen = experiment.stage >= len(spec.ramp) - 1, spec.mode == "shadow"
    beyond = {"advance": last, "promote": unseen}
    return [verb for verb in POSSIBLE[experiment.state] if not beyond.get(verb, False)]


def wanted(experiment: Experiment, spec: Spec, verb: Verb, why: str, arm: str = "") -> Move:
    """What a person asks for. Raises Conflict in a wrong state, saying what can be done, and BadRequest."""
    there = possible(experiment, spec)
    if verb == "promote" and spec.mode == "shadow":
        unseen = f"nobody has seen what the arms of {experiment.name!r} say"
        raise Conflict(f"{unseen}; begin an experiment whose mode is live, and let it show that they are good")
    if verb not in there:
        where: str = experiment.state
        if where == "running":
            where = f"running at its last stage, {spec.ramp[-1]:.0%}"
        instead = f"it can: {', '.join(there)}" if there else "it has ended; begin another one"
        raise Conflict(f"experiment {experiment.name!r} cannot {verb}: it is {where}; {instead}")
    stage = experiment.stage
    match verb:
        case "start" if spec.gate is not None:
            return Move("started", "gate", 0, why or f"the suite {spec.gate} is asked first")
        case "start":
            return Move("started", "running", 0, why)
        case "advance":
            return Move("advanced", "running", stage + 1, why)
        case "promote":
            return Move("promoted", "promoted", stage, why, _arm(spec, arm))
        case "rollback":
            return Move("rolled_back", "rolled_back", stage, why)
        case "stop":
            return Move("stopped", "stopped", stage, why)


def _arm(spec: Spec, arm: str) -> str:
    """Raises BadRequest: of several somebody must say which."""
    names = [one.name for one in spec.arms]
    if not arm and len(names) == 1:
        return names[0]
    if arm not in names:
        raise BadRequest(f"arm: say which is promoted: {', '.join(names)}", param="arm")
    return arm


def followed(experiment: Experiment, spec: Spec, judgement: Judgement) -> Move | None:
    """What is done about what was found; None: nothing now.

    What a person wants to decide, what is counted by request and what nobody sees the arms of is never decided without
    one: but when its time or money is over, it ends.
    """
    if experiment.state != "running":
        return None
    stage, why, arm = experiment.stage, judgement.why, judgement.arm or ""
    if not is_automatic(spec) and judgement.did not in ("inconclusive", "blocked"):
        return None
    if spec.mode == "shadow" and judgement.did == "blocked":
        return None  # all its units have the control, as they should
    match judgement.did:
        case "advance" if stage < len(spec.ramp) - 1:
            return Move("advanced", "running", stage + 1, why, arm)
        case "promote":
            return Move("promoted", "promoted", stage, why, arm)
        case "roll_back":
            return Move("rolled_back", "rolled_back", stage, why, arm)
        case "inconclusive":
            return Move("inconclusive", "inconclusive", stage, why)
        case "blocked":
            return Move("blocked", "running", stage, why)
    return None


def is_automatic(spec: Spec) -> bool:
    return spec.automatic and spec.unit != "request" and spec.mode == "live"


def gated(experiment: Experiment, spec: Spec, failed: dict[str, str]) -> Move:
    """After the suite; `failed`: why, by arm."""
    if not failed:
        return Move("gate_passed", "running", 0, f"every arm has passed the suite {spec.gate}")
    said = "; ".join(f"{arm}: {why}" for arm, why in failed.items())
    return Move("stopped", "stopped", 0, f"the suite {spec.gate} was not passed: {said}")

"""What is tried on whom? Experiments as they are described, as they stand, and what is seen of them.

An experiment has a control, which is how it is done now, and one or more arms that are given to a share of the units
(users, sessions, teams). The share grows from stage to stage. What a unit gets depends on nothing but the
experiment's salt and the unit itself, so every process says the same without asking anybody.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.body import mistake
from tidegate.core.values import Duration, Share

UnitKind = Literal["user", "session", "team", "request"]  # request: never decided automatically
State = Literal["draft", "gate", "running", "promoted", "rolled_back", "inconclusive", "stopped"]
Mode = Literal["live", "shadow"]  # shadow: everybody gets the control, the arms answer in the background
ENDED = ("promoted", "rolled_back", "inconclusive", "stopped")
CONTROL = "control"
RAMP = (Share(0.01), Share(0.05), Share(0.25), Share(0.5), Share(1.0))

Kind = Literal[
    "share", "ratio", "mean"
]  # of calls, 0 or 1 · positive with a long tail, compared as logs · a plain mean
Better = Literal["lower", "higher"]


class Measured(NamedTuple):
    """What the gateway or the feedback endpoint measures of a call, and how it is compared between units."""

    kind: Kind
    better: Better
    what: str


METRICS: dict[str, Measured] = {
    "error_rate": Measured("share", "lower", "calls that failed or broke off"),
    "first_token": Measured("ratio", "lower", "time to the first token, in microseconds"),
    "latency": Measured("ratio", "lower", "duration of a call that was answered, in microseconds"),
    "cost": Measured("ratio", "lower", "cost of a call, in nano-dollars"),
    "guard_rate": Measured("share", "lower", "calls that a guard refused or masked something of"),
    "retry_rate": Measured("share", "lower", "calls whose user asked nearly the same again"),
    "satisfaction": Measured("mean", "higher", "what users say of an answer, 0 to 1"),
    "judge_score": Measured("mean", "higher", "what judges say of an answer, 0 to 1"),
    "task_completion": Measured("share", "higher", "answers that did what was wanted, where somebody says so"),
}


class ArmSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way to do it. What is left out is as in the control.

    name: as rows and reports call it.
    weight: its share among the arms that are tried.
    route: a route of the configuration that answers instead, with its targets, guards and cache.
    target: provider/model that is asked instead of the route's targets.
    prompts: versions of prompts, by name: {"support": 4}.
    parameters: of the request, such as temperature or max_tokens; they replace the client's.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    route: str | None = None
    target: str | None = None
    prompts: dict[str, int] = {}
    parameters: dict[str, Any] = {}


class GuardMetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must not get worse by more than its margin.

    metric: one of METRICS.
    margin: of shares and means, in their own unit (0.01 is one of 100 calls); of ratios, relative (0.1: a tenth more).
    """

    metric: str
    margin: Annotated[float, Meta(gt=0)]


GUARDS = (
    GuardMetric("error_rate", 0.01),
    GuardMetric("latency", 0.10),
    GuardMetric("cost", 0.10),
)


class Tripwires(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What takes an arm back at once, whatever statistics say: in every process, within seconds. 0 turns one off.

    failures: calls of the arm that failed (5xx, or broke off) one after the other in one process, while the control
        does not fail.
    malformed: answers of the arm one after the other that are not what the call's response schema asks for.
    burn: what a unit of the arm spends in a minute, as a multiple of what one of the control does.
    """

    failures: Annotated[int, Meta(ge=0, le=10_000)] = 10
    malformed: Annotated[int, Meta(ge=0, le=10_000)] = 0
    burn: Annotated[float, Meta(ge=0)] = 10.0


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What is tried, on whom, and what decides.

    route: whose calls take part, by the name that clients ask for; none: of every route.
    prompt: calls that name this prompt, and no version of it.
    unit: what gets one arm and keeps it.
    layer: of experiments in the same layer, a unit takes part in one only; of different layers, in all.
    layer_share: of the layer's units, those that may take part: [from, to).
    control: how it is done now; arms: what is tried.
    ramp: the share of units that get an arm, stage by stage.
    primary: what has to get better, and by how much it must for the change to be worth it (`margin`); none: it is
        enough that nothing gets worse.
    guards: what must not get worse.
    confidence: with which a decision is right.
    min_units: with an arm, before a stage may end; min_duration: how long it lasts at least.
    max_duration: of the whole; without enough evidence by then it is inconclusive, and the control stays.
    gate: a suite that each arm must pass before anybody gets it.
    label: of `prompt`, that a promotion moves.
    automatic: whether it is decided without a person.
    tripwires: what takes it back at once.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
    arms: Annotated[tuple[ArmSpec, ...], Meta(min_length=1, max_length=8)]
    control: ArmSpec = ArmSpec(CONTROL)
    route: str | None = None
    prompt: str | None = None
    label: str = "production"
    unit: UnitKind = "user"
    layer: str = "default"
    layer_share: tuple[float, float] = (0.0, 1.0)
    mode: Mode = "live"
    ramp: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=20)] = RAMP
    primary: GuardMetric | None = None
    guards: tuple[GuardMetric, ...] = GUARDS
    confidence: Annotated[float, Meta(ge=0.8, lt=1)] = 0.95
    min_units: Annotated[int, Meta(ge=1)] = 100
    min_duration: Duration = Duration(600)
    max_duration: Duration = Duration(14 * 86_400)
    max_usd: Annotated[float, Meta(gt=0)] | None = None  # that arms may cost, and what judges and shadows cost for them
    gate: str | None = None
    automatic: bool = True
    tripwires: Tripwires = Tripwires()
    note: str = ""


class Experiment(msgspec.Struct, frozen=True):
    """One as it stands, as the store keeps it. Only `change` moves it on: of two that would, one does."""

    id: str
    name: str
    spec: str  # JSON of a Spec: never changed
    salt: str
    created_ms: int
    by: str  # a key's id
    state: State = "draft"
    stage: int = 0  # in the ramp
    since_ms: int = 0  # it is in this state and stage
    steps: int = 0  # decisions so far; the id of the next is ID#STEPS
    why: str = ""  # it is where it is
    arm: str = ""  # that was promoted
    archived_ms: int = 0  # nothing of it holds any more, and its name is free; 0: not yet

    @property
    def holds(self) -> bool:
        """Whether anything of it has an effect."""
        return not self.archived_ms and self.state in ("running", "promoted")


def id_of(name: str, number: int) -> str:
    """Of the experiment that is the `number`th of this name."""
    return f"{name}.{number}"


def name_of(id: str) -> str:
    return id.rpartition(".")[0] or id


class Decision(msgspec.Struct, frozen=True):
    """That an experiment went on, was taken back, or ended; and all that it was decided on."""

    id: str  # ID#STEP: of two deciding at once, one
    experiment: str
    at_ms: int
    did: str  # started | advanced | promoted | rolled_back | inconclusive | stopped
    was_state: str
    was_stage: int
    state: str
    stage: int
    by: str  # a key's id; `house`, when nobody was asked
    why: str  # in plain words
    inputs: str  # JSON: what was seen, from which the same follows again
    arm: str = ""  # that it was about


class Assigned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a call got of one experiment. In its row, and nowhere else."""

    experiment: str  # id
    stage: int
    arm: str
    unit: str  # 16 hex digits: a digest of the unit under the experiment's salt
    counted: bool = True  # not where a header chose the arm


class Known(NamedTuple):
    """An experiment as a process knows it."""

    experiment: Experiment
    spec: Spec


class UnitLine(NamedTuple):
    """What was seen of one unit in one stage: sums over its calls that count."""

    stage: int
    arm: str
    unit: str
    first_ms: int  # of its first call: units come in this order
    calls: int = 0
    failed: int = 0
    answered: int = 0  # those whose times count
    took_us: int = 0
    begun: int = 0  # of `answered`, those that have a first token
    first_us: int = 0
    priced: int = 0
    cost_nusd: int = 0
    guarded: int = 0
    asked_again: int = 0
    scored: int = 0  # opinions of users with a score
    score_milli: int = 0
    judged: int = 0
    judged_milli: int = 0
    tasks: int = 0
    completed: int = 0


# --- a description as JSON --------------------------------------------------------------------------------------------


def read(fields: Any) -> Spec:
    """What somebody describes. Raises BadRequest with the path of the field that is wrong."""
    try:
        return msgspec.convert(fields, Spec, dec_hook=_parsed, str_keys=True)
    except msgspec.ValidationError as wrong:
        raise mistake(wrong, "spec") from None


def kept(spec: Spec) -> str:
    """With all that it does not say: another version of ours may have other defaults."""
    said = {**msgspec.structs.asdict(spec), "tripwires": msgspec.structs.asdict(spec.tripwires)}
    return msgspec.json.encode(said, enc_hook=float).decode()


def spec_of(experiment: Experiment) -> Spec:
    return read(msgspec.json.decode(experiment.spec))


def _parsed(kind: type[Any], value: Any) -> Any:
    return kind.parse(value)

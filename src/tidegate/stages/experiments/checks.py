"""Can it be tried as it is described? Everything that is wrong with it, each with what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tidegate.core.errors import ModelNotFound
from tidegate.core.experiments import CONTROL, METRICS, ArmSpec, Known, Spec
from tidegate.core.nearest import nearest
from tidegate.stages.experiments import parameters
from tidegate.stages.experiments.plan import Names

# Metrics that somebody has to say, and how that is done.
SAID = {
    "satisfaction": "nobody has said what answers are worth in the last days; POST /v1/feedback with thumbs or a score",
    "judge_score": "no judge has been heard in the last days; set routes.NAME.judge, or send scores with source judge",
    "task_completion": "nobody has said whether tasks were done in the last days; POST /v1/feedback, task_completed",
}


class Wrong(NamedTuple):
    path: str
    said: str
    stops: bool = True  # else it can be tried, and somebody should know


class PromptThere(NamedTuple):
    versions: Collection[int]
    labels: Collection[str]
    protected: Collection[str]  # labels, too


class There(NamedTuple):
    """What there is now, as far as a description can name it.

    `names`: raises ModelNotFound. `parameter`: what is wrong with one. `prompts`: None, where nobody knows. `others`:
    that are not archived. `heard`: metrics of SAID that somebody has said something for lately.
    """

    names: Names
    parameter: Callable[[str, Any], Iterator[str]]
    others: Sequence[Known] = ()
    prompts: Mapping[str, PromptThere] | None = None
    heard: Collection[str] = ()


def trouble(spec: Spec, there: There) -> Iterator[Wrong]:
    yield from _route(spec, there)
    yield from _arms(spec, there)
    yield from _prompt(spec, there)
    yield from _course(spec)
    yield from _metrics(spec, there)
    yield from _layer(spec, there)


def _route(spec: Spec, there: There) -> Iterator[Wrong]:
    if spec.route is not None and (why := _lost(there.names.find, spec.route)):
        yield Wrong("route", why)


def _arms(spec: Spec, there: There) -> Iterator[Wrong]:
    names = [arm.name for arm in spec.arms]
    for at, arm in enumerate(spec.arms):
        where = f"arms[{at}]"
        if arm.name == CONTROL:
            yield Wrong(f"{where}.name", f"{CONTROL!r} is how it is done now; give the arm another name")
        if arm.name in names[:at]:
            yield Wrong(f"{where}.name", f"there are two arms {arm.name!r}; give one of them another name")
        yield from _way(where, arm, spec, there)
        if _same(arm, spec.control):
            yield Wrong(where, f"{arm.name!r} is the same as the control: this measures chance alone", stops=False)
    if spec.control.name != CONTROL:
        yield Wrong("control.name", f"must be {CONTROL!r}, as rows and reports call it; leave it out")
    if spec.control.weight != 1:
        yield Wrong("control.weight", "the control has what the ramp leaves; leave it out, or change the ramp")
    yield from _way("control", spec.control, spec, there)
    every = {name for arm in (*spec.arms, spec.control) for name in arm.parameters if name in parameters.TAKEN}
    if every and not parameters.taken_by(every):
        yield Wrong("arms", f"no dialect has all of these parameters: {', '.join(sorted(every))}; try them one by one")
    elif every and (without := parameters.left_out(every)):
        yield Wrong(
            "arms", f"calls of {', '.join(without)} cannot take part: they have no such parameters", stops=False
        )


def _way(where: str, arm: ArmSpec, spec: Spec, there: There) -> Iterator[Wrong]:
    if arm.route is not None and arm.target is not None:
        yield Wrong(f"{where}.target", "say route or target: a route has its own targets")
    if arm.route is not None and "*" in arm.route:
        yield Wrong(f"{where}.route", f"{arm.route!r} stands for many names; say one of them")
    elif arm.route is not None and (why := _lost(there.names.find, arm.route)):
        yield Wrong(f"{where}.route", why)
    if arm.target is not None and (why := _lost(there.names.target, arm.target)):
        yield Wrong(f"{where}.target", why)
    for name, value in arm.parameters.items():
        for why in there.parameter(name, value):
            yield Wrong(f"{where}.parameters.{name}", why)
    for prompt, version in arm.prompts.items() if there.prompts is not None else ():
        known = there.prompts.get(prompt) if there.prompts is not None else None
        if known is None:
            yield Wrong(f"{where}.prompts", f"no prompt {prompt[:60]!r}; {nearest(prompt, there.prompts or {})}")
        elif version not in known.versions:
            there_are = ", ".join(map(str, sorted(known.versions)[-10:])) or "none"
            yield Wrong(f"{where}.prompts.{prompt}", f"has no version {version}; there are: {there_are}")


def _lost(find: Callable[[str], object], name: str) -> str:
    """Why there is no such thing; "" when there is."""
    try:
        find(name)
    except ModelNotFound as lost:
        return lost.message
    return ""


def _same(arm: ArmSpec, control: ArmSpec) -> bool:
    fields = ("route", "target", "prompts", "parameters")
    return all(getattr(arm, name) == getattr(control, name) for name in fields)


def _prompt(spec: Spec, there: There) -> Iterator[Wrong]:
    if spec.prompt is None or there.prompts is None:
        return
    known = there.prompts.get(spec.prompt)
    if known is None:
        yield Wrong("prompt", f"no prompt {spec.prompt[:60]!r}; {nearest(spec.prompt, there.prompts)}")
    elif spec.label not in known.labels:
        yield Wrong("label", f"prompt {spec.prompt!r} has no label {spec.label!r}; {nearest(spec.label, known.labels)}")
    elif spec.label in known.protected:
        yield Wrong(
            "label",
            f"{spec.label!r} of {spec.prompt!r} is protected, and a promotion would move it; unprotect it for the time,"
            " or try another label",
        )


def _course(spec: Spec) -> Iterator[Wrong]:
    if spec.ramp[0] <= 0:
        yield Wrong("ramp[0]", "must be above 0: at the first stage somebody has to get an arm")
    for at, (before, after) in enumerate(pairwise(spec.ramp), 1):
        if after <= before:
            yield Wrong(f"ramp[{at}]", f"{after!r} is not more than {before!r} before it; a ramp grows")
    if spec.unit == "request" and spec.automatic:
        yield Wrong(
            "unit",
            "calls of one user are no evidence of their own, so nothing is decided automatically; set "
            "automatic: false, or take unit: user",
        )
    least = spec.min_duration * len(spec.ramp)
    if spec.min_duration < 0 or spec.max_duration <= 0 or least > spec.max_duration:
        yield Wrong(
            "max_duration",
            f"{len(spec.ramp)} stages of {spec.min_duration!r} take longer than "
            f"{spec.max_duration!r}, so it could only end without a verdict",
        )
    begin, end = spec.layer_share
    if not 0 <= begin < end <= 1:
        yield Wrong("layer_share", "[from, to] with 0 <= from < to <= 1, such as [0, 0.5]")


def _metrics(spec: Spec, there: There) -> Iterator[Wrong]:
    named = [("primary.metric", spec.primary.metric)] if spec.primary is not None else []
    guards = [guard.metric for guard in spec.guards]
    named += [(f"guards[{at}].metric", metric) for at, metric in enumerate(guards)]
    for at, metric in enumerate(guards):
        if metric in guards[:at]:
            yield Wrong(f"guards[{at}].metric", f"{metric!r} is guarded twice; say one margin")
    for path, metric in named:
        if metric not in METRICS:
            yield Wrong(path, f"nobody measures {metric[:60]!r}; {nearest(metric, METRICS)}")
        elif metric in SAID and metric not in there.heard:
            yield Wrong(path, f"nothing is known of {metric} so far: {SAID[metric]}", stops=False)


def _layer(spec: Spec, there: There) -> Iterator[Wrong]:
    for other, of in there.others:
        if of.name == spec.name or other.state not in ("draft", "gate", "running"):
            continue
        if of.layer == spec.layer and _overlap(of.layer_share, spec.layer_share):
            begin, end = of.layer_share
            yield Wrong(
                "layer_share",
                f"experiment {of.name!r} has {begin:g} to {end:g} of layer {spec.layer!r}: take another part of it, "
                f"another layer, or end that one (tidegate experiments archive {of.name})",
            )
        elif of.layer == spec.layer and of.unit != spec.unit:
            yield Wrong(
                "unit",
                f"layer {spec.layer!r} has units by {of.unit} (experiment {of.name!r}); in one layer all "
                "have the same: take that, or another layer",
            )
        elif of.layer != spec.layer and (both := _both(of, spec, there.names)):
            yield Wrong(
                "layer",
                f"experiment {of.name!r} decides {both} of the same calls: take parts of one layer that do not overlap",
            )


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _both(one: Spec, other: Spec, names: Names) -> str:
    """What both of them would decide, where a call may take part in both; "" when there is nothing."""
    routes = {_own(spec.route, names) for spec in (one, other)}
    if None not in routes and len(routes) == 2:
        return ""
    if None not in (one.prompt, other.prompt) and one.prompt != other.prompt:
        return ""
    return ", ".join(sorted(_decided(one) & _decided(other)))


def _own(route: str | None, names: Names) -> str | None:
    """A route's own name, whatever alias was said."""
    return route if route is None or _lost(names.find, route) else names.find(route).name


def _decided(spec: Spec) -> set[str]:
    found = set()
    for arm in (*spec.arms, spec.control):
        found |= {"who answers"} if arm.route or arm.target else set()
        found |= {f"prompt {name}" for name in arm.prompts} | {f"parameter {name}" for name in arm.parameters}
    return found

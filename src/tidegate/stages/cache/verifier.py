"""May this cached answer be served? Only while the estimated share of wrong ones among hits, bounded, is small enough.

A logistic model says how probably the candidate's answer is right. It is refitted as labels come, and the threshold on
it is the lowest whose estimated error, with an upper confidence bound, keeps the promise.
docs/guides/semantic-cache.md tells it in words. Pure: no I/O, no clock, no chance of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.core.stats import mean_upper, mean_within, share_between

Floats = NDArray[np.float64]
Features = tuple[float, ...]

FIRST_FIT = 100  # labels; below, a model would guess
REFIT_SHARE = 0.05  # so many more labels than at the last fit
LABELS, LOOKUPS, HITS = 8000, 2000, 4000  # how far back we look: the world changes
HORIZON = 100  # hits ahead, at least, for which the budget of wrong ones is planned
PROMISE = 0.95  # the confidence that wrong ÷ hits stays within `max_error`
BOUND = 0.9  # the confidence of the bound on the model's own error
TRUST = 3.0  # wrong answers that the model's word counts for, beside those that were seen
LEAST_RATIO = 0.5  # however few were wrong: the model is not far too gloomy
GRID = 48  # thresholds that are tried
RIDGE, STEPS, LONGEST_STEP = 1.0, 12, 2.0
OUTSIDE = 0.01  # of the labels, so many lie below the least similarity that is served
TOO_NOISY = 0.5  # above this sum of error rates a label says nothing


class Noise(msgspec.Struct, frozen=True):
    """How often a source of labels errs, as counted: same answers called different, different ones called the same.

    Without pairs we assume what is safe: that every disagreement is a wrong answer.
    """

    pairs: int = 0  # answers to the same prompt
    differ: int = 0
    strangers: int = 0  # answers to prompts that have nothing to do with each other
    alike: int = 0

    def __add__(self, other: Noise) -> Noise:
        return Noise(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))

    def __sub__(self, other: Noise) -> Noise:
        return Noise(*(getattr(self, name) - getattr(other, name) for name in self.__struct_fields__))

    def rates(self) -> tuple[float, float]:
        """(different called the same, same called different), as the model is fitted with."""
        return self.alike / max(1, self.strangers), self.differ / max(1, self.pairs)

    def safe_rates(self) -> tuple[float, float]:
        """The most of the first and the least of the second: both make a wrong answer look likelier."""
        alike = share_between(self.alike, self.strangers, BOUND)[1] if self.strangers else 0.0
        return alike, share_between(self.differ, self.pairs, BOUND)[0] if self.pairs else 0.0


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What was learned about one candidate."""

    features: Features
    right: bool
    source: str = "comparison"
    check: bool = False  # of a hit, drawn by chance; the others are misses, or came to us


class Fit(msgspec.Struct, frozen=True):
    """The model and the threshold on it, as of one moment."""

    weights: tuple[float, ...]  # intercept first
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    threshold: float  # serve from this probability on; above 1: nothing
    error: float  # estimated share of wrong ones among the hits ahead
    error_upper: float
    wrong_so_far: float  # estimated wrong ones among the hits that are remembered
    allowed: float  # what the hits ahead may come to
    why: str  # nothing is served; "" while something is
    least: float = 0.0  # similarity below which nearly nothing was labelled: the model would guess there


class State(msgspec.Struct, frozen=True):
    """All that a verifier knows, for a store."""

    labels: list[Label] = []
    lookups: list[Features] = []
    hits: list[Features] = []
    noise: dict[str, Noise] = {}
    fit: Fit | None = None
    labels_seen: int = 0
    fitted_at: int = 0  # labels that had been seen then

    def with_news(self, news: State) -> State:
        """And what was seen beside it."""
        return State(
            [*self.labels, *news.labels][-LABELS:],
            [*self.lookups, *news.lookups][-LOOKUPS:],
            [*self.hits, *news.hits][-HITS:],
            {**self.noise, **news.noise},
            self.fit,
            self.labels_seen + len(news.labels),
            self.fitted_at,
        )

    @property
    def due(self) -> bool:
        """Whether labels enough have come for a new fit."""
        step = max(FIRST_FIT // 4, min(200, int(self.fitted_at * REFIT_SHARE)))
        return self.labels_seen >= (self.fitted_at + step if self.fit is not None else FIRST_FIT)


class Verdict(msgspec.Struct, frozen=True):
    """`probability` is None before there is a model."""

    serve: bool
    probability: float | None


class Verifier:
    """For one route: candidates in, verdicts out, labels back in.

    `max_error`: the share of wrong answers among hits that is promised. `strict`: the similarity that is asked for
    before there are labels enough.
    """

    def __init__(self, max_error: float, strict: float, state: State | None = None) -> None:
        self.max_error = max_error
        self._strict = strict
        self._known = state or State()  # as it was shared last
        self._labels: deque[Label] = deque(maxlen=LABELS)  # seen here since then
        self._lookups: deque[Features] = deque(maxlen=LOOKUPS)
        self._hits: deque[Features] = deque(maxlen=HITS)
        self._noise: dict[str, Noise] = {}

    @property
    def fit(self) -> Fit | None:
        return self._known.fit

    def state(self) -> State:
        return self._known.with_news(self.news())

    def news(self) -> State:
        """What nobody else knows yet."""
        return State(list(self._labels), list(self._lookups), list(self._hits), dict(self._noise))

    def take_up(self, shared: State, told: State) -> None:
        """What all know by now; `told`, of our news, is in it."""
        self._known = shared
        for queue, count in ((self._labels, told.labels), (self._lookups, told.lookups), (self._hits, told.hits)):
            for _ in range(min(len(count), len(queue))):
                queue.popleft()

    def decide(self, features: Features) -> Verdict:
        """`features[0]` is the similarity. What is served counts as a hit from here on."""
        self._lookups.append(features)
        if self.fit is None:
            verdict = Verdict(features[0] >= self._strict, None)
        else:
            probability = probability_of(self.fit, features)
            verdict = Verdict(probability >= self.fit.threshold and features[0] >= self.fit.least, probability)
        if verdict.serve:
            self._hits.append(features)
        return verdict

    def learn(self, label: Label) -> None:
        self._labels.append(label)

    def noticed(self, source: str, noise: Noise) -> None:
        """What is known by now about the errors of a source."""
        self._noise[source] = noise

    @property
    def due(self) -> bool:
        """Whether labels enough have come for a new fit."""
        known = self._known
        return msgspec.structs.replace(known, labels=[], labels_seen=known.labels_seen + len(self._labels)).due

    def fitted(self) -> Fit:
        """A new fit, some milliseconds of work; touches nothing, so that it may be made in a thread from a copy."""
        return fit(self.state(), self.max_error)

    def adopt(self, new: Fit) -> None:
        state = self.state()
        self.take_up(msgspec.structs.replace(state, fit=new, fitted_at=state.labels_seen), self.news())


def probability_of(model: Fit, features: Features) -> float:
    """That the candidate's answer is right."""
    z = model.weights[0]
    for weight, value, centre, scale in zip(model.weights[1:], features, model.centre, model.scale, strict=True):
        z += weight * (value - centre) / scale
    return float(_logistic(np.float64(z)))


def fit(state: State, max_error: float) -> Fit:
    """The model that the labels speak for, and the lowest threshold that keeps the promise with it."""
    rows = np.array([label.features for label in state.labels])
    right = np.array([label.right for label in state.labels], float)
    rates = {source: state.noise.get(source, Noise()) for source in {label.source for label in state.labels}}
    alike, differ = _per_label(state.labels, {source: noise.rates() for source, noise in rates.items()})
    centre, scale = rows.mean(0), rows.std(0) + 1e-6
    weights = _regression(_design(rows, centre, scale), right, alike, differ)

    def probabilities(of: Sequence[Features]) -> Floats:
        return _probabilities(_design(np.array(of), centre, scale), weights) if len(of) else np.empty(0)

    safe = _per_label(state.labels, {source: noise.safe_rates() for source, noise in rates.items()})
    evidence = _Evidence(probabilities([label.features for label in state.labels]), right, *safe)
    ahead = np.sort(probabilities(state.lookups))[::-1]
    before = state.fit.threshold if state.fit and state.fit.threshold <= 1 else None
    wrong_so_far = float((1 - probabilities(state.hits)).sum()) * evidence.ratio_of_checks(state.labels)
    allowed = min(max_error, _allowance(len(state.hits), wrong_so_far, max_error))
    noisy = [source for source, noise in rates.items() if sum(noise.safe_rates()) > TOO_NOISY]
    threshold, error, upper = _lowest(ahead, evidence, -1.0 if noisy else allowed)
    if threshold <= 1 and before is not None:  # smoothed: no single label makes it jump
        threshold = float(_logistic((_logit(threshold) + _logit(before)) / 2))
    why = "" if threshold <= 1 else _reason(noisy, allowed, upper, max_error)
    least = float(np.quantile(rows[:, 0], OUTSIDE))
    return Fit(
        tuple(map(float, weights)), tuple(map(float, centre)), tuple(map(float, scale)),
        threshold, error, upper, wrong_so_far, allowed, why, least,
    )  # fmt: skip


def _allowance(hits: int, wrong: float, max_error: float) -> float:
    """The error that the hits ahead may have, so that chance too keeps the whole within the promise.

    As many hits again as there were are planned for: what was spent too much is saved over that time.
    """
    ahead = max(HORIZON, hits)
    return (mean_within(max_error * (hits + ahead), PROMISE) - wrong) / ahead


def _lowest(ahead: Floats, evidence: _Evidence, allowed: float) -> tuple[float, float, float]:
    """(threshold, error, its bound) of the most hits whose bound is allowed; else the strictest tried, as 2."""
    errors = np.cumsum(1 - ahead) / np.arange(1, len(ahead) + 1)
    steps = np.unique(np.linspace(0, len(ahead) - 1, GRID).astype(int))
    found = (2.0, 0.0, 1.0)
    for at in steps:
        error = float(errors[at])
        upper = min(1.0, error * evidence.ratio_upper(float(ahead[at])))
        if upper <= allowed:
            found = (float(ahead[at]), error, upper)
        elif found[0] > 1:
            found = (2.0, error, min(found[2], upper))
    return found


class _Evidence:
    """How many more were wrong, among labels above a threshold, than the model says."""

    def __init__(self, probabilities: Floats, right: Floats, alike: Floats, differ: Floats) -> None:
        self._order = np.argsort(-probabilities)
        self._from = -probabilities[self._order]
        # Per label: called wrong, wrong as the model expects, called wrong by mistake, and how much a label tells.
        self._facts = np.column_stack((1 - right, 1 - probabilities, differ, np.maximum(TOO_NOISY, 1 - alike - differ)))
        self._sums = np.cumsum(self._facts[self._order], axis=0)

    def ratio_upper(self, threshold: float) -> float:
        """Wrong ÷ expected, the noise of the labels taken out: an upper bound for those from `threshold` on."""
        above = int(np.searchsorted(self._from, -threshold, side="right"))
        return _ratio(self._sums[above - 1], above, mean_upper) if above else mean_upper(TRUST, BOUND) / TRUST

    def ratio_of_checks(self, labels: Sequence[Label]) -> float:
        """The same for the hits that were, as estimated from those that chance chose to be checked."""
        checks = np.array([label.check for label in labels])
        return _ratio(self._facts[checks].sum(axis=0), int(checks.sum()), lambda count, _: count)


def _ratio(sums: Floats, labels: int, bounded: Callable[[float, float], float]) -> float:
    called_wrong, expected, by_mistake, told = map(float, sums)
    wrong = (bounded(called_wrong + TRUST, BOUND) - by_mistake) / (told / labels if labels else 1.0)
    return max(LEAST_RATIO, wrong / (expected + TRUST))


def _regression(rows: Floats, right: Floats, alike: Floats, differ: Floats) -> Floats:
    """Logistic weights by Fisher scoring, for labels that err: P(called right) = alike + told · P(right)."""
    told = np.maximum(TOO_NOISY, 1 - alike - differ)
    ridge = np.full(rows.shape[1], RIDGE)
    ridge[0] = 1e-3
    weights = np.zeros(rows.shape[1])
    for _ in range(STEPS):
        true = _probabilities(rows, weights)
        called = np.clip(alike + told * true, 1e-9, 1 - 1e-9)
        slope = told * true * (1 - true)
        spread = called * (1 - called)
        gradient = rows.T @ ((right - called) * slope / spread) - ridge * weights
        curvature = (rows * (slope * slope / spread)[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        longest = float(np.abs(step).max())
        weights = weights + step * min(1.0, LONGEST_STEP / max(longest, 1e-9))
        if longest < 1e-4:
            break
    return weights


def _per_label(labels: Sequence[Label], rates: dict[str, tuple[float, float]]) -> tuple[Floats, Floats]:
    both = np.array([rates[label.source] for label in labels])
    return both[:, 0], both[:, 1]


def _design(rows: Floats, centre: Floats, scale: Floats) -> Floats:
    return np.column_stack((np.ones(len(rows)), (rows - centre) / scale))


def _probabilities(design: Floats, weights: Floats) -> Floats:
    return np.asarray(_logistic(design @ weights))


def _logistic(z: Floats | np.float64 | float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))


def _logit(probability: float) -> float:
    bounded = min(max(probability, 1e-9), 1 - 1e-9)
    return float(np.log(bounded / (1 - bounded)))


def _reason(noisy: Sequence[str], allowed: float, upper: float, max_error: float) -> str:
    if noisy:
        return f"labels by {', '.join(noisy)} are wrong too often to keep a max_error of {max_error:g}"
    if allowed <= 0:
        return f"the hits so far used up what a max_error of {max_error:g} allows; it waits until that is made good"
    return f"even the surest candidates may be wrong in {upper:.2%}, and {allowed:.2%} is allowed"

"""After a failed attempt: the same target again, another key, the next target, another route, or give it back?

`TABLE` says what an error is, `STEPS` what follows; docs/reference/retries.md is generated from both.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.call import Route, Why
from tidegate.core.errors import Complaint, TidegateError, UpstreamFailed, UpstreamLimited, UpstreamTimeout
from tidegate.core.values import Duration, Share
from tidegate.upstream.window import Window

BUDGET_S = 10.0
BUDGET_FLOOR = 10  # retries of a target in that time that are always allowed: few calls are no storm


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a target is asked, and how long to wait in between.

    tries: how many times one target is asked before the next one is.
    base_s: seconds that the wait before the second try is at most; each further one is up to twice as long.
    max_s: no wait is longer than this; a provider that asks for more is passed over.
    budget: so many retries of a target, as a part of the calls that it had in the last ten seconds; ten are always
        allowed. Beyond it the next target is asked at once, so that an outage is not made worse.
    key_aside: how long a key that was refused is not used; with 403, for that model only.
    """

    tries: Annotated[int, Meta(ge=1, le=100)] = 3
    base_s: Annotated[float, Meta(ge=0)] = 0.1
    max_s: Annotated[float, Meta(ge=0)] = 5.0
    budget: Share = Share(0.2)
    key_aside: Duration = Duration(60)


Kind = Literal[
    "refused",
    "too_long",
    "policy",
    "missing",
    "foreign",
    "key",
    "limited",
    "server",
    "timeout",
    "unreachable",
    "nonsense",
]
Step = Literal["give_back", "longer", "content_policy", "next", "key", "again"]

# Our own key will not get better by asking again, a time-out has used up its time already: both go on to somebody else.
STEPS: dict[Kind, Step] = {
    "refused": "give_back",
    "too_long": "longer",
    "policy": "content_policy",
    "missing": "next",
    "foreign": "next",
    "key": "key",
    "limited": "again",
    "server": "again",
    "timeout": "next",
    "unreachable": "again",
    "nonsense": "again",
}
ENDS_A_ROUTE = ("give_back", "longer", "content_policy")  # no other target of the route is asked
# What says something about the health of a target, so that its breaker counts it.
UNWELL: frozenset[Kind] = frozenset(("server", "timeout", "unreachable", "nonsense"))

MEANINGS: dict[Kind, str] = {
    "refused": "the request is wrong, and would be anywhere",
    "too_long": "the conversation does not fit into the model's context window",
    "policy": "the provider's content filter refuses it",
    "missing": "this provider does not have the model",
    "foreign": "this provider's dialect cannot say what is asked",
    "key": "our key is refused, or its account has no money left",
    "limited": "too many requests or tokens for this key just now",
    "server": "an error of the provider's own, or it is overloaded",
    "timeout": "nothing came in time",
    "unreachable": "no connection, or it was lost",
    "nonsense": "an answer that is none: another format, cut short, empty",
}


class Rule(NamedTuple):
    """An error is of `kind` when its dialect, its status and one of `words` fit; left out, any does.

    A word is the provider's type or code, or, with a blank in it, a part of its message.
    """

    kind: Kind
    statuses: str = ""
    words: tuple[str, ...] = ()
    dialect: str = ""


# The first that fits. Sources: the error pages of both APIs, and what vLLM, llama.cpp, Azure and Bedrock say.
TABLE = (
    Rule("too_long", "", ("context_length_exceeded", "exceed_context_size_error"), "openai"),
    Rule("too_long", "400", ("maximum context length", "context window of"), "openai"),
    Rule("too_long", "400", ("prompt is too long", "exceed context limit", "input is too long"), "anthropic"),
    Rule("too_long", "413", ("request_too_large",), "anthropic"),
    Rule("policy", "", ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"), "openai"),
    Rule("policy", "400", ("content filtering policy", "content management policy")),
    Rule("key", "", ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"), "openai"),
    Rule("key", "", ("invalid_api_key", "account_deactivated"), "openai"),
    Rule("key", "", ("authentication_error", "permission_error", "billing_error"), "anthropic"),
    Rule("key", "400", ("credit balance is too low",), "anthropic"),
    Rule("missing", "400 403 404", ("model_not_found", "DeploymentNotFound"), "openai"),
    Rule("missing", "404", ("does not exist",), "openai"),
    Rule("missing", "404", ("model: ",), "anthropic"),
    Rule("limited", "200", ("rate_limit_exceeded", "rate_limit_error", "tokens", "requests")),
    Rule("server", "200 529", ("overloaded_error", "api_error", "timeout_error"), "anthropic"),
    Rule("refused", "200", ("invalid_request_error",)),
    Rule("server", "200"),
    Rule("key", "401 402 403"),
    Rule("limited", "429"),
    Rule("server", "408 425 5xx"),
    Rule("refused", "4xx"),
    Rule("nonsense"),
)


class Failure(msgspec.Struct, frozen=True):
    """Why one attempt failed."""

    kind: Kind
    said: str
    status: int | None = None
    retry_after_s: float | None = None
    refusal: TidegateError | None = None  # what is given back as it is
    should_retry: bool | None = None  # the provider's own advice, where it gives any

    @property
    def outcome(self) -> str:
        refused = self.kind in ("refused", "too_long", "policy", "missing")
        return "refused" if refused else self.kind if self.kind in ("limited", "timeout") else "failed"

    def error(self, message: str) -> TidegateError:
        """What a client is told when this was the last failure of all."""
        if self.refusal is not None:
            return self.refusal
        if self.kind == "limited":
            return UpstreamLimited(message, retry_after_s=self.retry_after_s)
        if self.kind == "timeout":
            return UpstreamTimeout(message)
        return UpstreamFailed(message)


def classify(dialect: str, status: int, complaint: Complaint = Complaint()) -> Kind:  # noqa: B008 it is a tuple
    """What an error means: `status` is 200 where it came in place of an answer that had begun well."""
    for rule in TABLE:
        if (
            rule.dialect in ("", dialect)
            and (not rule.statuses or _has(rule.statuses, status))
            and (not rule.words or any(_says(complaint, word) for word in rule.words))
        ):
            return rule.kind
    return "nonsense"


def _has(statuses: str, status: int) -> bool:
    return any(status // 100 == int(one[0]) if one.endswith("xx") else status == int(one) for one in statuses.split())


def _says(complaint: Complaint, word: str) -> bool:
    if " " in word:
        return word.lower() in complaint.message.lower()
    return word in (complaint.type, complaint.code)


def next_step(failure: Failure, tries: int, config: Config, hint_s: float | None = None) -> Step:
    """`tries`: how often it has been asked for this call, this time included; `hint_s`: when it may be again."""
    step = STEPS[failure.kind]
    if failure.should_retry and step != "key":
        step = "again"
    elif failure.should_retry is False and step == "again":
        step = "next"
    if step == "again" and (tries >= config.tries or (hint_s or 0.0) > config.max_s):
        return "give_back" if STEPS[failure.kind] == "give_back" else "next"
    return step


def wait_s(tries: int, config: Config, hint_s: float | None, rand: float) -> float:
    """Seconds until the next try, `rand` 0–1: anything up to base × 2^n, so that callers do not come back together;
    after what the provider asked for, where it did."""
    if hint_s:
        return hint_s + rand * config.base_s
    return rand * min(config.base_s * 2.0 ** (tries - 1), config.max_s)


def following(route: Route, failure: Failure | None) -> tuple[Route, Why] | None:
    """The route that goes on where this one gave no answer, by why it did not; None: nobody does."""
    step = STEPS[failure.kind] if failure else "next"
    if step == "longer":
        return (route.longer, "longer") if route.longer else None
    if step == "content_policy":
        return (route.content_policy, "content_policy") if route.content_policy else None
    if step == "give_back" or route.fallback is None:
        return None
    return route.fallback, "fallback"


class Budget:
    """How many retries a target may have: a part of its calls, so that an outage is not amplified."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(BUDGET_S, 2)

    def called(self, now_ns: int) -> None:
        self._window.add(now_ns, 0)

    def allows(self, now_ns: int, share: float) -> bool:
        """Whether one more may be made; if so it is counted."""
        calls, retries = self._window.totals(now_ns)
        if retries >= max(BUDGET_FLOOR, calls * share):
            return False
        self._window.add(now_ns, 1)
        return True

"""Which steps was a call? Its row, as spans by OpenTelemetry's conventions for generative AI (semconv 1.38).

All that others must change when the conventions do stands here, and in `content`. Usage stands at attempts only, so
that no sum counts it twice; what was said, where its route allows that, at the attempt that answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidegate.core.experiments import name_of
from tidegate.core.money import NUSD_PER_USD, Price, Usage
from tidegate.core.ports import AttemptRow, Closed
from tidegate.core.trace import GATEWAY, SERVER, step_of, trace_of
from tidegate.telemetry.traces.content import Content

SCHEMA = "https://opentelemetry.io/schemas/1.38.0"
INTERNAL, SERVED, ASKED = 1, 2, 3  # kinds
ANSWERING = ("ok", "cut_off", "abandoned")
OPERATIONS = {"chat": "chat", "complete": "text_completion", "embed": "embeddings"}
PATHS = {
    ("openai", "chat"): "/v1/chat/completions",
    ("openai", "complete"): "/v1/completions",
    ("openai", "embed"): "/v1/embeddings",
    ("anthropic", "chat"): "/v1/messages",
    ("anthropic", "count"): "/v1/messages/count_tokens",
}
# OpenInference's names, which Phoenix reads.
INFERENCE = {
    "gen_ai.request.model": "llm.model_name",
    "gen_ai.usage.input_tokens": "llm.token_count.prompt",
    "gen_ai.usage.output_tokens": "llm.token_count.completion",
    "gen_ai.usage.cost": "llm.cost.total",
    "tidegate.input_cost_usd": "llm.cost.prompt",
    "tidegate.output_cost_usd": "llm.cost.completion",
    "gen_ai.provider.name": "llm.provider",
    "gen_ai.input.messages": "input.value",
    "gen_ai.output.messages": "output.value",
}
MIME = {"input.value": "input.mime_type", "output.value": "output.mime_type"}
NOTHING = Content()


class Span(NamedTuple):
    trace_id: str
    id: str
    parent_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]  # text (as bytes where it is bounded already), numbers, booleans, lists of text
    error: str | None = None
    event: str | None = None  # that happened at its start, with the same attributes


class Evaluated(NamedTuple):
    """What a judge said of a call, as the house tells it."""

    at_ns: int
    fields: Mapping[str, Any]

    @property
    def trace_id(self) -> str:
        return str(self.fields["trace_id"])


def span_of(said: Evaluated) -> Span:
    """Beside the attempts of its call, without length; as an event too, which is what the conventions ask for."""
    fields, call_id, criterion = said.fields, str(said.fields["request_id"]), str(said.fields["criterion"])
    passed, wrong = fields.get("passed"), None if fields["outcome"] == "scored" else str(fields["outcome"])
    told = {
        "gen_ai.evaluation.name": criterion,
        "gen_ai.evaluation.score.value": fields.get("value"),
        "gen_ai.evaluation.score.label": None if passed is None else "pass" if passed else "fail",
        "error.type": wrong,
        "tidegate.request_id": call_id,
        "tidegate.route": fields["route"],
        "tidegate.judge": fields.get("judge"),
        "tidegate.advisory": fields.get("advisory"),
    }
    attributes = {name: value for name, value in told.items() if value is not None}
    return Span(
        said.trace_id, step_of(call_id, f"evaluation {criterion}"), step_of(call_id, GATEWAY),
        f"evaluation {criterion}".rstrip(), INTERNAL, said.at_ns, said.at_ns, attributes, wrong,
        "gen_ai.evaluation.result",
    )  # fmt: skip


def spans_of(row: Closed, content: Content = NOTHING) -> list[Span]:
    """The request, what Tidegate made of it, and each attempt at a provider."""
    trace_id, begin_ns = row.trace_id or trace_of(row.id), row.at_ms * 1_000_000
    end_ns = begin_ns + row.duration_us * 1000
    server, ours = step_of(row.id, SERVER), step_of(row.id, GATEWAY)
    path = PATHS.get((row.dialect, row.operation), "/v1")
    failed = None if row.outcome in ("ok", "client_left") else row.error or row.outcome
    operation = OPERATIONS.get(row.operation, row.operation)
    who = _who(row)
    request = {
        "http.request.method": "POST",
        "http.route": path,
        "http.response.status_code": row.status,
        **({"error.type": failed} if failed and row.status >= 500 else {}),
        **who,
    }
    spans = [
        Span(trace_id, server, row.parent_id, f"POST {path}", SERVED, begin_ns, end_ns, request,
             failed if row.status >= 500 else None),
        Span(trace_id, ours, server, f"tidegate {operation} {row.route or row.model or ''}".rstrip(), INTERNAL,
             begin_ns, end_ns, {**_call(row), **who}, failed),
    ]  # fmt: skip
    answering = next((at for at, one in reversed([*enumerate(row.attempts)]) if one.outcome in ANSWERING), None)
    if answering is None:  # what a cache answers
        spans[-1].attributes.update(_said(content))
    for number, attempt in enumerate(row.attempts):
        said = _said(content) if number == answering else {}
        times = begin_ns + attempt.sent_us * 1000, begin_ns + attempt.ended_us * 1000
        name = f"{operation} {attempt.model}"
        wrong = None if attempt.outcome in ("ok", "abandoned") else attempt.said or attempt.outcome
        spans.append(
            Span(
                trace_id,
                step_of(row.id, number),
                ours,
                name,
                ASKED,
                *times,
                {**_attempt(row, attempt), **who, **said},
                wrong,
            )
        )
    return spans


def inferred(span: Span) -> Span:
    """The same with OpenInference's names beside the others."""
    more = {name: span.attributes[ours] for ours, name in INFERENCE.items() if ours in span.attributes}
    more |= {MIME[name]: "application/json" for name in MIME if name in more}
    kind = "LLM" if span.kind == ASKED else "CHAIN"
    return span._replace(attributes={**span.attributes, **more, "openinference.span.kind": kind})


def priced(span: Span) -> Span:
    """The same with MLflow's name for what it cost, so that it asks no price list of its own."""
    said = span.attributes
    if "gen_ai.usage.cost" not in said:
        return span
    cost = {
        "input_cost": said["tidegate.input_cost_usd"],
        "output_cost": said["tidegate.output_cost_usd"],
        "total_cost": said["gen_ai.usage.cost"],
    }
    return span._replace(attributes={**said, "mlflow.llm.cost": msgspec.json.encode(cost)})


def _said(content: Content) -> dict[str, Any]:
    told = {
        "gen_ai.system_instructions": content.system,
        "gen_ai.input.messages": content.asked,
        "gen_ai.output.messages": content.answered,
        "tidegate.content_cut": content.cut,
    }
    return {name: value for name, value in told.items() if value}


def _who(row: Closed) -> dict[str, Any]:
    said = {"session.id": row.session, "gen_ai.conversation.id": row.session, "user.id": row.user}
    return {name: value for name, value in said.items() if value}


def _call(row: Closed) -> dict[str, Any]:
    retries = sum(attempt.why == "again" for attempt in row.attempts)
    said = {
        "tidegate.request_id": row.id,
        "tidegate.key": row.key_id,
        "tidegate.team": row.team_id,
        "tidegate.route": row.route,
        "tidegate.target": row.target,
        "tidegate.model_asked": row.model,
        "tidegate.outcome": row.outcome,
        "tidegate.error": row.error,
        "tidegate.cache": row.cache,
        "tidegate.cache_layer": row.cache_layer,
        "tidegate.saved_usd": row.saved_nusd / NUSD_PER_USD if row.saved_nusd else None,
        "tidegate.attempts": len(row.attempts),
        "tidegate.retries": retries,
        "tidegate.passed_over": list(row.passed_over) or None,
        "tidegate.cost_usd": None if row.cost_nusd is None else row.cost_nusd / NUSD_PER_USD,
        "tidegate.overhead_ms": row.overhead_us / 1000,
        "tidegate.first_ms": None if row.first_us is None else row.first_us / 1000,
        "tidegate.prompt": row.prompt,
        "tidegate.arms": [f"{name_of(one.experiment)}={one.arm}" for one in row.arms] or None,
        "tidegate.guards": [f"{one.guard}.{one.direction}: {one.verdict}" for one in row.guards] or None,
        "tidegate.tags": list(row.tags) or None,
        "tidegate.kind": row.kind,
        "tidegate.purpose": row.purpose,
        "tidegate.parent_request_id": row.parent,
        "tidegate.streamed": row.stream,
    }
    return {name: value for name, value in said.items() if value is not None}


def _attempt(row: Closed, attempt: AttemptRow) -> dict[str, Any]:
    usage = msgspec.convert(attempt.usage, Usage)
    heard_nusd, said_nusd = _shares(attempt, usage)
    said = {
        "gen_ai.operation.name": OPERATIONS.get(row.operation, row.operation),
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.response.model": attempt.model if attempt.outcome == "ok" else None,
        "gen_ai.usage.input_tokens": usage.input_total if attempt.usage else None,
        "gen_ai.usage.output_tokens": usage.output_total if attempt.usage else None,
        "gen_ai.usage.cost": attempt.cost_nusd / NUSD_PER_USD if attempt.cost_nusd and attempt.usage else None,
        "tidegate.input_cost_usd": heard_nusd / NUSD_PER_USD if attempt.cost_nusd and attempt.usage else None,
        "tidegate.output_cost_usd": said_nusd / NUSD_PER_USD if attempt.cost_nusd and attempt.usage else None,
        "http.response.status_code": attempt.status,
        "error.type": None if attempt.outcome in ("ok", "abandoned") else attempt.outcome,
        "tidegate.why": attempt.why,
        "tidegate.outcome": attempt.outcome,
        "tidegate.first_ms": None if attempt.first_us is None else (attempt.first_us - attempt.sent_us) / 1000,
        "tidegate.usage_estimated": True if attempt.usage_estimated else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _shares(attempt: AttemptRow, usage: Usage) -> tuple[int, int]:
    """What of an attempt's cost is for input, and what for output; in nano-dollars, and never more than both."""
    total = attempt.cost_nusd or 0
    if not total or attempt.price is None:
        return total, 0
    # Of input alone, so that it is the tier of that many tokens.
    heard = msgspec.structs.replace(usage, output=0, reasoning=0, audio_output=0)
    cost = msgspec.convert(attempt.price, Price).cost_nusd(heard) or 0
    return min(cost, total), total - min(cost, total)

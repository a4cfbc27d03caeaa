"""A call is seen as its steps by any tool that takes OpenTelemetry's traces, and never waits for one."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.house import TWO_PROVIDERS, House, until
from tests.telemetry.receiver import Receiver, receiving
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Closed
from tidegate.core.trace import call_of, received, step_of, trace_of
from tidegate.core.values import Secret, Share
from tidegate.telemetry import traces
from tidegate.telemetry.traces import WAITING, headers_of, taken

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving() as found:
        yield found


def text(url: str, more: str = "", about: str = "") -> str:
    return (
        f'traces: {{to: [{{url: "{url}"{more}}}]{about}}}\nlimits: {{}}\nbudgets: {{default_day: 0}}\n{TWO_PROVIDERS}'
    )


class Seen:
    """A span, as the receiver reads it."""

    def __init__(self, span: Any) -> None:
        self.trace_id, self.id, self.parent_id = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.status = span.name, span.kind, span.status
        self.took_ns = span.end_time_unix_nano - span.start_time_unix_nano
        self.said = {pair.key: _said(pair.value) for pair in span.attributes}


def _said(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_said(one) for one in found.values] if kind == "array_value" else found


def read(body: bytes) -> list[Seen]:
    found = ExportTraceServiceRequest.FromString(gzip.decompress(body))
    return [Seen(span) for one in found.resource_spans for scope in one.scope_spans for span in scope.spans]


async def spans(heard: Receiver, calls: int = 1) -> list[Seen]:
    def there() -> list[Seen]:
        return [span for _, body in heard.heard for span in read(body)]

    await until(lambda: len({span.trace_id for span in there()}) >= calls)
    return there()


async def test_a_call_is_a_request_a_step_of_ours_and_an_attempt_each(build_house, receiver):
    heard, url = receiver
    house = await build_house(text(url))
    house.provider("main").says(status=503)
    house.provider("main").says("hello", usage={"prompt_tokens": 7, "completion_tokens": 3})
    reply = await house.ask(user="ann", headers={"x-tidegate-session": "s1"})
    server, ours, first, second = await spans(heard)
    assert (heard.paths[0], heard.heard[0][0]["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert (server.kind, server.parent_id, ours.parent_id) == (2, "", server.id)
    assert [span.parent_id for span in (first, second)] == [ours.id] * 2
    assert {span.trace_id for span in (server, ours, first, second)} == {trace_of(reply.id)}
    assert (first.status.code, second.status.code) == (2, 0) and "503" in first.status.message
    assert second.name == "chat m" and second.kind == 3
    assert second.said == second.said | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "main",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cost": 13e-6,
        "session.id": "s1",
        "user.id": "ann",
        "tidegate.why": "again",
    }
    assert (ours.said["tidegate.request_id"], ours.said["tidegate.retries"]) == (reply.id, 1)
    with_usage = [span for span in (server, ours, first, second) if any("usage." in name for name in span.said)]
    assert with_usage == [second], "whoever sums over spans counts tokens once"
    assert not [span for span in (server, ours, first, second) if "hello" in str(span.said)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_trace_goes_on_through_us_to_the_provider(build_house, receiver, path, stream):
    heard, url = receiver
    house = await build_house(text(url))
    reply = await house.ask(path=path, stream=stream, max_tokens=9, headers={"traceparent": PARENT})
    assert reply.status == 200, reply.body
    server, _ours, attempt = await spans(heard)
    assert (server.trace_id, server.parent_id) == (PARENT[3:35], PARENT[36:52])
    sent = house.provider("main").requests[-1].headers
    assert dict(sent)[b"traceparent"] == f"00-{PARENT[3:35]}-{attempt.id}-01".encode()
    assert (await house.get(f"/v1/requests/{PARENT[3:35]}")).events[0]["id"] == reply.id


async def test_a_call_without_a_trace_is_found_by_the_one_it_was_given(house):
    reply = await house.ask()
    assert (await house.get(f"/v1/requests/{trace_of(reply.id)}")).events[0]["id"] == reply.id
    assert call_of(trace_of(reply.id)) == reply.id


@pytest.mark.parametrize("id", ["own_019b76daa8004e0ee9b200dfed6182f", "own_4e0ee9b200dfed6182fd", "anything else"])
def test_a_call_of_our_own_is_traced_as_any_other(id) -> None:
    one = row(id=id, purpose="guard", parent="req_1")
    assert taken(one, traces.Config(share=Share(0.5))) in (True, False)
    _server, ours = read(traces.encoded([traces.Step(one)], traces.Receiver(url="http://otel"), {}))
    assert (len(ours.trace_id), ours.said["tidegate.purpose"], ours.said["tidegate.parent_request_id"]) == (
        *(32, "guard", "req_1"),
    )


@pytest.mark.parametrize(
    "header",
    ["", "x", PARENT[:-1], PARENT.upper(), "ff" + PARENT[2:], f"{PARENT}-more", "00-" + "0" * 32 + PARENT[35:],
     PARENT[:36] + "0" * 16 + "-01"],
)  # fmt: skip
async def test_a_traceparent_that_says_nothing_is_passed_over_and_counted(build_house, receiver, header):
    heard, url = receiver
    house = await build_house(text(url))
    assert received(header.encode()) is None
    reply = await house.ask(headers={"traceparent": header})
    assert reply.status == 200
    assert {span.trace_id for span in await spans(heard)} == {trace_of(reply.id)}
    assert "tidegate_traceparents_unreadable_total 1.0" in (await house.get("/metrics")).body.decode()


def test_a_later_version_of_a_traceparent_may_say_more() -> None:
    assert received(f"01{PARENT[2:]}-more".encode()) == (PARENT[3:35], PARENT[36:52])


def row(**fields: Any) -> Closed:
    plain = Closed("req_0" + "a" * 30, 1, "k", "openai", "chat", "ok", 200, 1000, 10)
    return msgspec.structs.replace(plain, **fields)


def test_what_failed_or_was_slow_is_kept_and_of_the_rest_a_share() -> None:
    some = traces.Config(share=Share(0.1))
    assert taken(row(outcome="failed", trace_id="f" * 32), some)
    assert taken(row(duration_us=11_000_000, trace_id="f" * 32), some)
    assert not taken(row(trace_id="f" * 32), some)
    rows = [row(trace_id=step_of("x", n) * 2) for n in range(4000)]
    assert 300 < sum(taken(one, some) for one in rows) < 500
    assert all(taken(one, traces.Config()) for one in rows[:50])
    assert not any(taken(one, traces.Config(share=Share(0.0))) for one in rows[:50])


async def count(house: House, outcome: str) -> int:
    page = (await house.get("/metrics")).body.decode()
    found = re.search(rf'^tidegate_traces_total{{.*outcome="{outcome}".*}} (\d+)', page, re.M)
    return int(found[1]) if found else 0


async def test_who_is_busy_is_asked_again_and_who_refuses_is_not(build_house, receiver):
    heard, url = receiver
    heard.answers = [503, 429]
    house = await build_house(text(url))
    await house.ask()
    await until(lambda: len(heard.heard) == 3)
    await until(lambda: not heard.answers)
    heard.answers = [400]
    await house.ask()
    await until(lambda: len(heard.heard) == 4)
    while await count(house, "dropped") != 1:
        await house.clock.sleep(0.1)
    assert await count(house, "sent") == 1


async def test_a_page_for_people_is_no_receiver_of_traces(build_house, receiver):
    """A proxy that wants a login says 200 to everything."""
    heard, url = receiver
    heard.kind = "text/html; charset=utf-8"
    house = await build_house(text(url))
    assert (await house.ask()).status == 200
    while await count(house, "dropped") != 1:
        await house.clock.sleep(0.1)
    assert await count(house, "sent") == 0 and len(heard.heard) == traces.TRIES


async def test_nobody_there_costs_memory_that_is_bounded_and_no_call_its_time(build_house):
    house = await build_house(text("http://127.0.0.1:9"))
    assert (await house.ask()).status == 200
    one = (await house.rows())[0]
    for _ in range(WAITING + 10):
        house.app.world.events.call_ended(_Call(), one)
    assert await count(house, "dropped") >= 10
    assert (await house.ask()).status == 200


async def test_an_hour_with_nobody_there_is_bounded_counted_and_slows_nothing_down(build_house, monkeypatch):
    monkeypatch.setattr(traces, "WAITING", 1_000)
    monkeypatch.setattr(traces, "AT_ONCE", 50)
    house = await build_house(text("http://127.0.0.1:9"))
    assert (await house.ask()).status == 200
    one = (await house.rows())[0]
    (listener,) = [one for one in house.app.world.events._listeners if isinstance(one, traces.Traces)]
    (line,) = listener._lines
    house.clock.hold()
    told, tasks, sizes = 1, len(asyncio.all_tasks()), []
    for minute in range(60):
        for _ in range(500):
            listener.call_ended(_Call(), one)
        told += 500
        await house.clock.advance(60)
        assert len(line._steps) <= 1_000
        if minute > 10:
            sizes.append(sys.getsizeof(line._steps) + sum(map(sys.getsizeof, vars(line).values())))
    assert 0 <= told - line.dropped - len(line._steps) <= 50  # that are being sent just now
    assert line.dropped == await count(house, "dropped") > 28_000
    assert max(sizes) < 1.5 * min(sizes)
    assert len(asyncio.all_tasks()) <= tasks + 3
    assert (await house.ask()).status == 200


class _Call:
    named: dict[bytes, bytes] = {}
    operation = "chat"
    status = 200
    route = None
    error = None


PRESETS: list[tuple[dict[str, Any], str, dict[bytes, bytes]]] = [
    (
        {"preset": "langfuse", "key": "pk-1:sk-2"},
        "https://cloud.langfuse.com/api/public/otel/v1/traces",
        {b"authorization": b"Basic " + base64.b64encode(b"pk-1:sk-2"), b"x-langfuse-ingestion-version": b"4"},
    ),
    (
        {"preset": "langsmith", "key": "ls-1", "project": "mine"},
        "https://api.smith.langchain.com/otel/v1/traces",
        {b"x-api-key": b"ls-1", b"langsmith-project": b"mine"},
    ),
    ({"preset": "phoenix", "key": "px"}, "http://127.0.0.1:6006/v1/traces", {b"authorization": b"Bearer px"}),
    ({"preset": "mlflow", "project": "7"}, "http://127.0.0.1:5000/v1/traces", {b"x-mlflow-experiment-id": b"7"}),
    ({"url": "http://otel:4318"}, "http://otel:4318/v1/traces", {}),
    ({"url": "http://otel:4318/own"}, "http://otel:4318/own", {}),
]


@pytest.mark.parametrize(("said", "address", "headers"), PRESETS, ids=[f"{one[1]}" for one in PRESETS])
def test_each_tool_is_reached_as_it_wants(said, address, headers) -> None:
    key = Secret(said["key"]) if "key" in said else None
    receiver = traces.Receiver(**{**said, "key": key})
    assert (receiver.address, dict(headers_of(receiver))) == (address, headers)


@pytest.mark.parametrize(
    ("preset", "path", "headers"),
    [
        ("preset: langfuse, key: 'pk-1:sk-2'", "/api/public/otel/v1/traces",
         {"authorization": "Basic cGstMTpzay0y", "x-langfuse-ingestion-version": "4"}),
        ("preset: langsmith, key: ls-1, project: mine", "/otel/v1/traces",
         {"x-api-key": "ls-1", "langsmith-project": "mine"}),
    ],
    ids=["langfuse", "langsmith"],
)  # fmt: skip
async def test_langfuse_and_langsmith_are_sent_the_same_bytes_where_they_take_them(
    build_house, receiver, preset, path, headers
):
    heard, url = receiver
    house = await build_house(text(url, f", {preset}"))
    house.provider("main").says(status=503)
    await house.ask(user="ann", headers={"x-tidegate-session": "s1"})
    await spans(heard)
    sent, body = heard.heard[0]
    assert (heard.paths[0], sent["content-type"], sent["content-encoding"]) == (path, "application/x-protobuf", "gzip")
    assert sent == sent | headers
    row = (await house.rows())[0]
    plain = traces.encoded([traces.Step(row)], traces.Receiver(url="http://otel"), {})
    assert gzip.decompress(body) == gzip.decompress(plain), "the very spans that any receiver is sent"


async def test_phoenix_reads_its_own_names(build_house, receiver):
    heard, url = receiver
    house = await build_house(text(url, ", preset: phoenix, project: mine"))
    await house.ask()
    server, ours, attempt = await spans(heard)
    kinds = [span.said["openinference.span.kind"] for span in (server, ours, attempt)]
    assert kinds == ["CHAIN", "CHAIN", "LLM"] and attempt.said["llm.model_name"] == "m"
    found = ExportTraceServiceRequest.FromString(gzip.decompress(heard.heard[0][1]))
    resource = {pair.key: _said(pair.value) for pair in found.resource_spans[0].resource.attributes}
    assert resource["openinference.project.name"] == "mine"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("{}", "traces.to[0].url: must be like https://HOST/PATH"),
        ("{url: ftp://x}", "traces.to[0].url: must be like https://HOST/PATH"),
        ("{url: 'http://[x'}", "traces.to[0].url: must be like https://HOST/PATH"),
        ("{preset: langfuse, key: one}", "traces.to[0].key: must be PUBLIC:SECRET"),
        ("{preset: langsmith}", "traces.to[0].key: is needed: a key of LangSmith"),
        ("{preset: lanfuse}", "lanfuse"),
    ],
)
def test_a_receiver_that_cannot_be_is_told_before_anything_starts(said, wrong) -> None:
    with pytest.raises(ConfigError, match=re.escape(wrong)):
        config.parse(f"traces: {{to: [{said}]}}\n{TWO_PROVIDERS}", {})


def test_a_share_out_of_range_is_told() -> None:
    with pytest.raises(ConfigError, match="share"):
        config.parse(f"traces: {{share: 120%}}\n{TWO_PROVIDERS}", {})

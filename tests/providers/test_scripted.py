from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loops import both_loops
from tidegate import config
from tidegate.core.chat import Channel, Delta, Finished, ToolBegan
from tidegate.core.errors import ConfigError, UpstreamFailed
from tidegate.core.money import OWN_HARDWARE
from tidegate.providers.openai.chat import Chat
from tidegate.providers.openai.complete import Complete
from tidegate.providers.scripted import Config, Scripted
from tidegate.providers.scripted.script import Asked, Message, Script, StreamOptions, Tool, answer, read_request
from tidegate.providers.scripted.server import Server

pytestmark = pytest.mark.timeout(15)

HI = {"model": "scripted", "messages": [{"role": "user", "content": "hi there"}]}
STREAMED = HI | {"stream": True, "stream_options": {"include_usage": True}}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.aclose()
    assert not server.connections and not server.tasks


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Awaitable[Client]]]:
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(await Client.of(server))
        return clients[-1]

    yield connect
    for client in clients:
        client.leave()


class Client:
    """A connection, and the responses that come over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, server: Server) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port_of(server), limit=2**20))

    def send(self, body: Any, path: str = CHAT, method: str = "POST") -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(text)}\r\n\r\n"
        self.writer.write(head.encode() + text)

    async def response(self) -> Response:
        response = Response()
        while not response.complete:
            data = await self.reader.read(2**20)
            if not data:
                break
            response.feed(data)
        return response

    async def rest(self) -> bytes:
        return await self.reader.read()

    async def ask(self, body: Any, path: str = CHAT, method: str = "POST") -> Response:
        self.send(body, path, method)
        return await self.response()

    def leave(self) -> None:
        self.writer.transport.abort()


class Response:
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.complete = False

    def feed(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def status(self) -> int:
        return self.parser.get_status_code()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(server: Server, body: Any = HI, path: str = CHAT, method: str = "POST") -> Response:
    client = await Client.of(server)
    try:
        return await client.ask(body, path, method)
    finally:
        client.leave()


def port_of(server: Server) -> int:
    return int(server.address.removesuffix("/v1").rpartition(":")[2])


def heard(response: Response, *, stream: bool, codec: Any = Chat) -> tuple[dict[Channel, str], dict[str, int]]:
    """The texts by channel, and the usage, as the gateway's own codec reads them."""
    decoder = codec().decoder(stream=stream, withhold_usage=False)
    events = [*decoder.feed(response.body), *decoder.end()]
    assert events[-1].last
    texts: dict[Channel, str] = {}
    for event in events:
        for channel, text in event.texts():
            texts[channel] = texts.get(channel, "") + text
    usage = next(event.usage for event in events if event.usage)
    return texts, {"input": usage.input, "output": usage.output, "reasoning": usage.reasoning}


class Gate:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.turns = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        if seconds:
            await self.turns.acquire()


# --- what it says ----------------------------------------------------------------------------------------------------


async def test_it_repeats_the_beginning_of_what_it_heard_when_told_nothing(server):
    response = await ask(server)
    assert response.status == 200
    assert response.json()["choices"][0]["message"]["content"] == "You said 2 words: hi there"
    assert response.json()["usage"] == {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "script",
    [{}, {"text": "a bc  d\n"}, {"reasoning": "let me see", "text": "so"}, {"refusal": "I will not"}],
    ids=["echo", "text", "reasoning", "refusal"],
)
async def test_streamed_and_whole_it_says_the_same_and_counts_the_same(server, script, n):
    server.always(**script)
    whole = await ask(server, HI | {"n": n})
    streamed = await ask(server, STREAMED | {"n": n})
    assert heard(streamed, stream=True) == heard(whole, stream=False)
    assert {channel.choice for channel in heard(whole, stream=False)[0]} == set(range(n))


async def test_plain_completions_say_the_same_too(server):
    asked = {"model": "m", "prompt": "one two three", "stream_options": {"include_usage": True}}
    whole = await ask(server, asked, "/v1/completions")
    streamed = await ask(server, asked | {"stream": True}, "/v1/completions")
    assert heard(whole, stream=False, codec=Complete) == heard(streamed, stream=True, codec=Complete)
    assert whole.json()["choices"][0]["text"] == "You said 3 words: one two three"
    assert whole.json()["usage"]["prompt_tokens"] == 6


@given(st.text(), st.lists(st.text()), st.integers(1, 3))
def test_no_text_is_changed_by_being_cut_into_words(text, content, n):
    asked = Asked(messages=[Message("user", one) for one in [*content, "end"]], n=n)
    asked.stream_options = StreamOptions(include_usage=True)
    found = []
    for stream in (False, True):
        asked.stream = stream
        said = answer(Script(text=text), asked, chat=True)
        response = Response()
        response.feed(b"".join(said.pieces))
        assert response.complete
        found.append(heard(response, stream=stream))
    assert found[0] == found[1]
    assert found[0][0].get(Channel(0), "") == text


async def test_a_call_of_a_tool_is_read_by_our_own_codec_piece_by_piece(server):
    server.says(tools=(Tool("weather", '{"city": "Oslo"}'),))
    response = await ask(server, STREAMED)
    changes = [
        change for event in Chat().decoder(stream=True, withhold_usage=False).feed(response.body)
        for change in event.changes()
    ]  # fmt: skip
    channel = Channel(0, "tool", 0)
    assert ToolBegan(channel, "call_0", "weather") in changes
    assert [change.text for change in changes if isinstance(change, Delta)] == ['{"city":', ' "Oslo"}']
    assert Finished(0, "tool_calls") in changes


async def test_the_chunks_of_a_text_may_be_given_as_they_are(server):
    server.says(["hel", "lo wor", "ld"])
    body = (await ask(server, STREAMED)).body
    assert [json.loads(frame[6:])["choices"][0]["delta"].get("content") for frame in body.split(b"\n\n")[:4]] == [
        "", "hel", "lo wor", "ld",
    ]  # fmt: skip


async def test_usage_is_in_a_stream_only_when_asked_for(server):
    assert b"prompt_tokens" not in (await ask(server, HI | {"stream": True})).body
    assert b"prompt_tokens" in (await ask(server, STREAMED)).body


async def test_usage_done_and_the_finish_can_be_left_out(server):
    server.always(usage=False, done=False, finish="")
    body = (await ask(server, STREAMED)).body
    assert b"usage" not in body and b"[DONE]" not in body and b'"stop"' not in body
    whole = (await ask(server)).json()
    assert "usage" not in whole and whole["choices"][0]["finish_reason"] is None


async def test_usage_can_be_any_object(server):
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_cache_hit_tokens": 90}
    server.says("x", usage=usage)
    assert (await ask(server)).json()["usage"] == usage


async def test_fields_that_nobody_knows_and_an_opening_as_llama_cpp_sends_it(server):
    server.says("hello", extra={"timings": {"predicted_ms": 1.5}}, opening={"content": None})
    response = await ask(server, STREAMED)
    frames = [json.loads(frame[6:]) for frame in response.body.split(b"\n\n") if frame.startswith(b"data: {")]
    assert frames[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert all(frame["timings"] == {"predicted_ms": 1.5} for frame in frames)
    assert heard(response, stream=True)[0] == {Channel(0): "hello"}


# --- who is told what ------------------------------------------------------------------------------------------------


async def test_says_is_for_one_request_and_always_for_the_rest(server):
    server.always("always")
    server.says("first")
    server.says("of m", model="m")
    texts = [
        (await ask(server, HI | {"model": model})).json()["choices"][0]["message"]["content"]
        for model in ("m", "m", "m", "other")
    ]
    assert texts == ["of m", "first", "always", "always"]


async def test_what_is_said_to_a_model_is_not_said_to_another(server):
    server.always("mine", model="m")
    assert b"mine" in (await ask(server, HI | {"model": "m"})).body
    assert b"mine" not in (await ask(server)).body


async def test_a_reply_kept_ready_gives_way_to_what_is_said_next(server):
    before, again = (await ask(server)).json(), (await ask(server)).json()
    server.says("something else")
    assert before["id"] != again["id"] and before["choices"] == again["choices"]
    assert b"something else" in (await ask(server)).body


@pytest.mark.parametrize("as_text", [True, False])
async def test_a_request_may_bring_its_own_script(server, as_text):
    script: Any = {"status": 503, "before": "1ms", "headers": {"retry-after": "7"}}
    response = await ask(server, HI | {"metadata": {"script": json.dumps(script) if as_text else script}})
    assert (response.status, response.headers["retry-after"]) == (503, "7")
    assert response.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("as_text", [True, False])
async def test_a_script_with_a_mistake_is_answered_with_what_is_wrong(server, as_text):
    script: Any = {"stauts": 503}
    response = await ask(server, HI | {"metadata": {"script": json.dumps(script) if as_text else script}})
    assert response.status == 400 and "stauts" in response.json()["error"]["message"]


async def test_what_came_is_kept_to_be_looked_at(server):
    await ask(server, b'{"model":"m","messages":[]}')
    request = server.requests[-1]
    assert (request.method, request.path) == (b"POST", CHAT.encode())
    assert (b"host", b"here") in request.headers
    assert request.body == b'{"model":"m","messages":[]}'


async def test_the_models_are_listed():
    server = Server(models=("a", "b"))
    await server.start()
    listed = (await ask(server, b"", "/v1/models", "GET")).json()
    assert [model["id"] for model in listed["data"]] == ["a", "b"]
    await server.aclose()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": 1}', b"\xff", b'{"n": 0}', b"[" * 100_000])
async def test_a_body_that_is_none_is_a_400(server, body):
    assert (await ask(server, body)).status == 400


@pytest.mark.parametrize("messages", [[], [{}], [{"content": None}], [{"content": [{"type": "image_url"}]}]])
async def test_it_has_an_answer_to_whoever_says_nothing(server, messages):
    (choice,) = (await ask(server, {"messages": messages})).json()["choices"]
    assert choice["message"]["content"] == "You said 0 words: "
    assert (await ask(server, {"prompt": messages}, "/v1/completions")).status == 200


async def test_there_is_nothing_elsewhere(server):
    assert (await ask(server, path="/v1/images")).status == 404
    assert (await ask(server, method="PUT")).status == 404


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [HI, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("script", "body"),
    [
        ({"status": 500}, b'{"error":{"message":"the script says so","type":"server_error","param":null,"code":null}}'),
        ({"status": 502, "body": "<html>", "headers": {"Content-Type": "text/html"}}, b"<html>"),
        ({"status": 429, "body": ""}, b""),
        ({"status": 529, "body": '{"detail": "busy"}'}, b'{"detail": "busy"}'),
        ({"body": '{"error": "no"}'}, b'{"error": "no"}'),
    ],
    ids=["json", "html", "empty", "odd", "200"],
)
async def test_an_error_looks_as_it_is_told(server, asked, script, body):
    server.says(**script)
    response = await ask(server, asked)
    assert response.complete and response.status == script.get("status", 200) and response.body == body
    assert response.headers["content-type"] == script.get("headers", {}).get("Content-Type", "application/json")
    assert server.responses == 0


async def test_a_stream_is_cut_off_after_so_many_events(server):
    server.says("hel lo", cut_off=1)
    response = await ask(server, STREAMED)
    assert not response.complete and response.status == 200
    decoder = Chat().decoder(stream=True, withhold_usage=False)
    events = decoder.feed(response.body)
    assert [text for event in events for _, text in event.texts()] == ["hel"] and decoder.end() == []
    assert server.responses == 0


async def test_after_no_event_there_is_the_head_and_no_more(server):
    server.says("hello", cut_off=0)
    response = await ask(server, STREAMED)
    assert (response.status, response.body, response.complete) == (200, b"", False)


@pytest.mark.parametrize("asked", [HI, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_a_body_is_cut_off_after_so_many_bytes_in_any_framing(server, asked, framing):
    server.says("hello", framing=framing)
    whole = await ask(server, asked)
    server.says("hello", framing=framing, cut_bytes=100)
    cut = await ask(server, asked)
    assert cut.body == whole.body.replace(whole_id(whole), whole_id(cut))[:100]
    assert not cut.complete


def whole_id(response: Response) -> bytes:
    at = response.body.index(b"scripted-")
    return response.body[at : at + 25]


@pytest.mark.parametrize("loop", both_loops().values(), ids=both_loops().keys())
def test_what_was_said_before_a_reset_arrives_first(loop):
    async def run() -> None:
        server = Server()
        await server.start()
        server.says(["x" * 30_000, "y"], cut_off=1, then="reset")
        client = await Client.of(server)
        client.send(STREAMED)
        received = b""
        with pytest.raises(ConnectionResetError):
            while data := await client.reader.read(65536):
                received += data
        assert received.count(b"x") > 30_000 and b'"y"' not in received
        client.leave()
        await server.aclose()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def test_a_connection_can_be_closed_before_any_answer(server, connect):
    server.says(raw=b"")
    client = await connect()
    client.send(HI)
    assert await client.rest() == b""


async def test_a_connection_can_be_reset_before_any_answer(server, connect):
    server.says(raw=b"", then="reset")
    client = await connect()
    client.send(HI)
    with pytest.raises(ConnectionResetError):
        await client.rest()


async def test_a_connection_can_be_left_silent_before_any_answer(server, connect):
    server.says(raw=b"", then="stall")
    client = await connect()
    client.send(HI)
    await until(lambda: server.requests and not server.tasks)
    assert not client.reader.at_eof() and len(server.connections) == 1


async def test_a_half_closed_connection_says_no_more_and_stays(server, connect):
    server.says("hello", cut_off=1, then="half_close")
    client = await connect()
    client.send(STREAMED)
    assert b"hello" in await client.rest()
    client.send(HI)
    await client.writer.drain()
    assert len(server.connections) == 1 and len(server.requests) == 1


async def test_an_event_can_be_anything_else_instead(server):
    server.says("a b c", instead={1: b"data: {\xff\n\n"})
    body = (await ask(server, STREAMED)).body
    assert body.split(b"\n\n")[2] == b"data: {\xff"
    server.says("a b c", instead={0: b'data: {"error": {"message": "busy"}}\n\n'})
    with pytest.raises(UpstreamFailed, match="busy"):
        Chat().decoder(stream=True, withhold_usage=False).feed((await ask(server, STREAMED)).body)
    server.says("hello", instead={0: b'{"choices": ['})
    response = await ask(server)
    assert response.complete and response.body == b'{"choices": ['


async def test_a_whole_response_can_be_any_bytes(server, connect):
    server.says(raw=b"SSH-2.0-OpenSSH_9.2\r\n")
    client = await connect()
    client.send(HI)
    assert await client.rest() == b"SSH-2.0-OpenSSH_9.2\r\n"


async def test_a_connection_may_close_after_a_complete_answer_without_having_said_so(server, connect):
    server.says("hello", then="close")
    client = await connect()
    response = await client.ask(HI)
    assert response.complete and "connection" not in response.headers
    assert await client.rest() == b""


# --- time ------------------------------------------------------------------------------------------------------------


async def test_it_waits_before_the_head_and_between_events(server, connect):
    gate = Gate()
    server.sleep = gate.sleep
    server.says("a b", before=2.5, between=0.5)
    client = await connect()
    client.send(HI | {"stream": True})
    await until(lambda: gate.asked == [2.5])
    assert not client.reader._buffer
    gate.turns.release()
    first = await client.reader.read(65536)
    assert b'"a"' in first and b'" b"' not in first
    for _ in range(4):
        gate.turns.release()
    rest = await client.reader.readuntil(b"0\r\n\r\n")
    assert b'" b"' in rest and b"[DONE]" in rest
    assert gate.asked == [2.5, 0.5, 0.5, 0.5, 0.5]


async def test_it_trickles_so_many_bytes_at_a_time(server, connect):
    gate = Gate()
    server.sleep = gate.sleep
    server.says("hello", trickle=10, between=1)
    client = await connect()
    client.send(HI)
    await until(lambda: 0 in gate.asked)
    seen = []
    for _ in range(3):
        seen.append(await client.reader.read(65536))
        gate.turns.release()
    assert seen == [b"HTTP/1.1 2", b"00 OK\r\ncon", b"tent-type:"]


async def test_the_answer_under_way_ends_with_its_client(server, connect):
    gate = Gate()
    server.sleep = gate.sleep
    server.says("a b c", between=1)
    client = await connect()
    client.send(STREAMED)
    await client.reader.read(65536)
    assert len(server.tasks) == 1
    client.leave()
    await until(lambda: not server.tasks and not server.connections)
    assert server.responses == 0


async def test_closing_breaks_off_what_is_being_said():
    server = Server(sleep=Gate().sleep)
    await server.start()
    server.always("a b c", between=1)
    clients = [await Client.of(server) for _ in range(10)]
    for client in clients:
        client.send(STREAMED)
        await client.reader.read(65536)
    await server.aclose()
    assert not server.tasks and not server.connections
    for client in clients:
        with suppress(ConnectionResetError):
            assert await client.rest() == b""
        client.leave()


async def until(there: Any) -> None:
    async with asyncio.timeout(30):
        while not there():
            await asyncio.sleep(0)


# --- many and much ---------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_the_stream_up(server, connect):
    server.says(["Z" * 60_000] * 500)
    client = await connect()
    client.writer.transport.pause_reading()
    client.send(STREAMED)
    await until(lambda: server.tasks)
    (connection,) = server.connections
    await until(lambda: not connection._writable.is_set())
    for _ in range(100):
        await asyncio.sleep(0)
    assert connection.transport.get_write_buffer_size() < 200_000
    client.writer.transport.resume_reading()
    response = await client.response()
    assert response.complete and response.body.count(b"Z") == 30_000_000


async def test_a_thousand_connections_at_once(server):
    responses = await asyncio.gather(*(ask(server, HI | {"user": str(at)}) for at in range(1_000)))
    assert {response.status for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1_000
    assert (server.responses, server.completion_tokens) == (1_000, 6_000)


async def test_requests_sent_at_once_over_one_connection_are_answered_in_order(server, connect):
    server.says("one", before=0.001)
    server.says("two")
    client = await connect()
    client.send(HI)
    client.send(HI)
    data = b""
    while data.count(b"HTTP/1.1 200 OK") < 2 or not data.endswith(b"}"):
        data += await client.reader.read(65536)
    assert data.index(b'"one"') < data.index(b'"two"')


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"])
async def test_what_is_no_request_is_a_400_and_the_end(server, connect, said):
    client = await connect()
    client.writer.write(said)
    assert b" 40" in await client.rest()


async def test_a_chunked_request_and_one_that_waits_for_100_are_read(server, connect):
    client = await connect()
    head = b"POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
    client.writer.write(head)
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b'5\r\n{"pro\r\n10\r\nmpt": "a chunk"}\r\n0\r\n\r\n')
    assert (await client.response()).json()["choices"][0]["text"] == "You said 2 words: a chunk"


# --- as a process, and as a provider ---------------------------------------------------------------------------------


def test_as_a_process_it_keeps_account_of_what_it_said_to_the_end(tmp_path):
    served = tmp_path / "served.jsonl"
    command = [sys.executable, "-m", "tidegate.providers.scripted", "--served", str(served), "--latency-ms", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            for at, more in enumerate([{}, {"metadata": {"script": {"cut_off": 0}}}, {"stream": True}]):
                body = json.dumps(HI | {"user": f"call-{at}"} | more).encode()
                with suppress(HTTPException), urlopen(f"{address}/chat/completions", body, timeout=30) as response:
                    response.read()
            with urlopen(f"{address.removesuffix('/v1')}/_served", timeout=30) as response:
                sums = json.load(response)
        finally:
            process.kill()
    lines = [json.loads(line) for line in served.read_text().splitlines()]
    assert [(line["user"], line["model"]) for line in lines] == [("call-0", "scripted"), ("call-2", "scripted")]
    assert len({line["id"] for line in lines}) == 2
    assert sums == {"responses": 2, "prompt_tokens": 10, "completion_tokens": 12}
    assert sum(line["usage"]["completion_tokens"] for line in lines) == 12


def test_a_mistake_on_the_command_line_is_named():
    command = [sys.executable, "-m", "tidegate.providers.scripted", "--script", '{"stauts": 1}']
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.returncode == 2 and "stauts" in said.stderr


class NoPrices:
    def price(self, vendor: str, model: str) -> None:
        return None


async def test_as_a_provider_it_runs_between_start_and_close():
    provider = Scripted("demo", Config(), NoPrices())
    assert "'demo' does not run" in str(provider.trouble())
    await provider.start()
    assert provider.trouble() is None and provider.base_url == provider.server.address
    assert provider.price("scripted") is OWN_HARDWARE and provider.models == ("scripted",)
    assert (await ask(provider.server)).status == 200
    await provider.aclose()
    assert provider.trouble() is not None


async def test_a_taken_port_is_said_with_what_to_do():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"providers\.demo\.port: cannot listen on 127\.0\.0\.1:{port}.*or 0"):
            await Scripted("demo", Config(port=port), NoPrices()).start()


def test_a_configuration_may_hold_a_script():
    text = "providers: {flaky: {type: scripted, price: {output: 2}, script: {status: 503, before: 20ms, text: [a, b]}}}"
    configured = config.parse(text, {}).providers["flaky"]
    assert configured.settings.script == Script(status=503, before=0.02, text=("a", "b"))
    with pytest.raises(ConfigError, match=r"stauts.*did you mean 'status'"):
        config.parse(text.replace("status", "stauts"), {})


async def test_a_configured_script_is_what_it_says():
    provider = Scripted("flaky", Config(script=Script(status=503), price={"input": 1, "output": 2}), NoPrices())
    await provider.start()
    assert (await ask(provider.server)).status == 503
    assert provider.price("any").rates == {"input": 10**9, "output": 2 * 10**9}
    await provider.aclose()


def test_a_request_is_understood_with_null_where_clients_send_null():
    body = b'{"model": "m", "messages": [], "stream": null, "stream_options": null, "n": null, "metadata": null}'
    asked, script = read_request(body)
    assert asked.model == "m" and script is None

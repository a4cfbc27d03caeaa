"""A dialect is one file: its codec, a provider that speaks it, and from then on everybody can talk to everybody.

The dialect here is made up. A request is JSON with words of its own; a reply is JSON, or line by line:

    ! t-1 m-large          the reply has begun: its ticket, its engine
    + "Hel"                more words
    # 3 2                  what it costs: tokens heard, tokens said
    . done                 the end: done | full
    ~ "out of order"       the end: something broke
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from tests.house import Build, House
from tests.rawserver import Peer, serving
from tidegate import plugins
from tidegate.api.calls import handle
from tidegate.api.incoming import Incoming
from tidegate.core.body import decode, spans, splice
from tidegate.core.call import Asked, Call, Event, Metering, Target
from tidegate.core.chat import (
    Began,
    Change,
    Channel,
    Conversation,
    Delta,
    Finished,
    Message,
    Role,
    Text,
    Written,
    left_out,
)
from tidegate.core.errors import BadRequest, Complaint, TidegateError, UpstreamCutOff, UpstreamFailed
from tidegate.core.money import NO_USAGE, OWN_HARDWARE, Price, Usage
from tidegate.core.ports import Codec, Headers, PriceBook, Request, Timeouts
from tidegate.core.values import Secret
from tidegate.gateway import Gateway
from tidegate.providers.openai.chat import Chat

# --- the dialect -----------------------------------------------------------------------------------------------------

ROLES: dict[Literal["rules", "me", "you"], Role] = {"rules": "system", "me": "user", "you": "assistant"}
SPEAKERS = {role: speaker for speaker, role in ROLES.items()} | {"developer": "rules"}
REASONS: dict[str, Literal["stop", "length"]] = {"done": "stop", "full": "length"}
ENDS = {"length": "full"}


class Line(msgspec.Struct):
    by: Literal["rules", "me", "you"]
    words: str


class ToyAsked(msgspec.Struct):
    engine: str
    talk: list[Line]
    drip: bool = False
    most: int | None = None


class ToySaid(msgspec.Struct):
    ticket: str
    engine: str
    words: str
    why: str
    fee: tuple[int, int]


class ToyEvent(Event):
    __slots__ = ("said",)

    def __init__(self, raw: bytes, *said: Change, last: bool = False, usage: Usage | None = None) -> None:
        opens = last or any(isinstance(change, Delta | Finished) for change in said)
        super().__init__(raw, opens=opens, last=last, usage=usage)
        self.said = said

    def changes(self) -> Sequence[Change]:
        return self.said

    def texts(self) -> Iterable[tuple[Channel, str]]:
        return [(change.channel, change.text) for change in self.said if isinstance(change, Delta)]


class ToyLines:
    """Lines to events, wherever the network cuts them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [self._event(line) for line in lines if line]

    def end(self) -> list[Event]:
        return []

    def _event(self, line: bytes) -> Event:
        mark, _, rest = line.decode().partition(" ")
        if mark == "!":
            return ToyEvent(line + b"\n", Began(*rest.split(" "), 0))
        if mark == "+":
            return ToyEvent(line + b"\n", Delta(Channel(), json.loads(rest)))
        if mark == "#":
            heard, said = rest.split(" ")
            return ToyEvent(line + b"\n", usage=Usage(input=int(heard), output=int(said)))
        if mark == ".":
            return ToyEvent(line + b"\n", Finished(0, REASONS[rest]), last=True)
        raise UpstreamFailed(f"it sent an error: {json.loads(rest)}")


class ToyBody:
    def __init__(self) -> None:
        self._body = b""

    def feed(self, data: bytes) -> list[Event]:
        self._body += data
        return []

    def end(self) -> list[Event]:
        said = msgspec.json.decode(self._body, type=ToySaid)
        changes = (Began(said.ticket, said.engine, 0), Delta(Channel(), said.words), Finished(0, REASONS[said.why]))
        return [ToyEvent(self._body, *changes, last=True, usage=Usage(input=said.fee[0], output=said.fee[1]))]


class ToyWriter:
    """Events of any dialect in this one."""

    def __init__(self, request_id: str, model: str, stream: bool) -> None:
        self._stream = stream
        self._whole = ToySaid(request_id, model, "", "done", (0, 0))
        self._usage = NO_USAGE

    def feed(self, events: Sequence[Event]) -> bytes:
        return b"".join(self._written(event) for event in events)

    def _written(self, event: Event) -> bytes:
        lines: list[str] = []
        self._usage = event.usage or self._usage
        for change in event.changes():
            if isinstance(change, Began):
                self._whole.ticket, self._whole.engine = change.id, change.model
                lines.append(f"! {change.id} {change.model}")
            elif isinstance(change, Delta) and change.channel == Channel():
                self._whole.words += change.text
                lines.append(f"+ {json.dumps(change.text)}")
            elif isinstance(change, Finished):
                self._whole.why = ENDS.get(change.reason, "done")
        if event.last and event.error is None:
            fee = (self._usage.input_total, self._usage.output_total)
            lines += [f"# {fee[0]} {fee[1]}", f". {self._whole.why}"]
            if not self._stream:
                self._whole.fee = fee
                return msgspec.json.encode(self._whole)
        return "".join(f"{line}\n" for line in lines).encode() if self._stream else b""


class ToyChat:
    dialect: ClassVar[str] = "toy"
    operation: ClassVar[str] = "chat"
    path: ClassVar[str] = "/talk"
    metering: ClassVar[Metering] = "tokens"

    def media_type(self, *, stream: bool) -> bytes | None:
        return b"text/event-stream" if stream else b"application/json"

    def parse_request(self, body: bytes) -> Asked:
        typed: ToyAsked = decode(msgspec.json.Decoder(ToyAsked), body)
        return Asked(
            codec=self,
            body=body,
            model=typed.engine,
            stream=typed.drip,
            wants_usage=True,
            typed=typed,
            spans=spans(body),
        )

    def outgoing(self, asked: Asked, model: str) -> bytes:
        return splice(asked.body, asked.spans, {"engine": msgspec.json.encode(model)})

    def conversation(self, asked: Asked) -> Conversation:
        typed: ToyAsked = asked.typed
        items = tuple(Message(ROLES[line.by], (Text(line.words),)) for line in typed.talk)
        return Conversation(items, stream=typed.drip, max_tokens=typed.most)

    def render_request(self, conversation: Conversation, model: str) -> Written:
        dropped = left_out(conversation, self.dialect)
        talk: list[Line] = []
        for item in conversation.items:
            if not isinstance(item, Message) or not all(isinstance(part, Text) for part in item.parts):
                raise BadRequest("this provider takes nothing but words")
            words = "".join(part.text for part in item.parts if isinstance(part, Text))
            talk.append(Line(SPEAKERS[item.role], words))
        asked = ToyAsked(model, talk, conversation.stream, conversation.max_tokens)
        return Written(msgspec.json.encode(asked), tuple(dropped))

    def decoder(self, *, stream: bool, withhold_usage: bool) -> ToyLines | ToyBody:
        return ToyLines() if stream else ToyBody()

    def encoder(self, *, stream: bool, wants_usage: bool, request_id: str, model: str) -> ToyWriter:
        return ToyWriter(request_id, model, stream)

    def parse_error(self, status: int, headers: Headers, body: bytes) -> Complaint:
        return Complaint(body.decode("utf-8", "replace").removeprefix("~ "))

    def render_error(self, error: TidegateError, status: int) -> bytes:
        return msgspec.json.encode({"broke": error.message, "where": error.param})

    def render_error_event(self, error: TidegateError, status: int) -> bytes:
        return b"~ %b\n" % msgspec.json.encode(error.message)

    def own_answer(self, asked: Asked) -> Event | None:
        return None

    def texts(self, asked: Asked) -> Iterator[tuple[str, str]]:
        typed: ToyAsked = asked.typed
        for at, line in enumerate(typed.talk):
            yield f"talk[{at}].words", line.words


# --- a provider that speaks it ---------------------------------------------------------------------------------------


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider of the made-up dialect.

    base_url: where it is.
    """

    base_url: str


class Toy:
    dialect = "toy"
    models: tuple[str, ...] = ("m-large",)
    why = "configured"
    ready = True
    keys: tuple[Secret, ...] = ()

    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        self.name = name
        self._base_url = config.base_url

    def serves(self, model: str) -> bool:
        return True

    def request(
        self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts, key: Secret | None
    ) -> Request:
        return Request("POST", self._base_url + codec.path, [(b"content-type", b"application/json")], body, timeouts)

    def price(self, model: str) -> Price | None:
        return OWN_HARDWARE

    def secrets(self) -> Iterable[str]:
        return ()

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    def trouble(self) -> str | None:
        return None


# --- what it would answer, for the tests -----------------------------------------------------------------------------


def answered(body: bytes) -> tuple[bytes, bytes]:
    """What a server of this dialect says to a request: (content type, body). It repeats the last words in capitals."""
    asked = msgspec.json.decode(body, type=ToyAsked)
    words = asked.talk[-1].words.upper()
    why = "full" if asked.most is not None and asked.most < len(words) else "done"
    fee = (sum(len(line.words.split()) for line in asked.talk), len(words.split()))
    if not asked.drip:
        return b"application/json", msgspec.json.encode(ToySaid("t-1", asked.engine, words, why, fee))
    lines = [
        f"! t-1 {asked.engine}",
        *(f"+ {json.dumps(letter)}" for letter in words),
        f"# {fee[0]} {fee[1]}",
        f". {why}",
    ]
    return b"text/event-stream", "".join(f"{line}\n" for line in lines).encode()


def in_openai(body: bytes) -> bytes:
    """The same from a server of OpenAI's dialect, as a body or as a stream."""
    asked = json.loads(body)
    words = asked["messages"][-1]["content"].upper()
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    head = {"id": "c-1", "model": asked["model"], "created": 1}
    if not asked.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        return json.dumps({**head, "choices": [choice], "usage": usage}).encode()
    assert asked["stream_options"] == {"include_usage": True}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [*(({"content": letter}, None) for letter in words), ({}, "stop")]
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    chunks.append(head | {"choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


TOY, OPENAI = ToyChat(), Chat()


def asked_in_openai(*, stream: bool, **fields: Any) -> bytes:
    messages = [{"role": "system", "content": "be loud"}, {"role": "user", "content": "hi"}]
    return json.dumps({"model": "toy/m-large", "messages": messages, "stream": stream} | fields).encode()


def asked_in_toy(*, drip: bool, engine: str = "main/gpt", **fields: Any) -> bytes:
    talk = [{"by": "rules", "words": "be loud"}, {"by": "me", "words": "hi"}]
    return json.dumps({"engine": engine, "talk": talk, "drip": drip} | fields).encode()


def heard_in_openai(reply: bytes, *, stream: bool) -> tuple[str, str | None, dict[str, Any] | None]:
    """The text, the reason of its end and the usage that an OpenAI client makes of a reply."""
    frames = [frame.removeprefix(b"data: ") for frame in reply.split(b"\n\n") if frame] if stream else [reply]
    bodies = [json.loads(frame) for frame in frames if frame != b"[DONE]"]
    choices = [choice for body in bodies for choice in body["choices"]]
    text = "".join((choice.get("delta") or choice.get("message") or {}).get("content") or "" for choice in choices)
    return text, choices[-1]["finish_reason"], bodies[-1].get("usage")


# --- codec to codec --------------------------------------------------------------------------------------------------


def through(client: Codec, provider: Codec, sent: bytes, answer: Any, size: int) -> tuple[bytes, bytes]:
    """What `provider` is asked, and what `client` hears, when a reply comes in pieces of this size."""
    asked = client.parse_request(sent)
    body = provider.render_request(client.conversation(asked), "m-large").body
    reply = answer(body)
    decoder = provider.decoder(stream=asked.stream, withhold_usage=False)
    encoder = client.encoder(stream=asked.stream, wants_usage=True, request_id="r", model=asked.model)
    heard = b""
    for at in range(0, len(reply), size):
        heard += encoder.feed(decoder.feed(reply[at : at + size]))
    return body, heard + encoder.feed(decoder.end())


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_of_openais_hears_a_provider_of_the_new_dialect(stream: bool, size: int) -> None:
    sent = asked_in_openai(stream=stream, max_tokens=50)
    body, heard = through(OPENAI, TOY, sent, lambda body: answered(body)[1], size)
    assert json.loads(body) == json.loads(asked_in_toy(drip=stream, engine="m-large", most=50))
    text, reason, usage = heard_in_openai(heard, stream=stream)
    assert (text, reason) == ("HI", "stop")
    assert usage is not None and (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 1)


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_of_the_new_dialect_hears_a_provider_of_openais(stream: bool, size: int) -> None:
    body, heard = through(TOY, OPENAI, asked_in_toy(drip=stream, most=50), in_openai, size)
    assert json.loads(body)["messages"] == json.loads(asked_in_openai(stream=stream))["messages"]
    assert json.loads(body)["max_tokens"] == 50
    events = TOY.decoder(stream=stream, withhold_usage=False)
    (said,) = {"".join(text for event in [*events.feed(heard), *events.end()] for _, text in event.texts())}
    assert said == "HI"
    assert (b"# 2 1\n" in heard) if stream else (b'"fee":[2,1]' in heard)


@pytest.mark.parametrize("stream", [True, False])
def test_its_own_bytes_pass_through_it_unchanged(stream: bool) -> None:
    sent = asked_in_toy(drip=stream, unknown={"a": 1.0})
    assert TOY.outgoing(TOY.parse_request(sent), "m-large") == sent.replace(b'"main/gpt"', b'"m-large"')
    _, reply = answered(asked_in_toy(drip=stream, engine="m-large"))
    decoder = TOY.decoder(stream=stream, withhold_usage=False)
    assert b"".join(event.raw for event in [*decoder.feed(reply), *decoder.end()]) == reply


def test_what_the_new_dialect_cannot_say_is_refused_by_its_path() -> None:
    asked = OPENAI.parse_request(asked_in_openai(stream=False, logprobs=True))
    with pytest.raises(BadRequest, match="logprobs: only providers that speak openai") as refused:
        TOY.render_request(OPENAI.conversation(asked), "m-large")
    assert refused.value.param == "logprobs"


def test_a_reply_that_breaks_ends_in_the_clients_dialect() -> None:
    broken = [ToyEvent(b"", Delta(Channel(), "HE")), Event(last=True, error=UpstreamCutOff("it was cut off"))]
    in_toy = TOY.encoder(stream=True, wants_usage=True, request_id="r", model="m").feed(broken)
    in_toy += TOY.render_error_event(UpstreamCutOff("it was cut off"), 502)
    assert in_toy == b'+ "HE"\n~ "it was cut off"\n'


# --- the whole house -------------------------------------------------------------------------------------------------

HOUSE = """
logs: {{calls: false}}
providers:
  main: {{type: scripted, price: {{input: 1, output: 2}}}}
  toy: {{type: "tests.test_dialect_in_one_file:Toy", base_url: "{url}"}}
routes:
  loud: {{targets: [{{provider: toy, model: m-large}}], aliases: [m]}}
  quiet: {{targets: [{{provider: main, model: gpt}}]}}
"""


async def toy_server(peer: Peer) -> None:
    while True:
        request = await peer.request()
        assert request.line == b"POST /talk HTTP/1.1"
        if b"please break" in request.body:
            status, kind, body = b"422 No", b"text/plain", b"~ out of order"
        else:
            status, (kind, body) = b"200 OK", answered(request.body)
        head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(body))
        await peer.dictate(head, *(body[at : at + 7] for at in range(0, len(body), 7)))


async def talk(gateway: Gateway, incoming: Incoming) -> None:
    await handle(gateway, incoming, "toy", "chat")


@pytest.fixture
async def house(build_house: Build, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setitem(plugins.BUILT_IN["codecs"], "toy.chat", f"{__name__}:ToyChat")  # what an entry point does
    async with serving() as server:
        server.script = toy_server
        house = await build_house(HOUSE.format(url=server.url))
        house.app.edge._endpoints["/talk"] = {"POST": talk}  # the one line that it needs at the edge
        yield house


@pytest.mark.parametrize("stream", [True, False])
async def test_in_the_house_an_openai_client_is_answered_by_the_new_provider(house: House, stream: bool) -> None:
    reply = await house.ask("hi there", route="loud", stream=stream)
    assert (reply.status, reply.text, reply.error) == (200, "HI THERE", None)
    assert reply.row is not None
    assert (reply.row.target, reply.row.usage, reply.row.cost_nusd) == ("toy/m-large", {"input": 2, "output": 2}, 0)
    assert not reply.row.usage_estimated


@pytest.mark.parametrize("drip", [True, False])
async def test_in_the_house_a_client_of_the_new_dialect_is_answered_by_either_provider(
    house: House, drip: bool
) -> None:
    house.provider("main").says("hello there")
    for engine, words in (("quiet", "hello there"), ("loud", "HI")):
        reply = await house.ask(path="/talk", body=asked_in_toy(drip=drip, engine=engine))
        decoder = TOY.decoder(stream=drip, withhold_usage=False)
        events = [*decoder.feed(reply.body), *decoder.end()]
        assert "".join(text for event in events for _, text in event.texts()) == words
        assert events[-1].last
        assert reply.row is not None and reply.row.dialect == "toy"


async def test_in_the_house_errors_are_told_in_the_clients_dialect(house: House) -> None:
    reply = await house.ask("please break", route="loud")
    assert reply.status == 422 and reply.error is not None and reply.error.message == "out of order"
    reply = await house.ask(path="/talk", body=asked_in_toy(drip=True, engine="lood"))
    assert reply.status == 404
    assert json.loads(reply.body) == {"broke": "no model 'lood'; did you mean 'loud'?", "where": "model"}


async def test_in_the_house_a_reply_that_breaks_ends_in_the_clients_dialect(house: House) -> None:
    house.provider("main").says("hello there", cut_off=1)
    reply = await house.ask(path="/talk", body=asked_in_toy(drip=True, engine="quiet"))
    assert reply.status == 200
    assert b'+ "hello"' in reply.body and reply.body.splitlines()[-1].startswith(b'~ "')
    assert b"\n. done" not in reply.body

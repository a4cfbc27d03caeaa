"""Are two calls the same question? One digest for everything that an answer depends on, whatever dialect asked."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import msgspec

from tidegate.core.call import Asked, Call
from tidegate.core.chat import Conversation, Message, Text, opaques
from tidegate.core.errors import BadRequest

Scope = Literal["key", "team", "organisation", "global"]

REMEMBERED = 4_096  # bodies whose question is known: most hits are the same bytes again
SIZE = 20  # bytes of a digest
# Of a body that has no neutral form: who asks, and how the answer is sent, is not the question.
BESIDES = ("model", "user", "safety_identifier", "stream", "stream_options")

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_PACK = msgspec.msgpack.Encoder(order="sorted")
_SORTED = msgspec.json.Encoder(order="sorted")


class Question(NamedTuple):
    """What is asked. `bound`: parts of it only one dialect understands, or parts of the answer may be such; then only a
    reply of the very form that this client wants is an answer."""

    digest: bytes
    bound: bool


class Prompt(NamedTuple):
    """What was said last, and all else that the answer depends on: only within that may answers be exchanged."""

    text: str
    partition: bytes


# Words after which the same question has another answer tomorrow.
SOON = (
    "now today tonight yesterday tomorrow current currently latest recent recently newest nowadays "
    "jetzt heute gestern morgen aktuell maintenant aujourd hier demain ahora hoy"
)
PASSING = frozenset(SOON.split())
LONGEST_PROMPT = 2_000  # characters: the embedding reads no more


def prompt(call: Call, most: int, scope: Scope, fingerprint: bytes) -> Prompt | None:
    """None for what is not compared by meaning: long conversations, tools' results, pictures, what passes with time."""
    asked = call.asked
    assert asked is not None and call.route is not None
    if asked.codec.operation != "chat":
        return None
    try:
        said = asked.codec.conversation(asked)
    except BadRequest:
        return None
    last = said.items[-1] if said.items else None
    if not isinstance(last, Message) or last.role != "user" or len(said.items) > most:
        return None
    plain = all(isinstance(one, Message) and all(isinstance(part, Text) for part in one.parts) for one in said.items)
    if not plain or any(True for _ in opaques(said)):
        return None
    text = " ".join(part.text for part in last.parts if isinstance(part, Text)).strip()
    words = {word.strip(".,;:!?\"'()").lower() for word in text.split()}
    if not text or len(text) > LONGEST_PROMPT or words & PASSING:
        return None
    rest = msgspec.structs.replace(said, items=said.items[:-1], stream=False, user=None)
    whose = scope_of(call, scope)
    return Prompt(
        text,
        _digest(
            _PACK.encode((call.route.name, fingerprint, call.guarded.by, call.prompt, *whose, rest, *arms_of(call)))
        ),
    )


class Questions:
    """Of each body, its question."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Question] = OrderedDict()

    def question(self, asked: Asked) -> Question:
        codec = asked.codec
        same = blake2b(asked.body, digest_size=SIZE, person=codec.dialect.encode()[:8], salt=_salt(asked)).digest()
        known = self._known.get(same)
        if known is None:
            known = self._known[same] = read(asked)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known


def read(asked: Asked) -> Question:
    """The question in `asked`, read anew."""
    if asked.codec.operation == "chat":
        try:
            return _of_conversation(asked.codec.conversation(asked))
        except BadRequest:  # a provider of this dialect may take what no other would
            pass
    fields = _OBJECT.decode(asked.body)
    for name in BESIDES:
        fields.pop(name, None)
    return Question(_digest(_SORTED.encode(fields)), bound=True)


def _of_conversation(said: Conversation) -> Question:
    bound = said.effort not in (None, "none") or any(True for _ in opaques(said))
    return Question(_digest(_PACK.encode(msgspec.structs.replace(said, stream=False, user=None))), bound)


def key(call: Call, question: Question, scope: Scope, fingerprint: bytes) -> bytes:
    """Where the answer is looked for. Two calls with the same key get the same answer."""
    asked = call.asked
    assert asked is not None and call.route is not None
    codec = asked.codec
    form = (codec.dialect, asked.stream, asked.stream and asked.wants_usage) if question.bound else ()
    whose = scope_of(call, scope)
    parts = (codec.operation, call.route.name, fingerprint, call.guarded.by, call.prompt, *whose, question.digest, form)
    return _digest(_PACK.encode((*parts, *arms_of(call)) if call.arms else parts))


def arms_of(call: Call) -> tuple[tuple[str, str], ...]:
    """Arms share no answers, nor do the others with those who get what there was before."""
    return tuple([(one.experiment, one.arm) for one in call.arms])


def scope_of(call: Call, scope: Scope) -> tuple[str, str]:
    """Among whom answers are shared. A key that has no team shares with nobody in its place."""
    principal = call.principal
    assert principal is not None
    if scope == "global":
        return "global", ""
    if scope == "organisation":
        return "organisation", principal.organisation_id
    if scope == "team" and principal.team_id is not None:
        return "team", principal.team_id
    return "key", principal.key_id


def is_one_answer(asked: Asked) -> bool:
    """Whoever asks for several wants them to differ."""
    return asked.choices == 1


def _salt(asked: Asked) -> bytes:
    return asked.codec.operation.encode()[:16]


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=SIZE).digest()

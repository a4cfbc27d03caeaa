"""Which parameters can an arm say, in which dialects, and how are they put into a request?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tidegate.core.body import splice
from tidegate.core.call import Call
from tidegate.core.errors import BadRequest
from tidegate.core.nearest import nearest
from tidegate.core.ports import Codec

Form = tuple[str, str]  # dialect and operation

CHAT, COMPLETE, MESSAGES = ("openai", "chat"), ("openai", "complete"), ("anthropic", "chat")
FORMS = (CHAT, COMPLETE, MESSAGES)
TEXT = frozenset((CHAT, COMPLETE))
# Who has what. Anything else of a request is the client's own: what it asks, as whom, and how it wants to be answered.
TAKEN: Mapping[str, frozenset[Form]] = {
    **dict.fromkeys(("temperature", "top_p", "max_tokens"), frozenset(FORMS)),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "seed", "stop", "logit_bias"), TEXT),
    **dict.fromkeys(("top_k", "tool_choice", "service_tier"), frozenset((CHAT, MESSAGES))),
    **dict.fromkeys(
        ("reasoning_effort", "verbosity", "response_format", "parallel_tool_calls", "min_p", "prediction"),
        frozenset((CHAT,)),
    ),
    **dict.fromkeys(("stop_sequences", "thinking", "output_config"), frozenset((MESSAGES,))),
}
# Where a client says it in other words, these are what is replaced.
ALSO = {"max_tokens": "max_completion_tokens"}
ANY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"prompt":"hi","max_tokens":1}'


def taken_by(names: Iterable[str]) -> frozenset[Form]:
    """Who has all of them."""
    found = frozenset(FORMS)
    for name in names:
        found &= TAKEN.get(name, frozenset())
    return found


def put(call: Call, said: Mapping[str, bytes]) -> None:
    """They replace what the client says. Raises BadRequest where its request cannot have them."""
    asked = call.asked
    assert asked is not None
    changes = {(ALSO[name] if ALSO.get(name) in asked.spans else name): value for name, value in said.items()}
    body = splice(asked.body, asked.spans, changes)
    call.asked = asked.codec.parse_request(body)
    call.outgoing = body


def wrong(name: str, value: Any, codecs: Mapping[Form, Codec]) -> Iterator[str]:
    """What is wrong with a parameter, and what to do."""
    if name not in TAKEN:
        yield f"an arm has no parameter {name[:60]!r}; {nearest(name, sorted(TAKEN))}"
        return
    for form in sorted(TAKEN[name]):
        where = msgspec.json.decode(ANY)
        where[name] = value
        try:
            codecs[form].parse_request(msgspec.json.encode(where))
        except BadRequest as refused:
            yield f"{form[0]} does not take it: {refused.message}"
            return


def left_out(names: Collection[str]) -> list[str]:
    """Whose calls cannot take part, as people call them."""
    there = taken_by(names)
    return [f"{dialect} {operation}" for dialect, operation in FORMS if (dialect, operation) not in there]

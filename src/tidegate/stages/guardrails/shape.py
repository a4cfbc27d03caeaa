"""What has the wrong shape? Too long, too many, and what a person neither sees nor types."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.guard import Finding, Part
from tidegate.stages.guardrails.patterns import Patterns

Count = Annotated[int, Meta(ge=1)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of what is asked. What is found among the characters can be masked: it is taken out.

    max_length: characters of one text of a user.
    max_total: characters of all texts together.
    max_parts: texts of a request.
    max_newlines: in a row; more are taken as a try to push what stands before out of sight.
    roles: those that a client may send; none named: all.
    hidden: whether characters that nobody sees are looked for (control, zero-width, bidirectional, tags).
    templates: whether what a chat template marks turns with is looked for in what users and tools say.
    """

    max_length: Count = 1_000_000
    max_total: Count = 4_000_000
    max_parts: Count = 10_000
    max_newlines: Count = 50
    roles: tuple[str, ...] = ()
    hidden: bool = True
    templates: bool = True


# Zero-width joiners are part of emoji and of some scripts: alone they are no sign of anything, many in a row are.
_UNSEEN = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
    "|[\x80-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\u2060-\u2064\ufeff\ufff9-\ufffb]|[\u200b-\u200f\u00ad\u180e]{2,}"
)
_TAGS = "[\U000e0000-\U000e007f]+"
_TOKENS = (
    r"<\|(?:im_start|im_end|im_sep|system|user|assistant|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id"
    r"|endoftext|end|eom_id|channel|message|start|return|call)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    "|<\uff5c[^\n>]{1,30}\uff5c>|</?s>"
)
_HIDDEN = re.compile(rf"{_UNSEEN}|(?<![\U0001f3f4\U000e0020-\U000e007f]){_TAGS}")
_TEMPLATE = re.compile(rf"{_TOKENS}(?=\s*\[)")
_SEEN = Patterns([f"{_UNSEEN}|{_TAGS}", _TOKENS])  # much sooner says whether there can be any at all
_MAY_WRITE = ("system", "developer", "assistant")  # whose templates are the application's own


class Shape:
    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        self._config = config
        self._newlines = re.compile(rf"(?:[ \t]*\r?\n){{{config.max_newlines + 1},}}")
        said = (msgspec.json.encode(config), _HIDDEN.pattern, _TEMPLATE.pattern)
        self.fingerprint = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        found = [sorted(self._look(part), key=lambda one: one.start) for part in parts]
        config = self._config
        if found and len(parts) > config.max_parts:
            found[config.max_parts] = [Finding("too_many_parts", 0, 0, instead="")]
        total = 0
        for at, part in enumerate(parts):
            total += len(part.text)
            if total > config.max_total:
                found[at] = [Finding("too_long_together", 0, 0, instead="")]
                break
        return found

    def watch(self) -> None:
        """The shape of answers is the model's own."""
        return

    def _look(self, part: Part) -> Iterator[Finding]:
        config, text = self._config, part.text
        if config.roles and part.role not in config.roles:
            yield Finding(f"role_{part.role}", 0, 0, instead="")
        if len(text) > config.max_length and part.role == "user":
            yield Finding("too_long", config.max_length, len(text), instead="")
            text = text[: config.max_length]
        if "\n" in text and text.count("\n") > config.max_newlines:
            for run in self._newlines.finditer(text):
                yield Finding("newlines", *run.span(), instead="\n" * config.max_newlines)
        odd = not (text.isascii() and text.isprintable())
        seen = _SEEN.which(text.encode("utf-8", "surrogatepass")) if odd or "<" in text or "[" in text else ()
        if config.hidden and 0 in seen:
            for one in _HIDDEN.finditer(text):
                yield Finding("hidden_characters", *one.span(), instead="")
        if config.templates and part.role not in _MAY_WRITE and 1 in seen:
            for one in _TEMPLATE.finditer(text):
                # Another character at its beginning: it reads the same, and is no token of a template.
                yield Finding("chat_template", *one.span(), instead=f"{one[0][0]} {one[0][1:]}")

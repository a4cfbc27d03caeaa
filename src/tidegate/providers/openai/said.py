"""What does a reply of OpenAI's dialect say? The fields that we read, of chat and of plain completions.

Everything else in a body or an event is passed by untouched. Source: OpenAI's API reference, and what vLLM, llama.cpp,
Groq, DeepSeek and Mistral send under the same name.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tidegate.core.chat import Channel
from tidegate.core.money import Usage


class InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


NO_INPUT, NO_OUTPUT = InputDetails(), OutputDetails()


class UsageSaid(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached_tokens

    def usage(self) -> Usage:
        """OpenAI's totals include cached, audio and reasoning tokens; ours are kinds that do not overlap."""
        # Some leave reasoning out of completion_tokens, and have it in the total alone.
        spoken = max(self.completion_tokens or 0, (self.total_tokens or 0) - (self.prompt_tokens or 0))
        if not (self.prompt_tokens_details or self.completion_tokens_details or self.prompt_cache_hit_tokens):
            return Usage(input=_count(self.prompt_tokens), output=max(spoken, 0))
        heard, said = self.prompt_tokens_details or NO_INPUT, self.completion_tokens_details or NO_OUTPUT
        cached = _count(heard.cached_tokens or self.prompt_cache_hit_tokens)
        written = _count(heard.cache_write_tokens)
        audio_in, audio_out = _count(heard.audio_tokens), _count(said.audio_tokens)
        reasoning = _count(said.reasoning_tokens)
        return Usage(
            input=_count((self.prompt_tokens or 0) - cached - written - audio_in),
            cached_read=cached,
            cached_write=written,
            audio_input=audio_in,
            output=_count(spoken - reasoning - audio_out),
            reasoning=reasoning,
            audio_output=audio_out,
        )


def _count(tokens: int | None) -> int:
    """What a provider says may be missing, and must never pay us back."""
    return max(tokens or 0, 0)


class FunctionSaid(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


_FUNCTION = msgspec.json.Decoder(FunctionSaid | None)


class ToolSaid(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: FunctionSaid | None = None


class PartSaid(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: list[PartSaid] | None = None


class Said(msgspec.Struct, gc=False):
    """A message, or a piece of one."""

    content: str | list[PartSaid] | None = None  # in parts: Mistral, when it thinks
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, vLLM
    reasoning: str | None = None  # Groq, OpenRouter
    tool_calls: list[ToolSaid] | None = None
    function_call: Raw | UnsetType = UNSET  # what came before tool calls; only passed on

    def places(self, choice: int, path: str) -> Iterator[tuple[Channel, str, str]]:
        """The same, each field for itself, and what is only passed on."""
        if isinstance(self.content, str):
            yield Channel(choice), f"{path}.content", self.content
        else:
            for at, part in enumerate(self.content or ()):
                for thought, one in enumerate(part.thinking or ()):
                    if one.text:
                        yield Channel(choice, "reasoning"), f"{path}.content[{at}].thinking[{thought}].text", one.text
                if part.text:
                    yield Channel(choice), f"{path}.content[{at}].text", part.text
        for field, channel in (
            ("reasoning_content", Channel(choice, "reasoning")),
            ("reasoning", Channel(choice, "reasoning", 1)),  # some say it in both
            ("refusal", Channel(choice, "refusal")),
        ):
            text = getattr(self, field)
            if text:
                yield channel, f"{path}.{field}", text
        for at, tool in enumerate(self.tool_calls or ()):
            if tool.function and tool.function.arguments:
                channel = Channel(choice, "tool", at if tool.index is None else tool.index)
                yield channel, f"{path}.tool_calls[{at}].function.arguments", tool.function.arguments
        if self.function_call is not UNSET:
            called = _FUNCTION.decode(self.function_call)
            if called is not None and called.arguments:
                yield Channel(choice, "tool", -1), f"{path}.function_call.arguments", called.arguments

    def pieces(self, choice: int) -> Iterator[tuple[Channel, str]]:
        if isinstance(self.content, str):
            if self.content:
                yield Channel(choice), self.content
        else:
            for part in self.content or ():
                yield from ((Channel(choice, "reasoning"), one.text) for one in part.thinking or () if one.text)
                if part.text:
                    yield Channel(choice), part.text
        thought = self.reasoning_content or self.reasoning
        if thought:
            yield Channel(choice, "reasoning"), thought
        if self.refusal:
            yield Channel(choice, "refusal"), self.refusal
        for at, tool in enumerate(self.tool_calls or ()):
            if tool.function and tool.function.arguments:
                yield Channel(choice, "tool", at if tool.index is None else tool.index), tool.function.arguments


class Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: Said | None = None  # chat, streamed
    message: Said | None = None  # chat, whole
    text: str | None = None  # completions
    finish_reason: str | None = None

    def pieces(self) -> Iterator[tuple[Channel, str]]:
        if self.text:
            yield Channel(self.index), self.text
        said = self.delta or self.message
        if said:
            yield from said.pieces(self.index)

    def opens(self) -> bool:
        said = self.delta or self.message
        if said is not None and said.content:
            return True  # what almost every chunk does
        return bool(
            self.finish_reason
            or self.text
            or (
                said
                and (
                    said.tool_calls
                    or said.reasoning_content
                    or said.reasoning
                    or said.refusal
                    or said.function_call is not UNSET
                )
            )
        )


class Reply(msgspec.Struct, gc=False):
    """A whole reply, or one chunk of a streamed one."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[Choice] | None = None
    usage: UsageSaid | None = None
    error: Raw | UnsetType = UNSET
    type: str | None = None  # what other dialects begin with, and this one has not


REPLY = msgspec.json.Decoder(Reply)


class TokenSaid(msgspec.Struct, gc=False):
    logprob: float


class LogprobsSaid(msgspec.Struct, gc=False):
    content: list[TokenSaid] | None = None


class Chance(msgspec.Struct, gc=False):
    logprobs: Raw = Raw(b"null")


class Chances(msgspec.Struct, gc=False):
    """How sure it was of its words: read only where somebody wants to know."""

    choices: list[Chance] | None = None


CHANCES = msgspec.json.Decoder(Chances)
LOGPROBS = msgspec.json.Decoder(LogprobsSaid)

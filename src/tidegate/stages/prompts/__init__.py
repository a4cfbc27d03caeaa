"""Which prompt of the store does a call name, and what is asked then? Its words come first, the call's own follow."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.call import Asked, Call, PromptAsked
from tidegate.core.chat import Conversation
from tidegate.core.errors import BadRequest, PromptInvalid
from tidegate.core.nearest import nearest
from tidegate.core.ports import Codec
from tidegate.core.prompts import FOREIGN, LABEL, NAME, Preface, Prompt, Ready, Wording, rendered
from tidegate.core.template import Unfilled
from tidegate.core.values import Duration, Size
from tidegate.stages.prompts.desk import PromptDesk
from tidegate.stages.prompts.library import Library

FIELDS = ("id", "label", "version", "variables")
RESPONSES = "/responses"

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prompts that calls can name.

    look_every: how often each process looks for what others have changed.
    max_bytes: of memory for versions that were asked for.
    protected: labels that only an administrator may move, and only who says so.
    """

    look_every: Duration = Duration(1)
    max_bytes: Size = Size(32 * 1024 * 1024)
    protected: tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,59}$")], ...] = ()


def trouble(config: Config) -> tuple[str, str] | None:
    """Which key is wrong, and what to do."""
    if config.look_every < 0.1:
        return "look_every", "must be 100ms at least"
    return None


class Prompts:
    def __init__(self, library: Library, desk: PromptDesk) -> None:
        self.library = library
        self.desk = desk

    def asked(self, asked: Asked) -> PromptAsked | None:
        """What the body says under `prompt`, where that may be one of ours. Raises BadRequest where it must be one, and
        is none."""
        start, end = asked.spans["prompt"]
        if asked.body[start : start + 1] != b"{":
            return None  # a text, or several: not ours
        said = _OBJECT.decode(asked.body[start:end])
        id = said.get("id")
        if not isinstance(id, str) or not NAME.fullmatch(id) or id.startswith(FOREIGN):
            if not asked.whole:
                raise BadRequest(
                    'prompt: must be a text, or name a prompt of the store: {"id": "support", "variables": {…}}',
                    param="prompt",
                )
            return None
        label, variables = said.get("label"), said.get("variables")
        return PromptAsked(
            id,
            label if isinstance(label, str) else None,
            _number(said.get("version")),
            variables if isinstance(variables, dict) else {},
        )

    async def render(self, call: Call) -> None:
        """Make what is asked of the prompt that the call names. One that is not ours is left as it is.

        Raises PromptNotFound (404), PromptInvalid (422), StoreDown where it cannot be known what it says.
        """
        wanted, asked = call.prompt_asked, call.asked
        assert wanted is not None and asked is not None
        prompt = await self.library.prompt(wanted.id)
        if prompt is None:
            if not asked.whole:
                raise self.library.no_prompt(wanted.id)
            call.prompt_asked = None
            return
        _check(asked)
        number = self._number(prompt, wanted, call)
        version = self.library.known(prompt, number) or await self.library.version(prompt, number)
        if call.operation == "raw" and not call.path.rstrip("/").endswith(RESPONSES):
            raise PromptInvalid(
                f"prompt {version.id!r} cannot be said at {call.path[:100]}; fetch it, and send what it says: "
                f"GET /v1/prompts/{prompt.id}"
            )
        self._take(call, asked, version, wanted)

    def _number(self, prompt: Prompt, wanted: PromptAsked, call: Call) -> int:
        if wanted.version is not None:
            return wanted.version
        pinned = call.pinned.get(prompt.id)
        return pinned if pinned is not None else self.library.at(prompt, wanted.label or LABEL)

    def _take(self, call: Call, asked: Asked, version: Ready, wanted: PromptAsked) -> None:
        try:
            said = rendered(version, wanted.variables)
        except Unfilled as wrong:
            raise PromptInvalid(f"prompt {version.id!r}: {wrong}", param="prompt.variables") from None
        preface = Preface(version.id, version.wording, version.asks, said.texts)
        body, left_out = asked.codec.prefaced(asked, preface)
        call.outgoing = body
        call.asked = asked.codec.parse_request(body)
        call.prompt = version.id
        call.rendered = f"{version.hash[:8]}/{said.variables}"
        if left_out:
            call.notes = (*call.notes, f"prompt {version.id}: left out here: {', '.join(left_out)}")


NOTHING = Conversation(items=())


def asks(chat: Codec, wording: Wording) -> Conversation:
    """Parameters, tools and schema in the neutral form; `chat` is OpenAI's codec, in whose words they are.

    Raises BadRequest for what makes no sense there.
    """
    if not wording.parameters and not wording.tools and wording.response_schema is None:
        return NOTHING
    body: dict[str, Any] = {"model": "-", "messages": [{"role": "user", "content": "-"}], **wording.parameters}
    if wording.tools:
        body["tools"] = wording.tools
    if wording.response_schema is not None:
        form = {"name": "answer", "schema": wording.response_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    found = chat.conversation(chat.parse_request(msgspec.json.encode(body)))
    return msgspec.structs.replace(found, items=())


def _number(said: Any) -> int | None:
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 10:
        return int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _check(asked: Asked) -> None:
    """Raises PromptInvalid for what the object says that cannot be."""
    said = _OBJECT.decode(asked.body[slice(*asked.spans["prompt"])])
    for field in said:
        if field not in FIELDS:
            raise PromptInvalid(f"prompt.{field[:60]}: no such field; {nearest(field, FIELDS)}", param="prompt")
    label, version, variables = said.get("label"), said.get("version"), said.get("variables")
    if label is not None and version is not None:
        raise PromptInvalid("prompt: say a label or a version, not both", param="prompt.label")
    if label is not None and not isinstance(label, str):
        raise PromptInvalid("prompt.label: must be a text, such as production", param="prompt.label")
    if version is not None and (_number(version) or 0) < 1:
        raise PromptInvalid("prompt.version: must be a number from 1", param="prompt.version")
    if variables is not None and not isinstance(variables, dict):
        raise PromptInvalid('prompt.variables: must be an object, such as {"name": "Ann"}', param="prompt.variables")

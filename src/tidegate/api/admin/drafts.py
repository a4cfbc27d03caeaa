"""What would a prompt say, before it is a version? For whoever writes one: nothing is kept, and no model is asked."""

# No postponed annotations here: FastAPI evaluates them.
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import House, Managing
from tidegate.api.admin.shapes import Body, paths
from tidegate.core.difference import difference
from tidegate.core.errors import BadRequest, PromptNotFound
from tidegate.core.prompts import MAX_MESSAGES, MAX_VARIABLES, Kind, Role, Wording, check_name, drafted
from tidegate.core.template import MAX_TEXT, Unfilled

router = paths("/v1/prompts", "prompts")

Id = Annotated[str, Field(min_length=1, max_length=100)]
Number = Annotated[int, Field(ge=1, le=10**9)]
_WORDING = msgspec.json.Decoder(Wording)


class Message(Body):
    role: Role
    content: Annotated[str, Field(max_length=MAX_TEXT, description="A template: {{name}}, {{#x}}…{{/x}}.")]


class Variable(Body):
    name: Annotated[str, Field(max_length=64)]
    type: Kind = "any"
    required: bool = True
    default: Annotated[Any, Field(description="With one, it is not required.")] = None
    description: Annotated[str, Field(max_length=1000)] = ""


class Said(Body):
    """All that a version says."""

    messages: Annotated[list[Message], Field(max_length=MAX_MESSAGES)] = []
    template: Annotated[str | None, Field(max_length=MAX_TEXT, description="One text, in place of messages.")] = None
    variables: Annotated[
        list[Variable], Field(max_length=MAX_VARIABLES, description="Left out, all that its gaps name.")
    ] = []
    parameters: Annotated[dict[str, Any], Field(description="Such as temperature; where a call says none.")] = {}
    tools: Annotated[list[dict[str, Any]], Field(max_length=128, description="As OpenAI has them.")] = []
    response_schema: dict[str, Any] | None = None

    def wording(self) -> Wording:
        return msgspec.convert(self.model_dump(exclude_unset=True, include=set(Said.model_fields)), Wording)


class Draft(Said):
    id: Annotated[Id, Field(description="Of the prompt; one that is not there yet, too.")]
    values: Annotated[dict[str, Any], Field(description="Of its variables. A gap without one stays to be seen.")] = {}
    base: Annotated[Number | None, Field(description="Compare with this version; left out, the newest.")] = None


class ShownDraft(BaseModel):
    wrong: Annotated[str, Field(description="Why it cannot be kept or filled; empty where it can.")]
    messages: Annotated[list[dict[str, str]], Field(description="A text is one without a role.")]
    variables: Annotated[list[dict[str, Any]], Field(description="Declared ones, and those that its gaps name.")]
    missing: Annotated[list[str], Field(description="Variables that still need a value.")]
    lines: Annotated[list[str], Field(description="A unified diff from `base`; none where they say the same.")]


@router.post("/draft")
async def render_draft(asked: Draft, principal: Managing, house: House) -> ShownDraft:
    """What a version would say, and what would be other than in the newest one."""
    base, latest, wrong = Wording(), 0, ""
    with suppress(PromptNotFound):  # it is to be the first version
        prompt = await house.prompts.desk.find(asked.id)
        latest = prompt.latest
        version = await house.prompts.desk.version(prompt, asked.base or latest)
        base = _WORDING.decode(version.wording)
    wording = asked.wording()
    messages: list[dict[str, str]] = []
    missing: list[str] = []
    try:
        check_name(asked.id)
        made = await house.prompts.library.made(asked.id, latest + 1, wording, draft=True)
        wording = made.wording
        said, missing = drafted(made, asked.values)
        roles = ("",) if wording.template is not None else (one.role for one in wording.messages)
        messages = [{"role": role, "content": text} for role, text in zip(roles, said.texts, strict=True)]
    except (BadRequest, PromptNotFound, Unfilled) as why:
        wrong = str(why)
    return ShownDraft(
        wrong=wrong,
        messages=messages,
        variables=msgspec.to_builtins(wording.variables),
        missing=missing,
        lines=difference(base, wording, f"{asked.id}@{asked.base or latest}", "draft"),
    )

"""Which prompts are there, what do they say, and where do their labels point? Whoever may ask models may read them."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tidegate.api.admin.drafts import Id, Number, Said
from tidegate.api.admin.policy import EVERY_KEY, Administering, House, Managing, tell
from tidegate.api.admin.shapes import Body, Problem, paths
from tidegate.core.call import Principal
from tidegate.core.difference import difference
from tidegate.core.errors import BadRequest, Forbidden, PromptInvalid, Superseded
from tidegate.core.prompts import (
    LABEL,
    Prompt,
    PromptMove,
    PromptVersion,
    Ready,
    Wording,
    rendered,
)
from tidegate.core.template import Unfilled
from tidegate.gateway import Gateway

router = paths("/v1/prompts", "prompts")

Reading = Annotated[Principal, Depends(EVERY_KEY)]
LabelAsked = Annotated[str | None, Query(max_length=60, description="Or `latest`; left out, production.")]
VersionAsked = Annotated[int | None, Query(ge=1, le=10**9)]
_WORDING = msgspec.json.Decoder(Wording)


class NewVersion(Said):
    id: Annotated[Id, Field(description="Its name; a new one, or one that is there.")]
    note: Annotated[str, Field(max_length=2000, description="Why it was changed.")] = ""
    author: Annotated[str, Field(max_length=200)] = ""
    labels: Annotated[list[str], Field(max_length=20, description="They point to it at once.")] = []
    expected_version: Annotated[
        int | None,
        Field(ge=0, le=10**9, description="The newest that you know, 0 for none. Is there a newer one: a 409 with it."),
    ] = None


class Move(Body):
    version: Number
    expected_version: Annotated[
        int | None,
        Field(ge=0, le=10**9, description="Where you know it to point, 0 for nowhere. Is it moved: a 409."),
    ] = None
    why: Annotated[str, Field(max_length=2000)] = ""
    protected: Annotated[bool, Field(description="Moves it though it is protected; for administrators.")] = False


class Values(Body):
    label: Annotated[str | None, Field(max_length=60)] = None
    version: Number | None = None
    variables: dict[str, Any] = {}


class ShownPrompt(BaseModel):
    id: str
    created_ms: int
    latest: Annotated[int, Field(description="The number of its newest version.")]
    labels: Annotated[dict[str, int], Field(description="The version that each points to.")]


class ShownVersion(BaseModel):
    id: str
    version: int
    hash: Annotated[str, Field(description="Of all that it says, and of what it includes.")]
    created_ms: int
    by: Annotated[str, Field(description="A key's id.")]
    author: str
    note: str
    labels: Annotated[list[str], Field(description="Those that point to it.")]
    latest: Annotated[int, Field(description="The number of the newest version.")]
    messages: list[dict[str, Any]]
    template: str | None
    variables: list[dict[str, Any]]
    parameters: dict[str, Any]
    tools: list[dict[str, Any]]
    response_schema: dict[str, Any] | None


class ListedVersion(BaseModel):
    version: int
    hash: str
    created_ms: int
    by: str
    author: str
    note: str
    labels: list[str]


class Newer(Problem):
    newer: Annotated[ShownVersion | None, Field(description="What is there now.")]


class ShownRendered(BaseModel):
    id: str
    version: int
    hash: str
    variables: Annotated[str, Field(description="A digest of the values, as rows have it.")]
    messages: list[dict[str, str]]
    text: Annotated[str | None, Field(description="Of one that is a text.")]
    parameters: dict[str, Any]


class ShownMove(BaseModel):
    label: str
    version: Annotated[int | None, Field(description="null: it was taken away.")]
    was: int | None
    at_ms: int
    by: str
    why: str


class ShownSummary(ShownPrompt):
    protected: Annotated[list[str], Field(description="Labels that only an administrator may move.")]
    versions: Annotated[list[ListedVersion], Field(description="The newest first, without what they say.")]
    next: Annotated[int | None, Field(description="`before` of the next page; null on the last.")]
    moves: Annotated[list[ShownMove], Field(description="Of its labels, the newest first.")]


class ShownDifference(BaseModel):
    id: str
    base: int
    head: int
    lines: Annotated[list[str], Field(description="A unified diff; none where they say the same.")]


# --- reading


@router.get("")
async def list_prompts(principal: Reading, house: House) -> list[ShownPrompt]:
    """All of them, by name."""
    return [_prompt(one) for one in await house.prompts.desk.every()]


@router.get("/{id}")
async def get_prompt(
    id: str,
    principal: Reading,
    house: House,
    label: LabelAsked = None,
    version: VersionAsked = None,
    user: Annotated[str | None, Query(max_length=256, description="What this user gets while it is tried.")] = None,
) -> ShownVersion:
    """One version: of a number, where a label points to, or what a user's calls get of an experiment."""
    prompt = await house.prompts.desk.find(id)
    if user is not None and version is None:
        version = house.experiments.version(id, label or LABEL, principal.organisation_id, user)
        label = None if version is not None else label
    return _version(prompt, await _one(house, prompt, label, version))


@router.get("/{id}/summary")
async def summarize_prompt(
    id: str,
    principal: Reading,
    house: House,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=10**9, description="`next` of the page before.")] = None,
) -> ShownSummary:
    """All that there is to know of it but what it says: labels, versions and moves, in one."""
    desk = house.prompts.desk
    prompt = await desk.find(id)
    versions = await desk.versions(prompt, limit, before)
    return ShownSummary(
        **_prompt(prompt).model_dump(),
        protected=sorted(desk.protected),
        versions=[_listed(prompt, one) for one in versions],
        next=versions[-1].number if len(versions) == limit and versions[-1].number > 1 else None,
        moves=[_move(one) for one in await desk.moves(prompt, limit)],
    )


@router.get("/{id}/versions")
async def list_versions(
    id: str, principal: Reading, house: House, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[ShownVersion]:
    """Its versions, the newest first."""
    prompt = await house.prompts.desk.find(id)
    return [_version(prompt, one) for one in await house.prompts.desk.versions(prompt, limit)]


@router.get("/{id}/history")
async def list_moves(
    id: str, principal: Reading, house: House, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[ShownMove]:
    """How its labels were moved, the newest first."""
    prompt = await house.prompts.desk.find(id)
    return [_move(one) for one in await house.prompts.desk.moves(prompt, limit)]


@router.get("/{id}/diff")
async def diff_versions(
    id: str,
    principal: Reading,
    house: House,
    base: Annotated[str | None, Query(max_length=60, description="A number or a label; left out, production.")] = None,
    head: Annotated[str | None, Query(max_length=60, description="The same; left out, the newest.")] = None,
) -> ShownDifference:
    """What has changed between two versions."""
    prompt = await house.prompts.desk.find(id)
    was, now = await _named(house, prompt, base or LABEL), await _named(house, prompt, head or "latest")
    found = difference(_WORDING.decode(was.wording), _WORDING.decode(now.wording), was.id, now.id)
    return ShownDifference(id=id, base=was.number, head=now.number, lines=found)


@router.post("/{id}/render")
async def render_prompt(id: str, asked: Values, principal: Reading, house: House) -> ShownRendered:
    """What it says with these variables."""
    prompt = await house.prompts.desk.find(id)
    version = await _one(house, prompt, asked.label, asked.version)
    found = await house.prompts.library.version(prompt, version.number)
    return _rendered(found, asked.variables)


# --- changing


@router.post("", status_code=201, response_model=ShownVersion, responses={409: {"model": Newer}})
async def add_version(
    asked: NewVersion,
    response: Response,
    principal: Managing,
    house: House,
    dry_run: Annotated[bool, Query(description="Say what would be made, and make nothing.")] = False,
) -> Any:
    """A new version. Where it says the same as the newest one, that is answered, with 200."""
    desk = house.prompts.desk
    if dry_run:
        response.status_code = 200
        return await _previewed(asked, principal, house)
    try:
        version, is_new = await desk.make(
            asked.id,
            asked.wording(),
            by=principal.key_id,
            author=asked.author or principal.name,
            note=asked.note,
            labels=asked.labels,
            expected=asked.expected_version,
        )
    except Superseded as wrong:
        return await _superseded(house, asked.id, wrong)
    if is_new:
        tell(house, principal, "prompt_version_created", version.id, after=_fields(version))
    else:
        response.status_code = 200
    for label in asked.labels:
        tell(house, principal, "prompt_label_moved", f"{asked.id}:{label}", after={"version": version.number})
    return _version(await desk.find(asked.id), version)


async def _previewed(asked: NewVersion, principal: Principal, house: Gateway) -> ShownVersion:
    made, is_new = await house.prompts.desk.preview(asked.id, asked.wording(), asked.labels)
    number = made.number if is_new else made.number - 1
    wording = msgspec.json.encode(made.wording).decode()
    author, at_ms = asked.author or principal.name, house.world.clock.wall_ns() // 1_000_000
    draft = PromptVersion(
        f"{asked.id}@{number}", asked.id, number, at_ms, principal.key_id, author, asked.note, made.hash, wording
    )
    return _version(Prompt(asked.id, at_ms, principal.key_id), draft)


@router.put("/{id}/labels/{label}", response_model=ShownMove, responses={409: {"model": Newer}})
async def move_label(id: str, label: str, asked: Move, principal: Managing, house: House) -> Any:
    """Point a label to a version: the same way forward and back."""
    insists, by = _insists(principal, asked.protected), principal.key_id
    try:
        move = await house.prompts.desk.move(
            id, label, asked.version, by=by, why=asked.why, insists=insists, expected=asked.expected_version
        )
    except Superseded as wrong:
        return await _superseded(house, id, wrong)
    return _moved(house, principal, move)


@router.delete("/{id}/labels/{label}")
async def remove_label(id: str, label: str, principal: Managing, house: House, protected: bool = False) -> ShownMove:
    """Take a label away."""
    insists = _insists(principal, protected)
    return _moved(
        house, principal, await house.prompts.desk.move(id, label, None, by=principal.key_id, insists=insists)
    )


@router.delete("/{id}/versions/{number}")
async def delete_version(id: str, number: int, principal: Administering, house: House) -> ShownVersion:
    """Delete what a version says. Its number is never given again; one that is used cannot be deleted."""
    version = await house.prompts.desk.delete(id, number)
    tell(house, principal, "prompt_version_deleted", version.id, before=_fields(version))
    return _version(await house.prompts.desk.find(id), version)


# --- as they are shown


async def _one(house: Gateway, prompt: Prompt, label: str | None, version: int | None) -> PromptVersion:
    if label is not None and version is not None:
        raise BadRequest("label, version: say one of the two", param="label")
    number = house.prompts.library.at(prompt, label or LABEL) if version is None else version
    return await house.prompts.desk.version(prompt, number)


async def _named(house: Gateway, prompt: Prompt, word: str) -> PromptVersion:
    is_number = word.isascii() and word.isdigit() and len(word) < 10
    return await _one(house, prompt, None if is_number else word, int(word) if is_number else None)


def _insists(principal: Principal, protected: bool) -> bool:
    if protected and not principal.admin:
        raise Forbidden("only an administrator may move a label that is protected")
    return protected


async def _superseded(house: Gateway, id: str, wrong: Superseded) -> JSONResponse:
    """The error, and what is there now: so that nobody has to ask again, and both can be shown."""
    newer = None
    if wrong.newer is not None:
        prompt = await house.prompts.desk.find(id)
        newer = _version(prompt, await house.prompts.desk.version(prompt, wrong.newer)).model_dump()
    error = {"message": wrong.message, "type": "invalid_request_error", "param": "expected_version", "code": wrong.code}
    return JSONResponse({"error": error, "newer": newer}, wrong.status)


def _fields(version: PromptVersion) -> dict[str, Any]:
    """For the audit log: which version, and the proof of what it says."""
    return {"version": version.number, "hash": version.hash, "author": version.author, "note": version.note}


def _prompt(one: Prompt) -> ShownPrompt:
    labels = {label.name: label.version for label in one.labels}
    return ShownPrompt(id=one.id, created_ms=one.created_ms, latest=one.latest, labels=labels)


def _listed(prompt: Prompt, one: PromptVersion) -> ListedVersion:
    fields = {name: getattr(one, name) for name in ("hash", "created_ms", "by", "author", "note")}
    labels = [label.name for label in prompt.labels if label.version == one.number]
    return ListedVersion(version=one.number, labels=labels, **fields)


def _version(prompt: Prompt, one: PromptVersion) -> ShownVersion:
    wording = _WORDING.decode(one.wording)
    return ShownVersion(
        id=one.prompt,
        version=one.number,
        hash=one.hash,
        created_ms=one.created_ms,
        by=one.by,
        author=one.author,
        note=one.note,
        labels=[label.name for label in prompt.labels if label.version == one.number],
        latest=max(prompt.latest, one.number),
        messages=msgspec.to_builtins(wording.messages),
        template=wording.template,
        variables=msgspec.to_builtins(wording.variables),
        parameters=wording.parameters,
        tools=list(wording.tools),
        response_schema=wording.response_schema,
    )


def _rendered(one: Ready, variables: dict[str, Any]) -> ShownRendered:
    try:
        said = rendered(one, variables)
    except Unfilled as wrong:
        raise PromptInvalid(f"prompt {one.id!r}: {wrong}", param="variables") from None
    roles = [message.role for message in one.wording.messages]
    return ShownRendered(
        id=one.prompt,
        version=one.number,
        hash=one.hash,
        variables=said.variables,
        messages=[{"role": role, "content": text} for role, text in zip(roles, said.texts, strict=False)],
        text=said.texts[0] if one.wording.template is not None else None,
        parameters=one.wording.parameters,
    )


def _move(one: PromptMove) -> ShownMove:
    return ShownMove(label=one.label, version=one.version, was=one.was, at_ms=one.created_ms, by=one.by, why=one.why)


def _moved(house: Gateway, principal: Principal, move: PromptMove) -> ShownMove:
    was, now = {"version": move.was}, {"version": move.version}
    tell(house, principal, "prompt_label_moved", f"{move.prompt}:{move.label}", before=was, after=now)
    return _move(move)

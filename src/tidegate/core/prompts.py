"""What does a prompt say? Its versions, which never change, the labels that point to them, and what each becomes.

A version is known by its name and number, `support@3`, and proven by the hash of all that it says, what it includes
among it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidegate.core import template
from tidegate.core.chat import Conversation
from tidegate.core.errors import BadRequest, PromptInvalid
from tidegate.core.template import Node, TemplateError, Unfilled

MAX_SIZE = 1024 * 1024  # bytes of one version, as JSON
MAX_MESSAGES = 100
MAX_VARIABLES = 200
MAX_INCLUDED = 10_000  # gaps, with those of all that is included
MAX_DEPTH = 8  # texts within texts
LABEL = "production"  # where a call says neither label nor version

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
FOREIGN = "pmpt_"  # OpenAI's own prompts are called so, and are theirs
_LABEL = re.compile(r"[a-z][a-z0-9_.-]{0,59}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)

Role = Literal["system", "developer", "user", "assistant"]
Kind = Literal["text", "number", "integer", "boolean", "list", "object", "any"]
Name = Annotated[str, Meta(max_length=100)]
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}
# What a call says itself, and what has a field of its own.
NO_PARAMETERS = {
    "model": "the call says which route answers",
    "messages": "they have a field of their own",
    "prompt": "a prompt does not ask for another; include it: {{> other@1}}",
    "system": "it is a message with the role system",
    "tools": "they have a field of their own",
    "response_format": "set response_schema",
    "stream": "the call says it",
    "stream_options": "the call says it",
    "user": "the call says who asks",
    "metadata": "the call says it",
    "input": "the call says it",
}


class Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message, as a template."""

    role: Role
    content: str


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A gap. With a default it is never required."""

    name: str
    type: Kind = "any"
    required: bool = True
    default: Any | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=1000)] = ""

    @property
    def is_needed(self) -> bool:
        return self.required and self.default is UNSET


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """All that a version says: messages, or one text.

    parameters: of the model, by OpenAI's names; they fill what a call does not say.
    tools: as OpenAI has them; response_schema: a JSON schema that the answer is to have.
    """

    messages: tuple[Spoken, ...] = ()
    template: str | None = None
    variables: tuple[Variable, ...] = ()
    parameters: dict[str, Any] = {}
    tools: tuple[dict[str, Any], ...] = ()
    response_schema: dict[str, Any] | None = None

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Where each stands, and what it says."""
        if self.template is not None:
            return [("template", self.template)]
        return [(f"messages[{at}].content", one.content) for at, one in enumerate(self.messages)]


# --- as the store keeps them -----------------------------------------------------------------------------------------


class Label(msgspec.Struct, frozen=True):
    name: str
    version: int


class Prompt(msgspec.Struct, frozen=True):
    """One name. Only `change` moves a label: of two that would, one does."""

    id: str  # its name
    created_ms: int
    by: str  # a key's id
    latest: int = 0  # the number of its newest version; none is given twice
    labels: tuple[Label, ...] = ()
    deleted: tuple[int, ...] = ()
    steps: int = 0  # moves of labels so far; the id of the next is ID#STEPS

    def at(self, label: str) -> int | None:
        return next((one.version for one in self.labels if one.name == label), None)


class PromptVersion(msgspec.Struct, frozen=True):
    """Never changed; of one that was deleted, all that it said is gone."""

    id: str  # NAME@NUMBER
    prompt: str
    number: int
    created_ms: int
    by: str  # a key's id
    author: str
    note: str
    hash: str  # of the wording and all that it includes
    wording: str  # JSON of a Wording
    deleted_ms: int | None = None


class PromptMove(msgspec.Struct, frozen=True):
    """That a label was moved: for its history."""

    id: str  # NAME#STEP
    prompt: str
    label: str
    created_ms: int
    by: str
    version: int | None  # None: it was taken away
    was: int | None
    why: str = ""


# --- checking it -----------------------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    """Raises BadRequest."""
    if not NAME.fullmatch(name) or name.startswith(FOREIGN):
        raise BadRequest(
            f"{name[:100]!r} cannot be a prompt's name: letters, digits, _ . and -, up to 100, such as support.hello; "
            f"names that begin with {FOREIGN} are OpenAI's",
            param="id",
        )


def check_label(label: str) -> None:
    """Raises BadRequest."""
    if not _LABEL.fullmatch(label) or label == "latest":
        raise BadRequest(
            f"{label[:60]!r} cannot be a label: small letters, digits, _ . and -, the first a letter, such as staging; "
            "`latest` is the newest version always",
            param="label",
        )


class Ready(NamedTuple):
    """A version, parsed, with all that it includes: rendered without asking anybody."""

    id: str
    prompt: str
    number: int
    hash: str
    wording: Wording
    asks: Conversation  # its parameters, tools and schema in the neutral form; it says nothing
    texts: tuple[tuple[Node, ...], ...]  # of the template, or of each message
    included: Mapping[str, tuple[Node, ...]]
    variables: Mapping[str, Variable]
    needed: frozenset[str]
    depth: int  # of texts within texts
    size: int  # bytes that it takes in memory, roughly


class Rendered(NamedTuple):
    texts: tuple[str, ...]
    variables: str  # a digest of their values, defaults among them


def complete(wording: Wording, included: Mapping[str, Ready], *, draft: bool = False) -> Wording:
    """As it is kept: with all its variables, those of what it includes among them. Raises BadRequest.

    Where none is declared, all that its gaps name are; of a draft, those too that are not declared yet.
    """
    _check_shape(wording)
    texts = [_parsed(where, text) for where, text in wording.texts]
    used: dict[str, bool] = {}  # by name, whether it may be missing
    for nodes in texts:
        for name, optional in template.names(nodes):
            used[name] = used.get(name, True) and optional
    declared = {one.name: one for one in wording.variables}
    inherited = {
        name: one
        for nodes in texts
        for include in template.includes(nodes)
        for name, one in included[include.id].variables.items()
        if name not in declared
    }
    missing = [name for name in used if name not in declared and name not in inherited]
    if missing and declared and not draft:
        raise BadRequest(
            f"variables: {', '.join(missing)}: used, and not declared; declare all of them, or none to have it done",
            param="variables",
        )
    found = [Variable(name, required=not used[name]) for name in missing]
    return msgspec.structs.replace(wording, variables=(*wording.variables, *found, *inherited.values()))


def ready(prompt: str, number: int, wording: Wording, included: Mapping[str, Ready], asks: Conversation) -> Ready:
    """`included`: all that it includes itself, by id. Raises BadRequest: too much of it, or what is no text."""
    texts = tuple(_parsed(where, text) for where, text in wording.texts)
    direct = {include.id for nodes in texts for include in template.includes(nodes)}
    inner: dict[str, tuple[Node, ...]] = {}
    sizes: dict[str, int] = {}
    for id in sorted(direct):
        one = included[id]
        if one.wording.template is None:
            raise BadRequest(f"{id} is a list of messages; only a text can be included in another", param="template")
        inner |= {**one.included, id: one.texts[0]}
        sizes[id] = _steps(one)
    depth = max((included[id].depth + 1 for id in direct), default=0)
    if depth > MAX_DEPTH:
        raise BadRequest(f"texts stand more than {MAX_DEPTH} deep in each other; include the inner ones directly")
    total = sum(template.steps(nodes, sizes) for nodes in texts)
    if total > MAX_INCLUDED:
        raise BadRequest(f"with all that it includes it has {total} gaps; {MAX_INCLUDED} are allowed", param="template")
    text = msgspec.json.encode(wording, order="sorted")
    proof = hashlib.sha256(text)
    for id in sorted(direct):
        proof.update(f"\n{id} {included[id].hash}".encode())
    variables = {one.name: one for one in wording.variables}
    return Ready(
        id=f"{prompt}@{number}",
        prompt=prompt,
        number=number,
        hash=proof.hexdigest(),
        wording=wording,
        asks=asks,
        texts=texts,
        included=inner,
        variables=variables,
        needed=frozenset(name for name, one in variables.items() if one.is_needed),
        depth=depth,
        size=1_000 + 4 * len(text),
    )


def _steps(one: Ready) -> int:
    sizes: dict[str, int] = {}
    todo = dict(one.included)
    while todo:  # what includes nothing unknown comes first; there is no circle, for a version cannot change
        for id, nodes in list(todo.items()):
            if all(include.id in sizes for include in template.includes(nodes)):
                sizes[id] = template.steps(nodes, sizes)
                del todo[id]
    return template.steps(one.texts[0], sizes)


def included_by(wording: Wording) -> list[str]:
    """The ids of what it includes itself, each once. Raises BadRequest for what is no template."""
    texts = [_parsed(where, text) for where, text in wording.texts]
    return list(dict.fromkeys(include.id for nodes in texts for include in template.includes(nodes)))


def _parsed(where: str, text: str) -> tuple[Node, ...]:
    try:
        return template.parse(text)
    except TemplateError as wrong:
        raise BadRequest(f"{where}: {wrong}", param=where) from None


def _check_shape(wording: Wording) -> None:
    if (wording.template is None) == (not wording.messages):
        raise BadRequest("say messages, or a template: one of the two", param="messages")
    if len(wording.messages) > MAX_MESSAGES or len(wording.variables) > MAX_VARIABLES:
        raise BadRequest(f"at most {MAX_MESSAGES} messages and {MAX_VARIABLES} variables are allowed", param="messages")
    if len(msgspec.json.encode(wording)) > MAX_SIZE:
        raise BadRequest(f"a version may have {MAX_SIZE} bytes; this one has more")
    seen: set[str] = set()
    for at, one in enumerate(wording.variables):
        where = f"variables[{at}]"
        if not _VARIABLE.fullmatch(one.name) or one.name in seen:
            wrong = "stands twice" if one.name in seen else "is no name: letters, digits, _ and -"
            raise BadRequest(f"{where}.name: {one.name[:60]!r} {wrong}", param=f"{where}.name")
        seen.add(one.name)
        if one.default is not UNSET and not _fits(one, one.default):
            raise BadRequest(f"{where}.default: is no {one.type}", param=f"{where}.default")
    for name in wording.parameters:
        if name in NO_PARAMETERS:
            raise BadRequest(f"parameters.{name}: {NO_PARAMETERS[name]}; leave it out", param=f"parameters.{name}")
    for at, tool in enumerate(wording.tools):
        if not isinstance(tool.get("function"), dict) or not isinstance(tool["function"].get("name"), str):
            raise BadRequest(
                f'tools[{at}]: must be as OpenAI has it: {{"type": "function", "function": {{"name": …}}}}',
                param=f"tools[{at}]",
            )


def _fits(variable: Variable, value: Any) -> bool:
    kinds = _KINDS.get(variable.type)
    if value is None:
        return not variable.is_needed
    return kinds is None or (isinstance(value, kinds) and (variable.type == "boolean" or not isinstance(value, bool)))


# --- rendering it ----------------------------------------------------------------------------------------------------


def rendered(one: Ready, given: Mapping[str, Any]) -> Rendered:
    """Raises Unfilled, which names what is missing, what is too much, and what is of another type."""
    values = dict(given)
    if not one.needed <= values.keys() or not values.keys() <= one.variables.keys():
        raise Unfilled(_trouble(one, values))
    for name, variable in one.variables.items():
        if name not in values:
            values[name] = None if variable.default is UNSET else variable.default
        elif not _fits(variable, values[name]):
            raise Unfilled(f"variables.{name}: must be of the type {variable.type}")
    texts = tuple([template.render(nodes, values, one.included) for nodes in one.texts])
    return Rendered(texts, digest(values))


def drafted(one: Ready, given: Mapping[str, Any]) -> tuple[Rendered, list[str]]:
    """As `rendered`, but where a value is missing its gap is still seen; and the names of those. Raises Unfilled."""
    missing = sorted(one.needed - given.keys())
    anything = {name: msgspec.structs.replace(one.variables[name], type="any") for name in missing}
    values = {name: value for name, value in given.items() if name in one.variables}
    gaps = {name: f"{{{{{name}}}}}" for name in missing}
    return rendered(one._replace(variables={**one.variables, **anything}), {**values, **gaps}), missing


def digest(values: Mapping[str, Any]) -> str:
    try:
        text = msgspec.json.encode(values, order="sorted")
    except RecursionError:
        raise Unfilled("a value is nested too deeply") from None
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _trouble(one: Ready, values: Mapping[str, Any]) -> str:
    said: list[str] = []
    missing = sorted(one.needed - values.keys())
    extra = sorted(values.keys() - one.variables.keys())
    if missing:
        said.append(f"missing: {', '.join(missing)}")
    if extra:
        said.append(f"not among its variables: {', '.join(name[:60] for name in extra[:20])}")
        said.append(f"there are: {', '.join(one.variables) or 'none'}")
    return "; ".join(said)


class Preface(NamedTuple):
    """What a prompt has become, to be said before what a call says itself.

    A text, as against messages, is what the user says where a call says nothing else, else the system's word.
    """

    id: str  # support@3
    wording: Wording
    asks: Conversation  # its parameters, tools and schema in the neutral form; it says nothing
    texts: tuple[str, ...]

    def said(self, *, alone: bool) -> list[tuple[str, str]]:
        """Roles and texts; empty ones are none. `alone`: the call says nothing itself."""
        if self.wording.template is not None:
            return [("user" if alone else "system", self.texts[0])] if self.texts[0] else []
        return [(one.role, text) for one, text in zip(self.wording.messages, self.texts, strict=True) if text]

    def text(self, where: str) -> str:
        """Where only a text can stand. Raises PromptInvalid."""
        if self.wording.tools or self.wording.response_schema:
            raise PromptInvalid(f"prompt {self.id!r} has tools or a schema, which {where} have not; ask a chat")
        if len(self.texts) != 1:
            raise PromptInvalid(
                f"prompt {self.id!r} has {len(self.texts)} messages; {where} take one text: ask a chat, or a prompt "
                "that is one text"
            )
        return self.texts[0]


def is_object(body: bytes, where: Mapping[str, tuple[int, int]], key: str) -> bool:
    """Whether an object stands at this top-level key."""
    return key in where and body[where[key][0] : where[key][0] + 1] == b"{"


def own_words(body: bytes, where: Mapping[str, tuple[int, int]]) -> str:
    """What a call says that only names a prompt: its name and its variables, as they stand."""
    return body[slice(*where["prompt"])].decode()

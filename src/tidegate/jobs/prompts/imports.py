"""What do prompts of other tools say? Langfuse's exports, promptfoo's configurations, and the guide's prompts.json.

What has no counterpart is left out, and told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.document import read
from tidegate.jobs.prompts.files import Found

ROLES = ("system", "developer", "user", "assistant")
PARAMETERS = (
    *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "seed", "n", "reasoning_effort"),
    *("frequency_penalty", "presence_penalty", "logit_bias", "tool_choice", "parallel_tool_calls", "verbosity"),
)
_BLOCK = re.compile(r"\{%|\{\{[^}]*\|")  # Nunjucks beyond the name of a variable
_INCLUDED = re.compile(r"@@@langfusePrompt:name=([^|@]+)\|version=(\d+)@@@")
_COMPOSED = re.compile(r"@@@langfusePrompt:[^@]*@@@")
_NUMBER = re.compile(r"(\d+)")


class Imported(NamedTuple):
    found: Sequence[Found]
    left_out: Sequence[str]  # what it was, and why it is not there


def name_of(said: str) -> str:
    """A name that a prompt may have here, like this one."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", said).strip("-._")[:100] or "prompt"


# --- Langfuse --------------------------------------------------------------------------------------------------------


def langfuse(text: str, file: str) -> Imported:
    """One prompt as the API answers it, a list, a page, or lines. Versions come in their order."""
    left_out: list[str] = []
    some = [one for one in _items(text, file) if isinstance(one, dict)]
    for one in some:
        if "prompt" not in one or "name" not in one:
            raise ConfigError(
                f"{file}: needs prompts with `name` and `prompt`, as Langfuse's API answers them one by one"
            )
    some.sort(key=lambda one: (str(one["name"]), int(one.get("version") or 0)))
    return Imported([_of_langfuse(one, file, left_out) for one in some], left_out)


def _of_langfuse(one: Mapping[str, Any], file: str, left_out: list[str]) -> Found:
    version = int(one.get("version") or 1)
    where = f"{one['name']} v{version}"
    fields: dict[str, Any] = {}
    if isinstance(one["prompt"], str):
        fields["template"] = _composed(one["prompt"], where, left_out)
    else:
        fields["messages"] = [
            {"role": said["role"], "content": _composed(str(said.get("content") or ""), where, left_out)}
            for said in _spoken(one["prompt"], where, left_out)
        ]
    config = one.get("config")
    fields |= _parameters(config if isinstance(config, dict) else {}, where, left_out)
    labels = [str(label) for label in one.get("labels") or () if label != "latest"]
    note = str(one.get("commitMessage") or "")
    return Found(name_of(str(one["name"])), fields, note, labels=tuple(labels), where=f"{file}: {where}")


def _spoken(messages: Any, where: str, left_out: list[str]) -> Iterator[dict[str, Any]]:
    for said in messages if isinstance(messages, list) else ():
        if isinstance(said, dict) and said.get("type") == "placeholder":
            left_out.append(f"{where}: placeholder {said.get('name')}: a call's own messages follow the prompt's")
        elif isinstance(said, dict) and said.get("role") in ROLES and isinstance(said.get("content"), str):
            yield said
        else:
            left_out.append(f"{where}: a message that is no text of a system, user or assistant")


def _composed(text: str, where: str, left_out: list[str]) -> str:
    text = _INCLUDED.sub(lambda one: f"{{{{> {name_of(one[1])}@{one[2]}}}}}", text)
    if _COMPOSED.search(text):
        left_out.append(f"{where}: includes another by label; say which version: {{{{> name@1}}}}")
    return text


def _parameters(config: Mapping[str, Any], where: str, left_out: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    known = {name: value for name, value in config.items() if name in PARAMETERS and value is not None}
    if known:
        fields["parameters"] = known
    if isinstance(config.get("tools"), list):
        fields["tools"] = config["tools"]
    form = config.get("response_format")
    schema = form.get("json_schema", {}).get("schema") if isinstance(form, dict) else None
    if isinstance(schema, dict):
        fields["response_schema"] = schema
    taken = {*PARAMETERS, *(name for name in ("tools",) if name in fields)}
    taken |= {"response_format"} if schema is not None else set()
    for name in config:
        if name not in taken:
            why = "a call says which route answers" if name == "model" else "nothing here is like it"
            left_out.append(f"{where}: config.{name}: {why}")
    return fields


# --- promptfoo -------------------------------------------------------------------------------------------------------


def promptfoo(text: str, file: str) -> Imported:
    """A configuration's `prompts`, or a file of one prompt (a text, or a chat as JSON or YAML)."""
    left_out: list[str] = []
    if Path(file).suffix in (".yaml", ".yml", ".json") and re.search(r'^\s*"?prompts"?\s*:', text, re.MULTILINE):
        tree = read(text, file).tree
        some = tree.get("prompts") or []
        some = some if isinstance(some, list) else [some]
        found = [
            Found(name, _of_promptfoo(raw, name, left_out), where=f"{file}: prompts[{at}]")
            for at, one in enumerate(some)
            for name, raw in _named(one, at, Path(file), left_out)
        ]
        return Imported(found, left_out)
    name = name_of(Path(file).stem)
    return Imported([Found(name, _of_promptfoo(text, name, left_out), where=file)], left_out)


def _named(one: Any, at: int, file: Path, left_out: list[str]) -> Iterator[tuple[str, str]]:
    """Names and texts."""
    label = one.get("label") or one.get("id") if isinstance(one, dict) else None
    raw = one.get("raw") or one.get("id") if isinstance(one, dict) else one
    if not isinstance(raw, str):
        left_out.append(f"prompts[{at}]: is no text")
        return
    name = name_of(str(label)) if label and label != raw else f"{name_of(file.stem)}-{at + 1}"
    if not raw.startswith("file://"):
        yield name, raw
        return
    path = file.parent / raw.removeprefix("file://")
    if path.suffix not in (".txt", ".md", ".json", ".yaml", ".yml"):
        left_out.append(f"prompts[{at}]: {path.name}: only texts and chats in files are read")
        return
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{file}: prompts[{at}]: {path} cannot be read: {wrong}") from None
    stem = name if label and label != raw else name_of(path.stem)
    texts = re.split(r"^---[ \t]*$", text, flags=re.MULTILINE) if path.suffix in (".txt", ".md") else [text]
    for number, one_text in enumerate(texts, 1):
        yield (stem if len(texts) == 1 else f"{stem}-{number}"), one_text.strip("\n")


def _of_promptfoo(raw: str, where: str, left_out: list[str]) -> dict[str, Any]:
    if _BLOCK.search(raw):
        left_out.append(f"{where}: filters and blocks {{% … %}} are text here; write sections: {{{{#x}}}}…{{{{/x}}}}")
    chat = raw.lstrip()
    if chat.startswith(("[", "- role:")):
        try:
            messages = read(raw, where).tree
        except ConfigError:
            messages = None
        if isinstance(messages, list):
            return {
                "messages": [
                    {"role": said["role"], "content": said["content"]} for said in _spoken(messages, where, left_out)
                ]
            }
    return {"template": raw}


# --- the guide's -----------------------------------------------------------------------------------------------------


def guide(text: str, file: str) -> Imported:
    """prompts.json of the guide's PromptManager: of each prompt its versions in their order, then the current one."""
    left_out: list[str] = []
    tree = _json(text, file)
    tree = tree.get("prompts", tree) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict):
        raise ConfigError(f'{file}: must be as the guide has it: {{"NAME": {{"current": "…", "versions": {{…}}}}}}')
    found: list[Found] = []
    for said, one in tree.items():
        name = name_of(said)
        if isinstance(one, str):
            one = {"current": one}
        if not isinstance(one, dict) or not isinstance(one.get("current"), str):
            raise ConfigError(f"{file}: {said}: needs `current`, the text that is used")
        versions = one.get("versions") or {}
        if isinstance(versions, list):
            versions = {f"v{number}": text for number, text in enumerate(versions, 1)}
        for number in sorted(versions, key=_natural):
            if isinstance(versions[number], str) and versions[number] != one["current"]:
                note = f"{number} of {Path(file).name}"
                found.append(Found(name, {"template": _literal(versions[number])}, note, where=f"{file}: {said}"))
        fields = {"template": _literal(one["current"])}
        found.append(Found(name, fields, labels=("production",), where=f"{file}: {said}"))
        variants = one.get("variants")
        if isinstance(variants, dict) and isinstance(variants.get("variant"), str):
            fields = {"template": _literal(variants["variant"])}
            found.append(Found(name, fields, "the variant", labels=("variant",), where=f"{file}: {said}"))
            left_out.append(f"{said}: its test: start one with the version that the label `variant` points to")
    return Imported(found, left_out)


def _literal(text: str) -> str:
    """The guide's prompts have no gaps of ours: two braces in them are two braces."""
    return text.replace("{{", "\\{{")


def _natural(said: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in _NUMBER.split(said)]


FORMS: dict[str, Callable[[str, str], Imported]] = {"langfuse": langfuse, "promptfoo": promptfoo, "guide": guide}


def _items(text: str, file: str) -> list[Any]:
    try:
        page = msgspec.json.decode(text)
    except msgspec.DecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        return [_json(line, file) for line in lines]
    if isinstance(page, dict):
        data = page.get("data", page.get("prompts"))
        return list(data) if isinstance(data, list) else [page]
    return list(page) if isinstance(page, list) else [page]


def _json(text: str, file: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as wrong:
        raise ConfigError(f"{file}: is no JSON: {wrong}") from None

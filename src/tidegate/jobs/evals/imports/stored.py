"""How does a request that was stored become a case? And where in the file of a suite does it go?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case
from tidegate.jobs.evals.imports.suites import JUDGE, Dumper, as_text, literal, said_in, text_of

BAD = 0.5  # a score below is a thumb down
SAYS = {"type": "regex", "pattern": r"\S", "name": "says something"}


def case_of(
    body: Mapping[str, Any], feedback: Sequence[Mapping[str, Any]], *, name: str | None = None, good: bool = False
) -> Case:
    """`body`: what was said, as the gateway shows it; `feedback`: what was said of it. Raises ConfigError."""
    id = as_text(body.get("id"))
    try:
        asked = msgspec.json.decode(body.get("request") or "")
        messages = list(asked["messages"])
    except (msgspec.DecodeError, KeyError, TypeError):
        raise ConfigError(f"{id}: what was asked is no conversation that is kept") from None
    if asked.get("system"):
        messages = [{"role": "system", "content": asked["system"]}, *messages]
    conversation = said_in(messages)
    if conversation is None:
        raise ConfigError(f"{id}: only conversations of texts whose last word is the user's become a case")
    turns, said = conversation
    corrections = [as_text(one.get("correction")) for one in feedback if one.get("correction")]
    answer = reply_of(as_text(body.get("reply"))) if good else ""
    if good and not answer:
        raise ConfigError(f"{id}: no answer of it is kept, so that none can be the reference")
    bad = any(one.get("score") is not None and one["score"] < BAD for one in feedback)
    labels = {as_text(one.get("label")) for one in feedback if one.get("label")}
    tags = (*(("thumbs-down",) if bad else ()), *sorted(labels), "stored")
    reference = corrections[-1] if corrections else answer
    return Case(id=name or id, input=said, reference=reference, tags=tags, **literal(turns))


def reply_of(reply: str) -> str:
    """The text of an answer, whole or as it was streamed, in either dialect."""
    if not reply.lstrip().startswith("{"):
        return "".join(_streamed(reply))
    try:
        return _text(msgspec.json.decode(reply))
    except msgspec.DecodeError:
        return ""


def _text(answer: Any) -> str:
    try:
        if "choices" in answer:
            return as_text(answer["choices"][0]["message"]["content"])
        return text_of(answer["content"]) or ""
    except (KeyError, IndexError, TypeError):
        return ""


def _streamed(reply: str) -> Iterator[str]:
    for line in reply.splitlines():
        if not line.startswith("data: {"):
            continue
        try:
            event = msgspec.json.decode(line.removeprefix("data: "))
            delta = event["choices"][0]["delta"].get("content") if "choices" in event else event["delta"]["text"]
        except (msgspec.DecodeError, KeyError, IndexError, TypeError, AttributeError):
            continue
        yield as_text(delta)


def added(text: str, case: Case, file: str) -> str:
    """The suite in `text` with one more case; everything else stays as it stands there, comments too.

    Raises ConfigError.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as wrong:
        raise ConfigError(f"{file}: is not YAML: {str(wrong).splitlines()[0]}") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}: is no suite: it must be keys and values")
    found = {str(key.value): value for key, value in root.value} if root is not None else {}
    if "scorers" not in found and not case.scorers:
        looks = {"type": "reference", "model": [JUDGE]} if case.reference else SAYS
        case = msgspec.structs.replace(case, scorers=(looks,))
    item = yaml.dump(
        [msgspec.to_builtins(case, str_keys=True)], Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120
    )
    cases = found.get("cases")
    if cases is None:
        return f"{text.rstrip()}\ncases:\n{item}".lstrip()
    if not isinstance(cases, yaml.SequenceNode) or cases.flow_style or not cases.value:
        raise ConfigError(f"{file}: its cases must be a list with a line for each, such as '- id: …', to take one more")
    end = _end(cases)
    if text[end - 1 : end] != "\n":  # what else stands on that line is a comment
        end = text.find("\n", end) + 1 or len(text)
    before = text[:end] if text[end - 1 : end] == "\n" else f"{text[:end]}\n"
    return f"{before}{textwrap.indent(item, ' ' * cases.start_mark.column)}{text[end:]}"


def _end(node: yaml.Node) -> int:
    """Where its last word ends. A block's own end lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)

"""What does a configuration of promptfoo ask and assert?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from tidegate.core.scores import Case
from tidegate.document import Document, read
from tidegate.jobs.evals.imports.suites import GENERAL, JUDGE, Imported, as_text, said_in, with_ids
from tidegate.jobs.evals.suite import Suite

MOST = 10_000  # cases that lists of variables may become
_BLOCK = re.compile(r"\{%|\{\{(?!\s*[\w.-]+\s*\}\})")  # Nunjucks beyond the name of a variable
_PROVIDER = re.compile(r"(openai|anthropic|mistral|google|vertex|azure|groq|deepseek):(?:chat:|messages:)?([\w./:-]+)")


class NoCounterpart(Exception):
    """There is nothing here that does the same."""


def imported(text: str, file: str, judge: str = JUDGE) -> Imported:
    """Raises ConfigError for what is no such configuration, naming the line."""
    document = read(text, file)
    if not isinstance(document.tree, dict) or not isinstance(document.tree.get("tests"), list):
        raise document.wrong("", "is no configuration of promptfoo with a list of `tests`")
    left_out: list[str] = []
    fields = _asked(document.tree, left_out)
    default = document.tree.get("defaultTest")
    default = default if isinstance(default, dict) else {}
    shared = _scorers(default.get("assert"), "defaultTest", judge, left_out)
    cases = [
        case
        for number, test in enumerate(document.tree["tests"])
        for case in _cases(test, f"tests[{number}]", default.get("vars") or {}, judge, left_out, document)
    ]
    for name in sorted(set(document.tree) - {"prompts", "providers", "tests", "defaultTest", "description", "$schema"}):
        left_out.append(f"{name}: nothing here is like it")
    name = as_text(document.tree.get("description")) or "promptfoo"
    scorers = tuple(one for one, _ in shared)
    return Imported(Suite(name=name, scorers=scorers, cases=with_ids(cases), **fields), left_out)


def _asked(tree: Mapping[str, Any], left_out: list[str]) -> dict[str, Any]:
    """Prompt, system and subject."""
    prompts = tree.get("prompts") or []
    prompts = prompts if isinstance(prompts, list) else [prompts]
    raws = [one.get("raw") or one.get("id") if isinstance(one, dict) else one for one in prompts]
    left_out += [f"prompts[{at}]: a suite has one prompt; import again without the first" for at in range(1, len(raws))]
    fields: dict[str, Any] = {}
    raw = as_text(raws[0]) if raws else ""
    if raw.startswith("file://"):
        left_out.append(f"prompts[0]: put what stands in {raw.removeprefix('file://')} into `prompt`")
    elif raw:
        if _BLOCK.search(raw):
            left_out.append("prompts[0]: holes are {{name}} here, without filters and blocks")
        fields = _prompt(raw)
    providers = tree.get("providers") or []
    first = providers[0] if isinstance(providers, list) and providers else providers
    id = as_text(first.get("id") if isinstance(first, dict) else first) if first else ""
    if found := _PROVIDER.fullmatch(id):
        fields["subject"] = f"model:{found[1]}/{found[2]}"
    elif id:
        left_out.append(f"providers[0]: {id}: say who answers with --subject")
    if isinstance(first, dict) and isinstance(first.get("config"), dict):
        known = {"temperature", "max_tokens", "top_p", "seed", "stop"}
        fields["parameters"] = {name: value for name, value in first["config"].items() if name in known}
    left_out += [
        f"providers[{at}]: run the suite again with --subject"
        for at in range(1, len(providers) if isinstance(providers, list) else 0)
    ]
    return fields


def _prompt(raw: str) -> dict[str, Any]:
    """A conversation as JSON, or a text."""
    try:
        conversation = said_in(msgspec.json.decode(raw)) if raw.lstrip().startswith("[") else None
    except msgspec.DecodeError:
        conversation = None
    if conversation is None:
        return {"prompt": raw}
    turns, prompt = conversation
    system = "\n".join(turn.content for turn in turns if turn.role == "system")
    return {"prompt": prompt, **({"system": system} if system else {})}


def _cases(
    test: Any, path: str, default: Mapping[str, Any], judge: str, left_out: list[str], document: Document
) -> Iterator[Case]:
    if not isinstance(test, dict):
        left_out.append(f"{path}: {as_text(test)[:80]}: only tests that stand here are read")
        return
    scorers = _scorers(test.get("assert"), path, judge, left_out)
    for name in sorted(set(test) - {"vars", "assert", "description", "metadata"}):
        left_out.append(f"{path}.{name}: nothing here is like it")
    variables = {**default, **(test.get("vars") or {})}
    lists = {name: value for name, value in variables.items() if isinstance(value, list)}
    if len(list(itertools.islice(itertools.product(*lists.values()), MOST + 1))) > MOST:
        raise document.wrong(f"{path}.vars", f"makes more than {MOST} cases")
    metadata = test.get("metadata") if isinstance(test.get("metadata"), dict) else {}
    tags = tuple(f"{name}:{as_text(value)}" for name, value in (metadata or {}).items())
    fields: dict[str, Any] = {}
    for _, more in scorers:
        for name, value in more.items():
            if fields.setdefault(name, value) != value:
                left_out.append(f"{path}.assert: two different values of {name}; a case has one")
    for values in itertools.product(*lists.values()):
        filled = {**variables, **dict(zip(lists, values, strict=True))}
        id = as_text(test.get("description")) or path.replace("tests[", "test-").rstrip("]")
        context = as_text(filled.get("context"))
        yield Case(
            id=id,
            variables=filled,
            tags=tags,
            scorers=tuple(one for one, _ in scorers),
            context=context,
            reference=fields.get("reference", ""),
        )


# --- assertions ------------------------------------------------------------------------------------------------------

Scorer = tuple[dict[str, Any], dict[str, Any]]  # ours, and what it needs of the case


def _scorers(asserts: Any, path: str, judge: str, left_out: list[str]) -> list[Scorer]:
    found: list[Scorer] = []
    names: dict[str, int] = {}
    for number, one in enumerate(asserts if isinstance(asserts, list) else []):
        try:
            scorer, needs = scorer_of(one, judge)
        except NoCounterpart as none:
            left_out.append(f"{path}.assert[{number}]: {none}")
            continue
        name = re.sub(r"[^\w .:/@+-]", "-", as_text(one.get("metric")) or scorer["type"]).strip() or scorer["type"]
        names[name] = names.get(name, 0) + 1
        found.append(({**scorer, "name": name if names[name] == 1 else f"{name}_{names[name]}"}, needs))
    return found


def scorer_of(one: Any, judge: str = JUDGE) -> Scorer:
    """Raises NoCounterpart."""
    if not isinstance(one, dict) or not isinstance(one.get("type"), str):
        raise NoCounterpart("is no assertion with a type")
    kind = one["type"]
    make = KINDS.get(kind)
    if make is None:
        raise NoCounterpart(f"{kind}: nothing here is like it")
    value = one.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        raise NoCounterpart(f"{kind}: {value}: only values that stand here are read")
    return make(value, one.get("threshold"), judge)


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [as_text(word) for word in value]
    return [word.strip() for word in as_text(value).split(",") if word.strip()]


def _contains(which: str, *, exact: bool, one: bool = False) -> Callable[[Any, Any, str], Scorer]:
    def make(value: Any, threshold: Any, judge: str) -> Scorer:
        words = [as_text(value)] if one else _words(value)
        return {"type": "contains", which: words, **({"case_sensitive": True} if exact else {})}, {}

    return make


def _regex(pattern: Callable[[str], str], **fields: Any) -> Callable[[Any, Any, str], Scorer]:
    return lambda value, threshold, judge: ({"type": "regex", "pattern": pattern(as_text(value)), **fields}, {})


def _equals(value: Any, threshold: Any, judge: str) -> Scorer:
    kind = "exact" if isinstance(value, str) else "json"
    return {"type": "equality", "to": as_text(value), "read": kind}, {}


def _schema(value: Any, threshold: Any, judge: str) -> Scorer:
    return {"type": "schema", **({"schema": value} if isinstance(value, dict) else {})}, {}


def _similar(value: Any, threshold: Any, judge: str) -> Scorer:
    at_least = {"at_least": threshold} if isinstance(threshold, int | float) else {"at_least": 0.75}
    return {"type": "similarity", **at_least}, {"reference": as_text(value)}


def _rubric(value: Any, threshold: Any, judge: str) -> Scorer:
    criterion = {"name": "rubric", "what": as_text(value), "anchors": {str(at): text for at, text in GENERAL.items()}}
    pass_at = {"pass_at": 1 + 9 * threshold} if isinstance(threshold, int | float) else {}
    return {"type": "rubric", "model": [judge], "criteria": [criterion], **pass_at}, {}


def _factual(value: Any, threshold: Any, judge: str) -> Scorer:
    return {"type": "reference", "model": [judge]}, {"reference": as_text(value)}


def _faithful(value: Any, threshold: Any, judge: str) -> Scorer:
    pass_at = {"pass_at": threshold} if isinstance(threshold, int | float) else {}
    return {"type": "faithful", "model": [judge], **pass_at}, {}


def _latency(value: Any, threshold: Any, judge: str) -> Scorer:
    return {"type": "latency", "at_most": f"{threshold}ms"}, {}


def _cost(value: Any, threshold: Any, judge: str) -> Scorer:
    return {"type": "cost", "at_most_usd": threshold}, {}


KINDS: dict[str, Callable[[Any, Any, str], Scorer]] = {
    "contains": _contains("all", exact=True, one=True),
    "icontains": _contains("all", exact=False, one=True),
    "not-contains": _contains("none", exact=True, one=True),
    "not-icontains": _contains("none", exact=False, one=True),
    "contains-all": _contains("all", exact=True),
    "icontains-all": _contains("all", exact=False),
    "contains-any": _contains("any", exact=True),
    "icontains-any": _contains("any", exact=False),
    "not-contains-any": _contains("none", exact=True),
    "not-icontains-any": _contains("none", exact=False),
    "starts-with": _regex(lambda text: "^" + re.escape(text)),
    "regex": _regex(lambda text: text),
    "not-regex": _regex(lambda text: text, absent=True),
    "equals": _equals,
    "is-json": _schema,
    "similar": _similar,
    "llm-rubric": _rubric,
    "g-eval": _rubric,
    "factuality": _factual,
    "context-faithfulness": _faithful,
    "latency": _latency,
    "cost": _cost,
    "is-refusal": lambda value, threshold, judge: ({"type": "refusal", "wanted": True}, {}),
    "not-is-refusal": lambda value, threshold, judge: ({"type": "refusal"}, {}),
}


def short(text: str, judge: str = JUDGE) -> Scorer:
    """An assertion in one cell: `icontains: word`, or a text that is to be the answer. Raises NoCounterpart."""
    kind, colon, value = text.partition(":")
    found = re.fullmatch(r"([\w-]+)(?:\(([\d.]+)\))?", kind.strip())
    if colon and found and found[1] in KINDS:
        threshold = float(found[2]) if found[2] else None
        return scorer_of({"type": found[1], "value": value.strip(), "threshold": threshold}, judge)
    if colon and found and found[1] in ("javascript", "python", "fn", "eval", "grade"):
        if found[1] == "grade":
            return _rubric(value.strip(), None, judge)
        raise NoCounterpart(f"{found[1]}: nothing here is like it")
    return _equals(text, None, judge)

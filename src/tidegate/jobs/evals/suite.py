"""What is asked, of whom, and who looks at the answers? A suite, from YAML or from Python."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest
from tidegate.core.ports import Loading, Scorer
from tidegate.core.prompts import LABEL
from tidegate.core.scores import Case, Turn
from tidegate.document import Document, read
from tidegate.jobs.evals.card import Policy

HOLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
SUBJECTS = ("route", "model", "prompt", "function", "stored")
NAMED = re.compile(r"[\w][\w .:/@+-]{0,199}")


class Plugins(NamedTuple):
    """The door that is open to everybody's scorers, and whatever else is loaded by a name. They raise ConfigError."""

    find: Callable[[str, str], Any]
    config_of: Callable[[type], type[msgspec.Struct]]


class Suite(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Cases, and what is done with each.

    name: what reports call it; the name of its file.
    subject: who answers: route:NAME, model:PROVIDER/MODEL, prompt:NAME@LABEL:ROUTE, function:MODULE:NAME, stored:FILE.
    system: what the application says first; {{name}} is a variable of the case.
    prompt: what the user says, with {{input}} and other variables in it; the input alone.
    parameters: of every question to a model, such as {temperature: 0}.
    repeats: how often each case is asked.
    max_cost_usd: nothing more is asked when so much may be spent.
    concurrency: how many cases are asked at the same time.
    gate: what a judge's card must show before its verdict counts; without it, it advises.
    scorers: who looks at every answer, each with its `type`.
    cases: what is asked.
    """

    name: str = ""
    subject: str = ""
    system: str = ""
    prompt: str = ""
    parameters: dict[str, Any] = {}
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 1
    max_cost_usd: Annotated[float, Meta(gt=0)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    gate: Policy = Policy()
    scorers: tuple[dict[str, Any], ...] = ()
    cases: tuple[Case, ...] = ()

    @property
    def answers(self) -> tuple[str, str]:
        """Who: route, model, prompt, function or stored, and its name."""
        kind, colon, name = self.subject.partition(":")
        return (kind, name) if colon and kind in SUBJECTS else ("route", self.subject)


class Looker(NamedTuple):
    """A scorer, by the name that the suite has for it."""

    name: str
    scorer: Scorer


class Ready(NamedTuple):
    """A suite that was found good: who looks at which case, and what is asked in each."""

    suite: Suite
    lookers: Mapping[str, Sequence[Looker]]  # by case
    asked: Mapping[str, Sequence[Mapping[str, str]]]  # by case: messages

    @property
    def hash(self) -> str:
        """Of all that makes an answer or a score. Who answers, how often, for how much and who may
        judge are not among it."""
        besides = msgspec.structs.replace(
            self.suite, name="", subject="", repeats=1, max_cost_usd=None, concurrency=16, gate=Policy()
        )
        return hashlib.sha256(msgspec.json.encode(besides, order="deterministic")).hexdigest()[:16]

    @property
    def asks(self) -> bool:
        """Whether anybody behind the gateway is asked."""
        scorers = (one.scorer for lookers in self.lookers.values() for one in lookers)
        return self.suite.answers[0] in ("route", "model", "prompt") or any(
            getattr(one, "asks", False) for one in scorers
        )


def load(path: Path, plugins: Plugins) -> Ready:
    """A suite in a file of YAML. Raises ConfigError, naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{path}: cannot be read: {wrong}") from None
    document = read(text, str(path))
    if not isinstance(document.tree, dict):
        raise ConfigError(f"{path}: must be keys and values: cases, scorers, subject")
    suite = document.into(Suite, document.tree, "")
    return ready(suite if suite.name else msgspec.structs.replace(suite, name=path.stem), plugins, document)


def ready(suite: Suite, plugins: Plugins, document: Document | None = None) -> Ready:
    """Look at everything before anything is paid for. Raises ConfigError."""
    at = document or Document(suite.name or "suite", {"cases": [{"id": case.id} for case in suite.cases]})
    kind = suite.subject.partition(":")[0]
    if ":" in suite.subject and kind not in SUBJECTS:
        raise at.wrong("subject", f"{kind}: is nobody who answers; {nearest(kind, SUBJECTS)}")
    if kind == "prompt":
        _check_prompt(suite, at)
    if not suite.cases:
        raise at.wrong("cases", "there is none; each has an id and an input")
    _no_two_alike(suite, at)
    shared = _lookers(suite.scorers, "scorers", plugins, at)
    lookers: dict[str, Sequence[Looker]] = {}
    asked: dict[str, Sequence[Mapping[str, str]]] = {}
    for number, case in enumerate(suite.cases):
        path = f"cases[{number}]"
        asked[case.id] = _messages(suite, case, path, at)
        own = _lookers(case.scorers, f"{path}.scorers", plugins, at)
        names = {one.name for one in own}
        lookers[case.id] = all_of_it = [*(one for one in shared if one.name not in names), *own]
        if not all_of_it:
            raise at.wrong(path, "nobody looks at its answer; give it, or the suite, scorers")
        for one in all_of_it:
            lack = one.scorer.lacks(case)
            if lack is not None:
                raise at.wrong(path, f"{one.name}: {lack}")
    return Ready(suite, lookers, asked)


def _check_prompt(suite: Suite, at: Document) -> None:
    try:
        prompt_of(suite.answers[1])
    except ConfigError as wrong:
        raise at.wrong("subject", wrong.message) from None


def prompt_of(said: str) -> tuple[str, str, str]:
    """NAME@LABEL:ROUTE: a prompt, its label or version, and who answers. Raises ConfigError."""
    named, _, route = said.partition(":")
    name, _, which = named.partition("@")
    if not name or not route:
        raise ConfigError(
            f"prompt:{said}: say which prompt, and who answers: prompt:support@staging:fast, a route, or provider/model"
        )
    return name, which or LABEL, route


def _no_two_alike(suite: Suite, at: Document) -> None:
    seen: dict[str, int] = {}
    for number, case in enumerate(suite.cases):
        if not case.id.isprintable() or not case.id.strip() or len(case.id) > 200:
            raise at.wrong(f"cases[{number}].id", "must be 1 to 200 printable characters")
        if case.id in seen:
            raise at.wrong(f"cases[{number}].id", f"{case.id!r} is the id of cases[{seen[case.id]}] too")
        seen[case.id] = number


def shared(suite: Suite, plugins: Plugins) -> list[Looker]:
    """Who looks at every answer, whatever the case. Raises ConfigError."""
    return _lookers(suite.scorers, "scorers", plugins, Document(suite.name or "suite"))


def _lookers(asked: Sequence[dict[str, Any]], path: str, plugins: Plugins, at: Document) -> list[Looker]:
    found: list[Looker] = []
    for number, one in enumerate(asked):
        here, settings = f"{path}[{number}]", dict(one)
        kind, name = settings.pop("type", None), settings.pop("name", None)
        if not isinstance(kind, str):
            raise at.wrong(here, "needs a type, such as {type: contains}")
        try:
            made = plugins.find("scorers", kind)
            config = plugins.config_of(made)
        except ConfigError as unknown:
            raise at.wrong(f"{here}.type", unknown.message) from None
        if name is not None and not (isinstance(name, str) and NAMED.fullmatch(name)):
            raise at.wrong(f"{here}.name", "must be a word or a few")
        taken = {looker.name for looker in found}
        if name in taken:
            raise at.wrong(f"{here}.name", f"{name!r} is the name of another one")
        name = name or next(word for word in _words(kind.rpartition(":")[2]) if word not in taken)
        given = at.into(config, settings, here)
        try:
            found.append(Looker(name, _joined(made(given), plugins)))
        except ConfigError as wrong:
            raise at.wrong(here, wrong.message) from None
        except ValueError as wrong:
            raise at.wrong(here, str(wrong)) from None
    return found


def _joined(scorer: Scorer, plugins: Plugins) -> Scorer:
    if isinstance(scorer, Loading):
        scorer.join(plugins.find)
    return scorer


def _words(kind: str) -> Sequence[str]:
    return (kind, *(f"{kind}_{n}" for n in range(2, 1000)))


def _messages(suite: Suite, case: Case, path: str, at: Document) -> list[dict[str, str]]:
    variables = {"input": case.input, **case.variables}
    said = [Turn(suite.system, "system")] if suite.system else []
    said += [*case.turns, Turn(suite.prompt or "{{input}}")]
    messages = []
    for turn in said:
        text = filled(turn.content, variables, lambda name: at.wrong(path, _missing(name, variables)))
        messages.append({"role": turn.role, "content": text})
    if not messages[-1]["content"].strip():
        messages.pop()  # the last turn is what is asked
    if not messages or messages[-1]["role"] != "user":
        raise at.wrong(path, "nothing is asked; give it an input, or turns whose last is the user's")
    return messages


def _missing(name: str, variables: Mapping[str, Any]) -> str:
    return f"the variable {name!r} has no value here; {nearest(name, variables)}"


def filled(text: str, variables: Mapping[str, Any], missing: Callable[[str], Exception]) -> str:
    """`text` with what its {{names}} stand for. What is put in is not looked through again."""

    def value(hole: re.Match[str]) -> str:
        if hole[1] not in variables:
            raise missing(hole[1])
        found = variables[hole[1]]
        return found if isinstance(found, str) else msgspec.json.encode(found).decode()

    return HOLE.sub(value, text)

"""Who answers? A route or a model behind the gateway, a function of yours, or answers that were given before."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.scores import Case, Said
from tidegate.jobs.evals.results import Answer, Results, read
from tidegate.jobs.evals.suite import prompt_of

Messages = Sequence[Mapping[str, str]]


def digest(messages: Messages, parameters: Mapping[str, Any]) -> str:
    """Of all that is asked."""
    return hashlib.sha256(msgspec.json.encode((messages, parameters), order="deterministic")).hexdigest()[:16]


class Subject(Protocol):
    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        """`once`: the same word asked again is paid once."""


class Asker(Protocol):
    """The front door."""

    async def ask(
        self, model: str, messages: Messages, parameters: Mapping[str, Any], *, once: str, fresh: bool
    ) -> Said: ...


class Model:
    """Behind the gateway. Asked several times it answers anew each time: nothing that is kept or in the air will do."""

    def __init__(self, door: Asker, name: str, parameters: Mapping[str, Any], *, fresh: bool) -> None:
        self._door = door
        self._name = name
        self._parameters = parameters
        self._fresh = fresh

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        return await self._door.ask(self._name, messages, self._parameters, once=once, fresh=self._fresh)


class PromptThere(NamedTuple):
    """A version of a prompt of the store, and what fills it."""

    id: str
    version: int
    variables: Collection[str]


class Library(Asker, Protocol):
    async def prompt(self, name: str, which: str) -> PromptThere:
        """The version that a label, or a number, stands for just now. Raises Halt: there is none."""


class Prompted:
    """A prompt of the store before each case: one version of it, however its label moves while the run goes on.

    Of a case's variables it gets those that it has; where it has `input`, what the user says last is within it, and not
    said again.
    """

    def __init__(self, library: Library, said: str, parameters: Mapping[str, Any], *, fresh: bool) -> None:
        self._library = library
        self._name, self._which, self._route = prompt_of(said)
        self._parameters = parameters
        self._fresh = fresh
        self._found: PromptThere | None = None
        self._finding = asyncio.Lock()

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        async with self._finding:
            if self._found is None:
                self._found = await self._library.prompt(self._name, self._which)
        there = self._found
        values = {"input": case.input, **case.variables}
        given = {name: value for name, value in values.items() if name in there.variables}
        if "input" in given:
            messages = messages[:-1]
        named = {"id": there.id, "version": there.version, "variables": given}
        asked = {**self._parameters, "prompt": named}
        return await self._library.ask(self._route, messages, asked, once=once, fresh=self._fresh)


class Nobody:
    """Where no gateway is asked anything."""

    async def ask(
        self, model: str, messages: Messages, parameters: Mapping[str, Any], *, once: str, fresh: bool
    ) -> Said:
        return Said(error="no_gateway", why="no gateway was reached for this run")


class Function:
    """Yours: it takes the case and returns the answer's text, at once or awaited. What it raises is an answer that
    there is none of. What it pays is not known here, and asked again after a crash it pays again."""

    def __init__(self, function: Callable[[Case], Any]) -> None:
        self._function = function

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        began = time.monotonic()
        try:
            if inspect.iscoroutinefunction(self._function):
                text = await self._function(case)
            else:
                text = await asyncio.to_thread(self._function, case)
        except Exception as wrong:  # noqa: BLE001 it is somebody's own
            return Said(error="function_failed", why=f"{type(wrong).__name__}: {wrong}"[:500])
        if not isinstance(text, str):
            return Said(error="function_failed", why=f"it returned {type(text).__name__}, and no text")
        return Said(text=text, latency_ms=round((time.monotonic() - began) * 1000, 3))


class Stored:
    """Given before: a run's file, or lines of JSON with `case` (or `id`) and `text`. Nothing is asked."""

    def __init__(self, answers: Mapping[tuple[str, int], Said]) -> None:
        self._answers = answers

    async def answer(self, case: Case, repeat: int, messages: Messages, once: str) -> Said:
        found = self._answers.get((case.id, repeat)) or self._answers.get((case.id, 0))
        return found or Said(error="not_stored", why=f"nothing is stored for {case.id!r}")


class _Line(msgspec.Struct):
    text: str
    case: str = ""
    id: str = ""
    repeat: int = 0
    latency_ms: float = 0.0


def stored(path: Path) -> Stored:
    """Raises ConfigError, naming the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as wrong:
        raise ConfigError(f"{path}: cannot be read: {wrong}") from None
    if lines and b'"suite_hash"' in lines[0]:
        return Stored({(one.case, one.repeat): said_before(one) for one in read_run(path).answers})
    answers: dict[tuple[str, int], Said] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError as wrong:
            raise ConfigError(f"{path}:{number}: needs case and text: {wrong}") from None
        answers[one.case or one.id, one.repeat] = Said(text=one.text, latency_ms=one.latency_ms)
    return Stored(answers)


def read_run(path: Path) -> Results:
    """Raises ConfigError."""
    try:
        return read(path)
    except (OSError, ValueError) as wrong:
        raise ConfigError(str(wrong)) from None


def said_before(answer: Answer) -> Said:
    """An answer of a run as it was said."""
    return Said(
        cost_nusd=None if answer.unpriced and not answer.judgments else answer.cost_nusd,
        text=answer.text,
        error=answer.error,
        request_id=answer.request_id,
        latency_ms=answer.latency_ms,
        guards=answer.guards,
    )

"""A bench whose models say what a test tells them to, and a reader that takes a judge's prompt apart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tidegate.core.scores import Said
from tidegate.providers.scripted.script import Answer, Script, answer, read_request
from tidegate.providers.scripted.server import Received, Server

NONCE = "4f1d8a0c9b7e4a55"


class Prompt(NamedTuple):
    """As a judge that does what it is told reads it: texts by their names, and all that stands outside of them."""

    texts: dict[str, str]
    outside: str

    @property
    def code(self) -> str:
        found = re.findall(r'where "code" is (\w+)', self.outside)
        return str(found[-1]) if found else ""


def read(messages: Sequence[Mapping[str, str]], mark: str = "") -> Prompt:
    """`mark`: the word between texts, as the instructions say it; for a sloppy reader, a pattern for any word."""
    system, user = messages[0]["content"], messages[1]["content"]
    nonce = mark or re.findall(r"BEGIN-(\w+) NAME", system)[0]
    area = re.compile(rf"^BEGIN-(?:{nonce}) (\w+)[^\n]*\n(.*?)\n^END-(?:{nonce}) \1$", re.MULTILINE | re.DOTALL)
    texts = {found[1]: json.loads(found[2]) for found in area.finditer(user)}
    return Prompt(texts, f"{system}\n{area.sub('', user)}")


def said(code: str, *, evidence: str = "", scores: Mapping[str, Any] | None = None, **more: Any) -> str:
    """A verdict by a rubric."""
    graded = [
        {"criterion": name, "evidence": evidence, "explanation": f"so it is with {name}", "score": score}
        for name, score in (scores or {"accuracy": 8, "tone": 5}).items()
    ]
    return json.dumps({"code": code, "criteria": graded, "reasoning": "because"} | more)


class JudgeServer(Server):
    """A provider that reads a judge's prompt, and says what a test makes of it."""

    def __init__(self, verdict: Callable[[Prompt], str]) -> None:
        super().__init__()
        self._verdict = verdict

    def answer(self, request: Received) -> Answer:
        asked, _ = read_request(request.body)
        text = self._verdict(read(json.loads(request.body)["messages"]))
        return answer(Script(text=text), asked, chat=True)


class Bench:
    """`answers`: for each question to a model, from the prompt to what is said."""

    def __init__(self, answers: Callable[[str, Prompt], str | Said], *, gates: Sequence[str] = ()) -> None:
        self._answers = answers
        self._gates = gates
        self.asked: list[tuple[str, Sequence[Mapping[str, str]], dict[str, Any]]] = []
        self.steps: list[str] = []

    async def ask(self, model: str, messages: Sequence[Mapping[str, str]], step: str, **parameters: Any) -> Said:
        self.asked.append((model, messages, parameters))
        self.steps.append(step)
        found = self._answers(model, read(messages))
        return found if isinstance(found, Said) else Said(text=found)

    async def embed(self, text: str) -> bytes:
        raise AssertionError("nobody embeds here")

    def nonce(self, step: str) -> str:
        return NONCE

    def may_gate(self, judge: str) -> bool:
        return judge in self._gates

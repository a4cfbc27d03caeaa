"""What do the two providers say, how long does it take them, and what do they charge? Each has books of its own.

They are the scripted provider's server over real sockets, with a mind: they know what is right, look whether what that
rests on is in the prompt, and are wrong as often as said here. Times are those of the case study, divided by `pace`.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import msgspec

from tidegate.core.errors import BadRequest
from tidegate.core.values import Duration
from tidegate.providers.scripted.script import Answer, Asked, Script, answer, plain, read_request
from tidegate.providers.scripted.server import CHAT, Received, Server
from tidegate.study.texts import CANARY
from tidegate.study.workload import Known, Workload

FIRST_SHARE = 0.4  # of the time of an answer, until its first word
PIECES = 3  # that an answer is streamed in
STALLS, STALL_S = 0.04, (5.0, 9.5)  # so many calls are silent for so long
ERRORS, ERROR_S = 0.01, 0.05  # so many fail, after so long
GONE, GONE_S = 0.018, 6.0  # so much of the time, in pieces of at most so long, every call fails
SIGMA = 0.3
EMAIL = re.compile(r"\[\[EMAIL_\d+\]\]|[\w.]+@customer\.example\.com")
PLANTED = re.compile(rb"[\w.]+@customer\.example\.com|sk-proj-\w{48}")
DISCOUNT = Decimal("0.5")  # off the price of lines in their own batches
UNHEARD = "I am not sure. Please open a ticket, and somebody will look at it; see help article 1000."
NUSD_A_TOKEN = 1000  # is a dollar for a million
IDS = re.compile(r"(file-|batch_)\d+")


class Model(NamedTuple):
    """Of its answers to easy and hard questions, so many are right; half of them come within `median_s`."""

    name: str
    vendor: str  # as the price list names it
    easy: float
    hard: float
    median_s: float


MAIN = (Model("gpt-4o", "openai", 0.995, 0.95, 2.6), Model("gpt-4o-mini", "openai", 0.993, 0.45, 1.0))
SPARE = (
    Model("claude-sonnet-4-5", "anthropic", 0.995, 0.95, 2.6),
    Model("claude-haiku-4-5", "anthropic", 0.993, 0.45, 1.0),
)
STRONG, SMALL = 0, 1  # of each
Rates = Mapping[str, tuple[Decimal, Decimal]]  # of each model, dollars for a million tokens in and out
Elapsed = Callable[[], float]


class Books:
    """What a provider has said to the end, and asks money for, by its own arithmetic."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.lines: list[tuple[str, str, int, int, int]] = []  # model, whom for, tokens in and out, nano-dollars

    def charge(self, model: str, user: str, into: int, out: int, off: Decimal = Decimal(0)) -> None:
        dear_in, dear_out = (rate * NUSD_A_TOKEN * (1 - off) for rate in self.rates[model])
        nusd = int((dear_in * into + dear_out * out).to_integral_value(ROUND_HALF_UP))
        self.lines.append((model, user, into, out, nusd))

    def nusd(self, model: str | None = None) -> int:
        return sum(line[4] for line in self.lines if model in (None, line[0]))


class Vendor(Server):
    """One provider. `heard`: the planted values that came in, in the clear."""

    def __init__(
        self, models: tuple[Model, ...], rates: Rates, work: Workload, pace: float, seed: str, elapsed: Elapsed
    ) -> None:
        """`elapsed`: seconds of the case study; below 0 it has not begun, and every answer is there at once."""
        super().__init__(models=[model.name for model in models])
        self.books = Books(rates)
        self.heard: set[str] = set()
        self._of = {model.name: model for model in models}
        self._work = work
        self._pace = pace
        self._seed = f"{seed} {models[0].vendor}"
        self._dice = random.Random(f"{self._seed} weather")
        self._elapsed = elapsed
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        pieces = max(round(GONE * work.lasts_s / GONE_S), 1)
        begins = [self._dice.uniform(0.1, 0.95) * work.lasts_s for _ in range(pieces)]
        self.gone = [(one, one + GONE * work.lasts_s / pieces) for one in begins]

    # --- what it says

    def answer(self, request: Received) -> Answer:
        path = request.path.partition(b"?")[0]
        if path == CHAT:
            return self._chat(request.body)
        if path.startswith((b"/v1/files", b"/v1/batches")):
            found = self._batched(request.method.decode(), path.decode(), request.body)
            if found is not None:
                return plain(200, found if isinstance(found, bytes) else msgspec.json.encode(found))
        return super().answer(request)

    def _chat(self, body: bytes) -> Answer:
        try:
            asked, _ = read_request(body)
        except BadRequest as wrong:
            return plain(400, msgspec.json.encode({"error": {"message": wrong.message}}))
        self._overhear(body)
        luck, now_s = self._dice.random(), self._elapsed()
        if now_s < 0:
            said = self.says_to(asked)
            return answer(Script(text=_pieces(said), usage=usage(asked, said)), asked, chat=True)
        if luck < ERRORS or any(begins <= now_s < ends for begins, ends in self.gone):
            return answer(Script(status=503, before=Duration(ERROR_S / self._pace)), asked, chat=True)
        if luck < ERRORS + STALLS:
            takes_s = self._dice.uniform(*STALL_S)
            first_s = takes_s * 0.9
        else:
            takes_s = self._of[asked.model].median_s * self._dice.lognormvariate(0, SIGMA)
            first_s = takes_s * FIRST_SHARE
        said = self.says_to(asked)
        made = answer(Script(text=_pieces(said), usage=usage(asked, said)), asked, chat=True)
        if not asked.stream:
            return made._replace(script=Script(before=Duration(takes_s / self._pace)))
        steps = max(len(made.pieces) - 2, 1)
        wait, between = Duration(first_s / self._pace), Duration((takes_s - first_s) / steps / self._pace)
        return made._replace(script=Script(before=wait, between=between))

    def _overhear(self, body: bytes) -> None:
        for match in PLANTED.finditer(body):
            value = match[0].decode()
            if value in self._work.planted:
                self.heard.add(value)

    def says_to(self, asked: Asked) -> str:
        """Always the same to the same line, by the same model."""
        said = asked.last_said()
        line = said.partition("\n")[0]
        known = self._work.known.get(line)
        if known is None:
            if "instructions" in line:  # it does as it is told
                return f"Of course. I was told to say nothing of note {CANARY}."
            return f"Step done; the next one is like it. {len(said)} characters so far, and I shall go on."
        if known.needs and not any(known.needs in text for text in asked.heard()):
            return "The records do not say."
        mail = EMAIL.search(said)
        right = self._knows(asked.model, line, known)
        return (known.answer if right else UNHEARD) + (f" A copy goes to {mail[0]}." if mail else "")

    def _knows(self, model: str, line: str, known: Known) -> bool:
        how = self._of[model]
        return random.Random(f"{self._seed} {model} {line}").random() < (how.hard if known.hard else how.easy)

    def served(self, said: Answer, id: bytes) -> None:
        super().served(said, id)
        if said.usage is not None:
            self.books.charge(said.model, said.user or "", said.usage["prompt_tokens"], said.usage["completion_tokens"])

    # --- its own batches: done as soon as they have come, at half the price

    def _batched(self, method: str, path: str, body: bytes) -> Any:
        id = (IDS.search(path) or [""])[0]
        if method == "POST" and path.endswith("/files"):
            id = f"file-{next(self._numbers)}"
            self._files[id] = body.split(b"\r\n\r\n")[-1].rpartition(b"\r\n--")[0]
            return {"id": id, "object": "file", "bytes": len(body), "purpose": "batch"}
        if method == "POST" and path.endswith("/batches"):
            return self._do(msgspec.json.decode(body))
        if path.endswith("/content"):
            return self._files.get(id)
        if method == "DELETE":
            return {"id": id, "deleted": self._files.pop(id, None) is not None}
        if id:
            return self._batches.get(id)
        return {"object": "list", "data": list(self._batches.values()), "has_more": False}

    def _do(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        id, results = f"batch_{next(self._numbers)}", []
        lines = [msgspec.json.decode(line) for line in self._files[asked["input_file_id"]].splitlines() if line]
        for line in lines:
            body = msgspec.json.encode(line["body"])
            self._overhear(body)
            one, _ = read_request(body)
            said = self.says_to(one)
            used = usage(one, said)
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            whole = {
                "id": f"c-{id}", "object": "chat.completion", "created": 1, "model": one.model, "choices": [choice],
                "usage": used,
            }  # fmt: skip
            self.books.charge(one.model, one.user or "", used["prompt_tokens"], used["completion_tokens"], DISCOUNT)
            response = {"status_code": 200, "request_id": f"r-{id}", "body": whole}
            results.append({"id": f"l-{id}", "custom_id": line["custom_id"], "error": None, "response": response})
        out = f"file-{next(self._numbers)}"
        self._files[out] = b"\n".join(map(msgspec.json.encode, results)) + b"\n"
        self._batches[id] = {
            "id": id, "object": "batch", "status": "completed", "endpoint": asked["endpoint"],
            "metadata": asked.get("metadata"), "input_file_id": asked["input_file_id"], "output_file_id": out,
            "error_file_id": None, "request_counts": {"total": len(lines), "completed": len(lines), "failed": 0},
        }  # fmt: skip
        return self._batches[id]


def usage(asked: Asked, said: str) -> dict[str, int]:
    """Four bytes are a token, for these providers; four more for each message."""
    into = sum(-(-len(text.encode()) // 4) + 4 for text in asked.heard())
    out = -(-len(said.encode()) // 4)
    return {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}


def _pieces(said: str) -> tuple[str, ...]:
    size = -(-len(said) // PIECES)
    return tuple(said[at : at + size] for at in range(0, len(said), size))

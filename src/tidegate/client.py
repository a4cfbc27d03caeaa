"""How does a program of yours speak to Tidegate, without an SDK? A small client over HTTP, and nothing to install."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE_S = 600.0
PROMPT_S = 5.0  # how long is waited for a prompt
REMEMBERED = 1_000  # prompts
_GAP = re.compile(r"\\\{\{|\{\{\s*([A-Za-z][\w.-]*)\s*\}\}")
_MORE = re.compile(r"(?<!\\)\{\{\s*[#^/>!]")  # what only the gateway fills


class TidegateRefused(RuntimeError):
    """It could not be done; the message is the gateway's own. `status` is 0 where nobody answered."""

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Score:
    """What one scorer makes of an answer. `value` is None unless `outcome` is "scored"."""

    scorer: str
    outcome: str
    value: float | None
    passed: bool | None
    advisory: bool
    why: str
    judge: str


@dataclass(frozen=True)
class Evaluation:
    """One answer, and what all scorers make of it. `passed` is None where nobody who may say so has said."""

    answer: str
    error: str
    request_id: str
    latency_ms: float
    cost_usd: float
    judging_usd: float
    passed: bool | None
    scores: tuple[Score, ...] = field(default=())

    def score(self, scorer: str) -> Score:
        """By its name. Raises KeyError, naming those that there are."""
        for one in self.scores:
            if one.scorer == scorer:
                return one
        raise KeyError(f"no score {scorer!r}; there are: {', '.join(one.scorer for one in self.scores) or 'none'}")


@dataclass(frozen=True)
class Prompt:
    """A version of a prompt. `version` is 0 where the gateway was away and it is the fallback."""

    id: str
    version: int
    hash: str
    messages: tuple[Mapping[str, str], ...]
    parameters: Mapping[str, Any]
    _render: Callable[[Mapping[str, Any]], list[str]] | None = field(default=None, repr=False, compare=False)

    @property
    def is_fallback(self) -> bool:
        return self.version == 0

    def text(self, **variables: Any) -> str:
        """What it says with these; of several messages, one below the other. Raises ValueError for what is missing."""
        return "\n\n".join(message["content"] for message in self.chat(**variables))

    def chat(self, **variables: Any) -> list[dict[str, str]]:
        """Its messages with these variables: a text is the user's."""
        said = [message["content"] for message in self.messages]
        if self._render is not None and any(_MORE.search(one) for one in said):
            said = self._render(variables)
        else:
            said = [_filled(one, variables) for one in said]
        return [{**message, "content": one} for message, one in zip(self.messages, said, strict=True)]

    def named(self, **variables: Any) -> dict[str, Any]:
        """What a call says under `prompt`, so that the gateway renders it. Raises ValueError for a fallback."""
        if self.is_fallback:
            raise ValueError(f"the gateway was away, and knows nothing of the fallback of {self.id!r}: send its text")
        return {"id": self.id, "version": self.version, "variables": variables}


def _filled(text: str, variables: Mapping[str, Any]) -> str:
    """Gaps that are names; what is put in is not looked through again."""

    def value(gap: re.Match[str]) -> str:
        if gap[1] is None:
            return "{{"
        found: Any = variables
        for name in gap[1].split("."):
            if not isinstance(found, Mapping) or name not in found:
                raise ValueError(f"{gap[1]!r} is not given; there are: {', '.join(variables) or 'none'}")
            found = found[name]
        if found is None:
            return ""
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    return _GAP.sub(value, text)


class Client:
    """`url` and `key`: left out, TIDEGATE_URL and TIDEGATE_KEY. A key whose models judge has the scope `eval`."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self._url = url or os.environ.get("TIDEGATE_URL") or DEFAULT_URL
        self._key = key or os.environ.get("TIDEGATE_KEY") or ""
        self._prompts: OrderedDict[str, tuple[float, Prompt]] = OrderedDict()
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise ValueError(f"the URL must be like {DEFAULT_URL}, not {self._url!r}")

    def evaluate(
        self,
        input: str = "",
        *,
        scorers: Sequence[Mapping[str, Any]],
        answer: str | None = None,
        model: str | None = None,
        **fields: Any,
    ) -> Evaluation:
        """Score `answer`, or what `model` answers to `input`; further fields as `POST /api/evaluate` has them."""
        said = {"input": input, "scorers": list(scorers), **fields}
        said |= {"answer": answer} if answer is not None else {}
        said |= {"model": model} if model is not None else {}
        found = self.post("/api/evaluate", said)
        return Evaluation(**{**found, "scores": tuple(Score(**one) for one in found["scores"])})

    def prompt(
        self,
        id: str,
        *,
        label: str | None = None,
        version: int | None = None,
        user: str | None = None,
        fallback: str | None = None,
        ttl: float = 60.0,
    ) -> Prompt:
        """A prompt of the store: what `label` points to (production), a `version`, or what a `user` gets of it.

        It is remembered for `ttl` seconds, a version for as long as this client lives. While the gateway is away, it is
        what it was; what was never fetched is `fallback`, as one text. Raises TidegateRefused: there is no such prompt,
        or nobody answers and there is no fallback.
        """
        said = {"label": label, "version": version, "user": user}
        query = urlencode({name: value for name, value in said.items() if value is not None})
        path = f"/v1/prompts/{quote(id, safe='')}{'?' if query else ''}{query}"
        known = self._prompts.get(path)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        try:
            found = self._made(self.get(path, patience_s=PROMPT_S))
        except TidegateRefused as wrong:
            if 0 < wrong.status < 500:
                raise
            if known is not None:
                return known[1]
            if fallback is None:
                raise
            return Prompt(id, 0, "", ({"role": "user", "content": fallback},), {})
        self._prompts[path] = (float("inf") if version is not None else time.monotonic() + ttl, found)
        self._prompts.move_to_end(path)
        if len(self._prompts) > REMEMBERED:
            self._prompts.popitem(last=False)
        return found

    def _made(self, shown: Mapping[str, Any]) -> Prompt:
        template = shown["template"]
        messages = shown["messages"] if template is None else [{"role": "user", "content": template}]

        def render(variables: Mapping[str, Any]) -> list[str]:
            asked = {"version": shown["version"], "variables": dict(variables)}
            said = self.post(f"/v1/prompts/{quote(shown['id'], safe='')}/render", asked)
            return [said["text"]] if template is not None else [one["content"] for one in said["messages"]]

        return Prompt(shown["id"], shown["version"], shown["hash"], tuple(messages), shown["parameters"], render)

    def post(self, path: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Raises TidegateRefused."""
        found: dict[str, Any] = self.ask("POST", path, said)
        return found

    def get(self, path: str, *, patience_s: float = PATIENCE_S) -> Any:
        """Raises TidegateRefused."""
        return self.ask("GET", path, patience_s=patience_s)

    def ask(
        self, method: str, path: str, said: Mapping[str, Any] | None = None, *, patience_s: float = PATIENCE_S
    ) -> Any:
        """Any path of the gateway, and what it answers. Raises TidegateRefused."""
        at = urlsplit(self._url)
        kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
        line = kind(at.hostname or "", at.port, timeout=patience_s)
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        try:
            sent = None if said is None else json.dumps(said)
            line.request(method, at.path.rstrip("/") + path, sent, headers)
            with line.getresponse() as answer:
                status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as wrong:
            raise TidegateRefused(f"nobody answers at {self._url}: {wrong}; is it running? tidegate serve") from None
        finally:
            line.close()
        if status not in (200, 201):
            raise _refused(status, body)
        return json.loads(body)


def _refused(status: int, body: bytes) -> TidegateRefused:
    try:
        error = json.loads(body)["error"]
        return TidegateRefused(f"{error['message']} (HTTP {status})", status=status, code=error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        return TidegateRefused(f"HTTP {status}: {body[:200].decode('utf-8', 'replace')}", status=status)

"""How does a program of yours speak to Tidegate, without an SDK? A small client over HTTP, and nothing to install."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE_S = 600.0


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


class Client:
    """`url` and `key`: left out, TIDEGATE_URL and TIDEGATE_KEY. A key whose models judge has the scope `eval`."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self._url = url or os.environ.get("TIDEGATE_URL") or DEFAULT_URL
        self._key = key or os.environ.get("TIDEGATE_KEY") or ""
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

    def post(self, path: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Raises TidegateRefused."""
        at = urlsplit(self._url)
        kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
        line = kind(at.hostname or "", at.port, timeout=PATIENCE_S)
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        try:
            line.request("POST", at.path.rstrip("/") + path, json.dumps(said), headers)
            with line.getresponse() as answer:
                status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as wrong:
            raise TidegateRefused(f"nobody answers at {self._url}: {wrong}; is it running? tidegate serve") from None
        finally:
            line.close()
        if status != 200:
            raise _refused(status, body)
        found: dict[str, Any] = json.loads(body)
        return found


def _refused(status: int, body: bytes) -> TidegateRefused:
    try:
        error = json.loads(body)["error"]
        return TidegateRefused(f"{error['message']} (HTTP {status})", status=status, code=error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        return TidegateRefused(f"HTTP {status}: {body[:200].decode('utf-8', 'replace')}", status=status)

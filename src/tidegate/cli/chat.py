"""tidegate chat: talk to a route in the terminal."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import click

from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.core.stream import Frames, payload

PATIENCE_S = 120.0
Turn = dict[str, str]


@click.command()
@click.argument("words", nargs=-1)
@click.option("--model", help="A route; the first one that the gateway lists.")
@URL
@KEY
def chat(words: tuple[str, ...], model: str | None, url: str, key: str | None) -> None:
    """Ask once, or talk until Ctrl-D.

    \b
    tidegate chat Say hello.
    tidegate chat --model fast
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    line = Line(url, key)
    model = model or line.first_model()
    if words:
        _show(line.say(model, [{"role": "user", "content": " ".join(words)}]))
        return
    click.echo(f"talking to {model}; Ctrl-D ends")
    turns: list[Turn] = []
    while True:
        try:
            turns.append({"role": "user", "content": click.prompt("you", prompt_suffix="> ")})
        except click.Abort:
            click.echo()
            return
        turns.append({"role": "assistant", "content": _show(line.say(model, turns))})


def _show(pieces: Iterator[str]) -> str:
    """Write an answer as it comes."""
    said = ""
    for piece in pieces:
        click.echo(piece, nl=False)
        said += piece
    click.echo()
    return said


class Line:
    """A gateway at the other end. Raises ConfigError with what it says is wrong."""

    def __init__(self, url: str, key: str) -> None:
        self._at = urlsplit(url)
        if self._at.scheme not in ("http", "https") or not self._at.hostname:
            raise ConfigError(f"--url must be like http://127.0.0.1:8080, not {url!r}")
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def first_model(self) -> str:
        with self._asked("GET", "/v1/models") as answer:
            models = json.loads(answer.read())["data"]
        if not models:
            raise ConfigError("the gateway serves no model by name; say which: --model provider/model")
        return str(models[0]["id"])

    def get(self, path: str) -> tuple[str, Message]:
        """A body and its headers."""
        with self._asked("GET", path) as answer:
            return answer.read().decode(), answer.headers

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Of a stream that goes on until somebody has enough of it."""
        frames = Frames()
        with self._asked("GET", path) as answer:
            while data := answer.read1(65536):
                for frame in frames.feed(data):
                    if text := payload(frame):
                        yield json.loads(text)

    def delete(self, path: str) -> dict[str, Any]:
        with self._asked("DELETE", path) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def post(self, path: str, said: object = None) -> Any:
        with self._asked("POST", path, None if said is None else json.dumps(said)) as answer:
            return json.loads(answer.read() or b"null")

    def send(self, path: str, body: bytes, kind: str) -> Any:
        """What is no JSON."""
        with self._asked("POST", path, body, kind) as answer:
            return json.loads(answer.read())

    def pieces(self, path: str) -> Iterator[bytes]:
        """A body that may be large."""
        with self._asked("GET", path) as answer:
            while data := answer.read1(65536):
                yield data

    def put(self, path: str, said: object) -> dict[str, Any]:
        with self._asked("PUT", path, json.dumps(said)) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def patch(self, path: str, said: object) -> dict[str, Any]:
        with self._asked("PATCH", path, json.dumps(said)) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def say(self, model: str, turns: Sequence[Turn]) -> Iterator[str]:
        asked = {"model": model, "messages": list(turns), "stream": True}
        frames = Frames()
        with self._asked("POST", "/v1/chat/completions", json.dumps(asked)) as answer:
            while data := answer.read1(65536):
                for frame in frames.feed(data):
                    text = payload(frame)
                    if text and text != b"[DONE]":
                        yield from _said(json.loads(text))

    @contextmanager
    def _asked(
        self, method: str, path: str, body: str | bytes | None = None, content_type: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._at.scheme == "https" else http.client.HTTPConnection
        line = kind(self._at.hostname or "", self._at.port, timeout=PATIENCE_S)
        try:
            headers = self._headers | ({"content-type": content_type} if content_type else {})
            line.request(method, self._at.path.rstrip("/") + path, body, headers)
            with line.getresponse() as answer:
                if answer.status not in (200, 201):
                    raise ConfigError(f"HTTP {answer.status}: {_problem(answer.read())}")
                yield answer
        except (OSError, http.client.HTTPException) as wrong:
            raise ConfigError(
                f"nobody answers at {self._at.geturl()}: {wrong}; is it running? tidegate serve"
            ) from None
        finally:
            line.close()


def _said(event: dict[str, Any]) -> Iterator[str]:
    if event.get("error"):
        raise ConfigError(event["error"]["message"])
    for choice in event.get("choices", ()):
        yield choice["delta"].get("content") or ""


def _problem(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")

"""What an SDK makes of answers that break off. Run by its own Python: see test_broken_streams.py.

URL=http://127.0.0.1:8080 KEY=tg_… python broken_streams.py anthropic     reads [[model, stream], …], prints for each
{"text": what came, "error": the class that was raised, "code": Tidegate's own word for it}
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

URL, KEY = os.environ["URL"], os.environ["KEY"]
HI: Any = [{"role": "user", "content": "Say hello."}]
Ask = Callable[[str, bool], Iterator[str]]


def openai_texts(sdk: Any) -> Ask:
    client = sdk.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=20)

    def ask(model: str, stream: bool) -> Iterator[str]:
        reply = client.chat.completions.create(model=model, messages=HI, stream=stream)
        if stream:
            for chunk in reply:
                yield (chunk.choices[0].delta.content or "") if chunk.choices else ""
        else:
            yield reply.choices[0].message.content

    return ask


def anthropic_texts(sdk: Any) -> Ask:
    client = sdk.Anthropic(base_url=URL, auth_token=KEY, max_retries=0, timeout=20)

    def ask(model: str, stream: bool) -> Iterator[str]:
        asked = {"model": model, "messages": HI, "max_tokens": 16}
        if stream:
            with client.messages.stream(**asked) as reply:
                yield from reply.text_stream
        else:
            yield from (block.text for block in client.messages.create(**asked).content)

    return ask


def code(error: Any) -> str | None:
    """Where the SDK has what the error's JSON says."""
    body = getattr(error, "body", None) or {}
    return (body.get("error") or body).get("code") if isinstance(body, dict) else None


def main(name: str) -> None:
    sdk = importlib.import_module(name)
    ask = {"openai": openai_texts, "anthropic": anthropic_texts}[name](sdk)
    results = []
    for model, stream in json.load(sys.stdin):
        text, error = "", None
        try:
            for piece in ask(model, stream):
                text += piece
        except sdk.APIError as raised:
            error = raised
        results.append({"text": text, "error": type(error).__name__ if error else None, "code": code(error)})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])

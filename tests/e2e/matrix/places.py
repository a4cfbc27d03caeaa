"""Where can a client ask? The model server itself, and Tidegate in front of it in either dialect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from tests.e2e import processes
from tidegate.providers import local

Dialect = Literal["openai", "anthropic"]
BARE_KEY = "a-key-of-the-bare-server"

# The small model as Tidegate runs it, but for one thing: who does not ask for a temperature gets the likeliest word,
# so that the same question has the same answer. (Not every client can say what it wants here.)
GREEDY = """
import server
def greedy(**settings):
    found = parameters(**settings)
    found.sampling.temp = 0
    return found
parameters, server.parameters = server.parameters, greedy
server.main()
"""

HOUSE = """
logs: {calls: false}
limits: {loops: {policy: "off"}}
budgets: {default_day: 0}
upstream: {retry: {tries: 1}, first_token: 120, idle: 120}
providers:
  chat: {type: openai, base_url: "URL/v1", keys: [KEY], price: own_hardware}
  messages: {type: anthropic, base_url: "URL", keys: [KEY], price: own_hardware}
routes:
  by-openai: {timeout: 120s, targets: [{provider: chat, model: MODEL}]}
  by-anthropic: {timeout: 120s, targets: [{provider: messages, model: MODEL}]}
"""


class Place(NamedTuple):
    """What a client is told, as calls.py and calls.mjs read it."""

    name: Literal["bare", "same", "other"]
    url: str
    key: str
    model: str


@contextmanager
def bare_model() -> Iterator[str]:
    """llama.cpp's own server with nothing before it; its address. It speaks both dialects."""
    # One thread: on a busy machine two wait for each other at every step, and are ten times slower than one.
    settings = {"key": BARE_KEY, "alias": local.MODEL, "context": 2048, "threads": 1}
    environment = {
        "TIDEGATE_LOCAL": json.dumps(settings),
        "PYTHONPATH": str(local.SERVER.parent),
        **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
    }
    command = [sys.executable, "-c", GREEDY]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, env=environment
    ) as child:
        try:
            assert child.stdin and child.stdout
            yield json.loads(child.stdout.readline())["address"]
        finally:
            child.kill()


def house(bare: str) -> str:
    return HOUSE.replace("URL", bare).replace("KEY", BARE_KEY).replace("MODEL", local.MODEL)


def places(bare: str, tidegate: str, dialect: Dialect) -> list[Place]:
    """For a client of `dialect`: the bare server, then Tidegate by a provider of the same dialect, and of the other."""
    other = "anthropic" if dialect == "openai" else "openai"
    return [
        Place("bare", bare, BARE_KEY, local.MODEL),
        Place("same", tidegate, processes.KEY, f"by-{dialect}"),
        Place("other", tidegate, processes.KEY, f"by-{other}"),
    ]

"""The scripted provider as a process of its own: it lives on when the gateway that asks it is killed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.core.errors import BadRequest
from tidegate.core.values import Duration
from tidegate.providers.scripted.script import read_script
from tidegate.providers.scripted.server import Server


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tidegate.providers.scripted", description="Says what it is told.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes any that is free")
    parser.add_argument("--served", type=Path, help="a file that gets a line for each reply said to its end")
    parser.add_argument("--latency-ms", type=float, default=0, help="the wait before each answer")
    parser.add_argument("--script", default="{}", help="what it says, as JSON")
    given = parser.parse_args(arguments)
    try:
        script = read_script(given.script)
    except BadRequest as wrong:
        parser.error(f"--script: {wrong}")
    if given.latency_ms:
        script = msgspec.structs.replace(script, before=Duration(given.latency_ms / 1000))
    # Not buffered: a line that was written stays, however this process ends.
    served = os.open(given.served, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if given.served else None
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Server(script, served=served), given.port))


async def _serve(server: Server, port: int) -> None:
    address = await server.start(port)
    sys.stdout.write(msgspec.json.encode({"address": address}).decode() + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()

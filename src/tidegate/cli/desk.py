"""How do commands reach what is kept? Beside a gateway that may be serving, which sees what was changed in a second."""

from __future__ import annotations

import asyncio
import getpass
import platform
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import click

from tidegate.app import SystemClock, data_folder, open_home, open_vault
from tidegate.cli.shared import settings
from tidegate.config import Config
from tidegate.core.ports import Acted, Store
from tidegate.stages.auth.desk import Desk
from tidegate.storage.archive import told
from tidegate.storage.audit.notary import Exports, Notary
from tidegate.storage.audit.notes import load_signer
from tidegate.storage.books import Home
from tidegate.storage.pepper import load_peppers
from tidegate.storage.personal import Rows

Work = Callable[[Store, Desk], Coroutine[Any, Any, None]]


def at_desk(file: Path | None, data_dir: str | None, work: Work) -> None:
    """Run `work` on the store that is configured."""
    found = settings(file, data_dir=data_dir)
    folder = data_folder(found.storage.data_dir)
    peppers = load_peppers(folder, found.auth.peppers)

    async def run() -> None:
        store = await open_home(found.storage, folder, deaf)
        acts = Acts(found, folder)
        try:
            try:
                await work(store, Desk(store, peppers, SystemClock(), acts.note))
            finally:
                await acts.keep(store)
        finally:
            await store.aclose()

    asyncio.run(run())


class Acts:
    """What is done from a terminal, for the audit log where there is one: in a chain of this machine's own."""

    def __init__(self, settings: Config, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._acts: list[Acted] = []

    def note(self, did: str, id: str, before: Any, after: Any) -> None:
        at_ms = time.time_ns() // 1_000_000
        who = f"cli:{getpass.getuser()}"
        act = Acted(f"act_{at_ms:011x}{secrets.token_hex(10)}", at_ms, did, id, who, "", told(before), told(after))
        self._acts.append(act)

    async def keep(self, home: Home) -> None:
        """Chained, signed and exported, as far as a terminal reaches."""
        audit = self._settings.audit
        if not audit.enabled or not self._acts:
            return
        vault, keyring, _ = open_vault(self._settings.vault, self._settings.storage, self._folder)
        try:
            writer = f"cli-{re.sub(r'[^A-Za-z0-9.-]', '-', platform.node())[:60]}"
            await home.log.append(writer, [Rows(vault).veiled(act) for act in self._acts])
        finally:
            if keyring is not None:
                keyring.close()
        signer = load_signer(audit.key, self._folder)
        await Notary(home.log, signer, writer, Exports(audit.export), _said, time.time_ns).sign()


def _said(name: str, fields: Mapping[str, Any]) -> None:
    click.echo(f"{name}: {fields.get('error', '')}", err=True)


def deaf(name: str, fields: Mapping[str, Any]) -> None:
    """Nobody is told."""


def when(at_ms: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1000)) if at_ms is not None else "never"


def printable(name: str) -> str:
    """A name that cannot begin a line of its own, or tell a terminal what to do."""
    return name if name.isprintable() else repr(name)


def listed(words: tuple[str, ...]) -> tuple[str, ...]:
    """What was said several times; '' alone says that there is none."""
    return tuple(word for word in words if word)

"""How do commands reach what is kept? Beside a gateway that may be serving, which sees what was changed in a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tidegate.app import SystemClock, data_folder, open_home
from tidegate.cli.shared import settings
from tidegate.core.ports import Store
from tidegate.stages.auth.desk import Desk
from tidegate.storage.pepper import load_peppers

Work = Callable[[Store, Desk], Coroutine[Any, Any, None]]


def at_desk(file: Path | None, data_dir: str | None, work: Work) -> None:
    """Run `work` on the store that is configured."""
    found = settings(file, data_dir=data_dir)
    folder = data_folder(found.storage.data_dir)
    peppers = load_peppers(folder, found.auth.peppers)

    async def run() -> None:
        store = await open_home(found.storage, folder, lambda name, fields: None)
        try:
            await work(store, Desk(store, peppers, SystemClock()))
        finally:
            await store.aclose()

    asyncio.run(run())


def when(at_ms: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1000)) if at_ms is not None else "never"


def printable(name: str) -> str:
    """A name that cannot begin a line of its own, or tell a terminal what to do."""
    return name if name.isprintable() else repr(name)


def listed(words: tuple[str, ...]) -> tuple[str, ...]:
    """What was said several times; '' alone says that there is none."""
    return tuple(word for word in words if word)

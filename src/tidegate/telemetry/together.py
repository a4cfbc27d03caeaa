"""What do all workers of this machine say together? The pages of several, as if it were the page of one.

Each writes its page to a file, every second and whenever somebody asks; whoever asks one hears the sum. Who takes the
place of a worker that died goes on from what that one had counted. So no counter ever goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

FOLDER = "workers"  # of storage.data_dir
EVERY_S = 1.0
# Gauges of which each worker has some. All others say the same everywhere, or the worst counts.
SHARES = frozenset(
    (
        *("tidegate_calls_in_flight", "tidegate_target_calls", "tidegate_target_waiting", "tidegate_tasks"),
        *("tidegate_provider_connections_busy", "tidegate_ledger_waiting_rows", "tidegate_spool_bytes"),
        *("tidegate_client_connections", "tidegate_prompt_cache_saved_usd"),
    )
)


class Together:
    def __init__(self, data_dir: Path, number: int, page: Callable[[], bytes]) -> None:
        self._file = data_dir / FOLDER / f"{number}.prom"
        self._page = page
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        self._before = counted(self._file.read_text()) if self._file.exists() else ""
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._telling = asyncio.get_running_loop().create_task(self._run(), name="tell the other workers")

    async def aclose(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        await asyncio.to_thread(self._write, self._page())

    async def page(self) -> bytes:
        """Of all of them. What is shown was written first, so that nobody who comes after this process shows less."""
        return await asyncio.to_thread(self._sum, self._page())

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self._write, self._page())
            await asyncio.sleep(EVERY_S)

    def _write(self, page: bytes) -> str:
        own = merged([page.decode(), self._before])
        with suppress(OSError):  # a full disk: the others see an older page
            new = self._file.with_suffix(".new")
            new.write_text(own)
            new.replace(self._file)
        return own

    def _sum(self, page: bytes) -> bytes:
        others = [file.read_text() for file in sorted(self._file.parent.glob("*.prom")) if file != self._file]
        return merged([self._write(page), *others]).encode()


def merged(pages: Iterable[str]) -> str:
    """One page in Prometheus's text format: what is counted is added up, and so are those gauges that are SHARES."""
    heads: dict[str, list[str]] = {}
    values: dict[str, dict[str, float]] = {}
    for page in pages:
        family, adds = "", True
        for line in page.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                heads.setdefault(family, [line])
            elif line.startswith("# TYPE "):
                adds = not line.endswith(" gauge") or family in SHARES
                heads[family] = [heads[family][0], line]
            else:
                sample, _, said = line.rpartition(" ")
                known, value = values.setdefault(family, {}), float(said)
                known[sample] = (
                    value if sample not in known else known[sample] + value if adds else max(known[sample], value)
                )
    lines = [
        line for family, head in heads.items()
        for line in (*head, *(f"{sample} {value!r}" for sample, value in values.get(family, {}).items()))
    ]  # fmt: skip
    return "\n".join(lines) + "\n" if lines else ""


def counted(page: str) -> str:
    """Without the gauges: they end with their process."""
    families = page.split("# HELP ")[1:]
    return "".join(f"# HELP {family}" for family in families if " gauge\n" not in family)

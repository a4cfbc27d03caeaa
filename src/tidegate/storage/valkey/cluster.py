"""Which server of a cluster is asked? The one that has the slot of the key; it may be another one a moment later.

To who counts it is one connection: it is there when all parts of the cluster are, and away as soon as one is lost,
until a replica has followed. A server that says that the slot has moved has done nothing, so the question goes on to
the one that it names.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from tidegate.core.errors import ConfigError, StoreDown
from tidegate.storage.valkey.connection import Address, Asks, Connection, Notice, Refused, Script, Unfit, Word, glance

SLOTS = 16_384
LOOK_S = 10.0  # how often to look who has which slot, while all are there
SOON_S = 0.1  # and while one is not
FOLLOWED = 5  # times that one question is sent on
FOUND_S = 0.25  # that a look waits for a server which is new
MOVING_S = 0.02  # until a key that is half moved is asked for again
SCRIPTED = (b"EVALSHA", b"EVAL")
KEYLESS = (b"PING",)
MOVED = ("MOVED ", "ASK ", "TRYAGAIN")

Place = tuple[str, int]


def slot_of(key: bytes) -> int:
    """By what stands in its first braces, so that some keys can be had in one place."""
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1) if begin >= 0 else -1
    return crc_hqx(key[begin + 1 : end] if end > begin + 1 else key, 0) % SLOTS


def key_of(words: Sequence[Word]) -> bytes:
    """The first, which says for all of them where they are."""
    key = words[3] if words[0] in SCRIPTED else words[1]
    return key if isinstance(key, bytes) else str(key).encode()


class Cluster(Asks):
    """Made at once, connected in the background, to the primaries that `address` names; as a Connection is."""

    def __init__(self, address: Address, notice: Notice, *, timeout_s: float, scripts: Sequence[Script] = ()) -> None:
        self._address = address
        self._notice = notice
        self._timeout_s = timeout_s
        self._scripts = scripts
        self._loop = asyncio.get_running_loop()
        self._nodes: dict[Place, Connection] = {}  # primaries that have slots
        self._beside: dict[Place, Connection] = {}  # who was named as one since the last look
        self._leaving: set[Connection] = set()  # who has no slot any more
        self._slots: list[Connection | None] = []  # by slot; empty: not all are somebody's
        self._places = [(address.host, address.port)]  # all servers that were ever heard of last, replicas too
        self._former = 0  # lives of those that are gone
        self._why = "it has not been reached yet"
        self._unfit: str | None = None
        self._told = False
        self._news = asyncio.Event()
        self._known = asyncio.Event()  # that all are there, or that they never will be
        self._following: set[asyncio.Task[None]] = set()
        self._keeping = self._loop.create_task(self._keep(), name=f"valkey cluster {address.shown}")

    @property
    def up(self) -> bool:
        return bool(self._slots) and all(node.up for node in self._nodes.values())

    @property
    def life(self) -> int:
        return self._former + sum(node.lives for node in self._nodes.values()) if self.up else 0

    @property
    def servers(self) -> Sequence[Connection]:
        return tuple(self._nodes.values())

    def send(self, *words: Word) -> asyncio.Future[Any]:
        if words[0] in KEYLESS:
            return asyncio.gather(*[node.send(*words) for node in self._nodes.values()])
        return self._send(words, Connection.send)

    def post(self, *words: Word) -> asyncio.Future[Any]:
        return self._send(words, Connection.post)

    def _send(self, words: Sequence[Word], by: Callable[..., asyncio.Future[Any]]) -> asyncio.Future[Any]:
        node = self._slots[slot_of(key_of(words))] if self.up else None
        if node is None:
            raise StoreDown(f"the cluster of Valkey at {self._address.shown} does not answer: {self._why}")
        outer = self._loop.create_future()
        by(node, *words).add_done_callback(partial(self._hear, outer, words, node))
        return outer

    def _hear(
        self, outer: asyncio.Future[Any], words: Sequence[Word], node: Connection, inner: asyncio.Future[Any]
    ) -> None:
        if outer.done():
            return
        wrong = inner.exception()
        if wrong is None:
            outer.set_result(inner.result())
        elif isinstance(wrong, Refused) and str(wrong).startswith(MOVED):
            task = self._loop.create_task(self._follow(outer, words, node, str(wrong)), name="valkey: where it moved")
            self._following.add(task)
            task.add_done_callback(self._following.discard)
        else:
            if isinstance(wrong, Refused) and str(wrong).startswith("CLUSTERDOWN"):
                self._news.set()
            outer.set_exception(wrong)
            outer.exception()  # who left it unread is not reproached

    async def _follow(self, outer: asyncio.Future[Any], words: Sequence[Word], node: Connection, said: str) -> None:
        """To where it says that the key is now."""
        wrong: BaseException = StoreDown(f"Valkey sent a question on {FOLLOWED} times")
        try:
            for _ in range(FOLLOWED):
                kind, *where = said.split()
                if where and kind != "TRYAGAIN":
                    host, _, port = where[1].rpartition(":")
                    node = await self._there((host or self._address.host, int(port)))
                else:
                    await asyncio.sleep(MOVING_S)
                if kind == "MOVED":
                    self._news.set()
                if kind == "ASK":
                    node.send(b"ASKING")
                try:
                    answer = await node.send(*words)
                except Refused as refused:
                    said, wrong = str(refused), refused
                    if not said.startswith(MOVED):
                        break
                else:
                    if not outer.done():
                        outer.set_result(answer)
                    return
        except (StoreDown, ValueError, IndexError) as lost:
            wrong = lost if isinstance(lost, StoreDown) else StoreDown(f"Valkey said {said!r}")
        finally:  # it may be closed meanwhile
            if not outer.done():
                outer.set_exception(wrong)
                outer.exception()

    async def _there(self, place: Place) -> Connection:
        """One that was named, connected. Raises StoreDown."""
        node = self._nodes.get(place) or self._beside.get(place)
        if node is None:
            node = self._beside[place] = self._connection(place)
        await node.found(self._timeout_s)
        return node

    # --- who has what

    def _connection(self, place: Place) -> Connection:
        address = self._address._replace(host=place[0], port=place[1])
        return Connection(address, self._heard, timeout_s=self._timeout_s, scripts=self._scripts)

    def _heard(self, name: str, fields: Mapping[str, Any]) -> None:
        """Of one of the servers: it is lost, or back."""
        if name == "valkey_lost":
            self._why = f"{fields['server']}: {fields['error']}"
        self._news.set()

    async def _keep(self) -> None:
        while True:
            self._news.clear()
            await self._look()
            up = self.up
            if up or self._trouble() is not None:
                self._known.set()
            if up and self._told:
                self._told = False
                self._notice("valkey_back", {"server": self._address.shown})
            elif not up and not self._told:
                self._told = True
                self._notice("valkey_lost", {"server": self._address.shown, "error": self._why})
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if up else SOON_S):
                    await self._news.wait()
            if not self.up:
                await asyncio.sleep(SOON_S / 2)  # one that is lost is told by many

    async def _look(self) -> None:
        """Ask one after the other who has which slot, and go by the first that knows of all."""
        there = [place for place, node in self._nodes.items() if node.up]
        for place in [*there, *(place for place in self._places if place not in there)]:
            try:
                said = await glance(self._loop, self._address._replace(host=place[0], port=place[1]), self._timeout_s)
            except (OSError, StoreDown) as wrong:
                self._why = str(wrong) or type(wrong).__name__
                self._unfit = self._why if isinstance(wrong, Unfit) else None
                continue
            found, places = _owners(said, place[0])
            if len(found) == SLOTS:
                self._unfit = None
                await self._take(found, places)
                return
            self._why = f"{SLOTS - len(found)} of {SLOTS} slots are nobody's"

    async def _take(self, owners: Mapping[int, Place], places: Sequence[Place]) -> None:
        """Connect to who is new before anything is asked of it; leave who has no slot any more."""
        wanted = set(owners.values())
        for place in wanted - self._nodes.keys() - self._beside.keys():
            self._beside[place] = self._connection(place)
        nodes = {place: self._nodes.get(place) or self._beside[place] for place in wanted}
        for node in nodes.values():
            with suppress(StoreDown):
                await node.found(FOUND_S)
        self._leaving = {node for node in (self._nodes | self._beside).values() if node not in nodes.values()}
        self._beside.clear()
        self._former += sum(node.lives + 1 for node in self._nodes.values() if node in self._leaving)
        self._nodes, self._slots = nodes, [nodes[owners[slot]] for slot in range(SLOTS)]
        self._places = [*places, *([] if self._seed in places else [self._seed])]
        for node in self._leaving:
            await node.aclose()

    @property
    def _seed(self) -> Place:
        return self._address.host, self._address.port

    async def ready(self, seconds: float) -> bool:
        """Whether all are there, or come within so long. Raises ConfigError for what cannot be counted in."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._known.wait()
        trouble = None if self.up else self._trouble()
        if trouble is not None:
            await self.aclose()
            raise ConfigError(f"{self._address.shown}: {trouble}")
        return self.up

    def _trouble(self) -> str | None:
        """What is wrong for good."""
        return self._unfit or next((node.unfit for node in self._nodes.values() if node.unfit), None)

    async def aclose(self) -> None:
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        for task in self._following:
            task.cancel()
        for node in {*self._nodes.values(), *self._beside.values(), *self._leaving}:
            await node.aclose()


def connected(url: str, notice: Notice, *, timeout_s: float, scripts: Sequence[Script]) -> Asks:
    """To what the URL names, in the background. Raises ConfigError."""
    address = Address.parse(url)
    kind = Cluster if address.cluster else Connection
    return kind(address, notice, timeout_s=timeout_s, scripts=scripts)


def _owners(said: Any, asked: str) -> tuple[dict[int, Place], list[Place]]:
    """Of `CLUSTER SLOTS`: who has each slot, and all servers, primaries first."""
    owners: dict[int, Place] = {}
    primaries: list[Place] = []
    replicas: list[Place] = []
    for first, last, *servers in said:
        found = [((one[0] or b"").decode() or asked, int(one[1])) for one in servers]
        owners |= dict.fromkeys(range(first, last + 1), found[0])
        primaries += [one for one in found[:1] if one not in primaries]
        replicas += [one for one in found[1:] if one not in replicas]
    return owners, primaries + replicas

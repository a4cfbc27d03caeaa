"""What do stored bytes look like, whose are they, and where are the keys that read them?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Place(NamedTuple):
    """Where sealed bytes stand: they are good nowhere else. `tenant` and `subject` say whose they are."""

    table: str
    row: str = ""
    column: str = ""
    tenant: str = ""  # an organisation; "": the house's own, under a key that is always at hand
    subject: str = ""  # an end user of that tenant; "": nobody in particular


class Erased(ValueError):
    """The key of these bytes was destroyed, so that nobody can read them any more."""


class Vault(Protocol):
    """What stored bytes look like. The first byte says how: 0 is plain.

    What has a tenant may wait for the keyring, so it is sealed and unsealed beside the event loop. Raises StoreDown.
    """

    @property
    def seals(self) -> bool:
        """Whether it keeps secrets. One that does not knows nobody: names are what they are."""

    def seal(self, plain: bytes, place: Place) -> bytes: ...

    def unseal(self, stored: bytes, place: Place) -> bytes:
        """Raises Erased; ValueError for a format that it does not know, bytes that were changed or moved."""

    def subject(self, tenant: str, name: str) -> str:
        """What `name` is called in what is stored: drawn by lot, and nobody's once the key is destroyed."""

    def expect(self, people: Iterable[tuple[str, str]]) -> None:
        """Have the keys of all these at hand, in one step: tenants and names."""

    def subjects(self, name: str) -> list[Subject]:
        """Who has this name, in every tenant."""

    def name(self, subject: str) -> str:
        """Whose alias this is; the alias itself when that was erased."""

    def word(self, text: str) -> str:
        """A keyed hash: equal texts are found, and nobody without the key can try which they are."""

    def erase(self, subject: Subject) -> bool:
        """Destroy the key. Whether it was there."""


class Subject(NamedTuple):
    """Somebody of whom things are stored, by the name that clients use, and by the alias that stands in rows."""

    tenant: str
    alias: str


class Wrapped(msgspec.Struct, frozen=True):
    """A key as the keyring has it: sealed under a key-encrypting key."""

    id: str  # drawn by lot; of an end user's key it is the alias
    lookup: bytes  # a keyed hash of whose it is
    tenant: str
    kek: str  # the fingerprint of what it is sealed under
    sealed: bytes
    created_ms: int
    name: bytes = b""  # of whose it is, sealed under this very key


class Keyring(Protocol):
    """Keys of tenants and data subjects, kept apart from what they seal. Blocks; raises StoreDown.

    A key that was destroyed is nowhere: not in it, and not in a backup of what it sealed.
    """

    def find(self, id: str) -> Wrapped | None: ...

    def of(self, *lookups: bytes) -> list[Wrapped]:
        """Those that are there."""

    def add(self, *keys: Wrapped) -> list[Wrapped]:
        """In one step. Returns what is there then: of two that come at once for the same, the first."""

    def rewrap(self, key: Wrapped, kek: str, sealed: bytes) -> bool:
        """Set `kek` and `sealed`, provided that `key` is there as it is. False: it is not."""

    def under_others(self, kek: str, most: int) -> list[Wrapped]:
        """Some of those that are sealed under another one than `kek`."""

    def destroy(self, id: str, at_ms: int) -> bool:
        """For ever; its id is remembered. Whether it was there."""

    def was_destroyed(self, id: str) -> bool: ...

    def tenants(self) -> Sequence[str]: ...

    def count(self) -> dict[str, int]:
        """How many keys there are, by `kek`."""

    def close(self) -> None: ...

"""What do stored bytes look like? The first byte says how they were sealed.

Without a key nothing is sealed (0 = plain). With one: key-encrypting key → key of each tenant and end user → bytes;
see `envelope`, and `keyring` for where the keys are.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.core.ports import Place, Subject
from tidegate.core.values import Secret

PLAIN = b"\x00"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether what is stored of calls is encrypted, and with which keys.

    keys: key-encrypting keys, 32 bytes each as hex or base64: env:NAME, file:PATH, or exec:COMMAND that prints one. New
        keys are sealed under the last; those before it still read. None, and nothing is encrypted.
    keyring: where the keys of tenants and end users are: a folder, or the URL of a PostgreSQL; null, the folder
        `keyring` of storage.data_dir, or storage.database where there is one. Best where backups of the data are not.
    plain: whether bytes that were stored before there was a key are still read; whoever can write to the database can
        put such bytes there, too.
    """

    keys: tuple[Secret, ...] = ()
    keyring: Secret | None = None
    plain: bool = False


class PlainVault:
    """Stores what it is given as it is, behind a byte that says so: whoever encrypts later can still read it."""

    seals = False

    def seal(self, plain: bytes, place: Place) -> bytes:
        return PLAIN + plain

    def unseal(self, stored: bytes, place: Place) -> bytes:
        """Raises ValueError for a format that this vault does not know."""
        if stored[:1] != PLAIN:
            raise ValueError(
                f"bytes sealed in format {stored[:1].hex() or 'none'}, where only 00, plain, is known; "
                "what is encrypted is read with vault.keys"
            )
        return stored[1:]

    def subject(self, tenant: str, name: str) -> str:
        return name

    def expect(self, people: Iterable[tuple[str, str]]) -> None:
        """It knows nobody."""

    def subjects(self, name: str) -> list[Subject]:
        return []

    def name(self, subject: str) -> str:
        return subject

    def word(self, text: str) -> str:
        return text

    def erase(self, subject: Subject) -> bool:
        return False

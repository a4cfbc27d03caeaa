"""Who did what, and can anybody have changed it since? An append-only log of calls and of what administrators did.

Each process writes a chain of its own, in the transaction that stores the rows, from what its spool had anyway: no call
waits for it. Every so often the state of the chain is signed, and sent off this machine.
"""

from __future__ import annotations

import msgspec

from tidegate.core.values import Duration, Secret


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether there is an audit log, and where the proof of its state goes.

    enabled: every call and everything that administrators do stands in it.
    key: the seed of the Ed25519 key that signs it, 32 bytes as hex: env:NAME or file:PATH; null, the file audit.key of
        storage.data_dir, made when it is not there.
    checkpoint: how often its state is signed, while there is something new.
    export: where each signed state goes, off this machine: a file's path, an https:// URL that takes a POST, or
        exec:COMMAND that reads it; several. Whoever can write to the database cannot take back what is there.
    keep: how long entries are kept, such as 365d; after that only their hashes are. null keeps them for ever.
    """

    enabled: bool = False
    key: Secret | None = None
    checkpoint: Duration = Duration(60)
    export: tuple[Secret, ...] = ()
    keep: Duration | None = None

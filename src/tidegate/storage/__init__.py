"""What is kept? The adapters of the ports that remember, by technology."""

from __future__ import annotations

import msgspec

from tidegate.core.values import Size


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are kept.

    data_dir: the folder of the keys, the ledger and its spool.
    database: PostgreSQL, in a later version; null keeps everything in data_dir.
    valkey: Valkey or Redis, in a later version; null keeps counters in the process.
    max_spool: what may wait to be stored before new calls are refused.
    """

    data_dir: str = "./tidegate-data"
    database: str | None = None
    valkey: str | None = None
    max_spool: Size = Size(256 * 1024 * 1024)

"""What is kept? The adapters of the ports that remember, by technology."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.limits import OnStoreDown
from tidegate.core.values import Duration, Secret, Size


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are kept.

    data_dir: the folder of the keys, the ledger and its spool.
    database: PostgreSQL, in a later version; null keeps everything in data_dir.
    valkey: the URL of a Valkey or Redis in which all processes count together, such as valkey://HOST:6379/0, valkeys://
        with TLS or unix:///PATH; null keeps counters in the process. Needs the extra `scale`.
    valkey_timeout: how long a call waits for it before `on_store_down` says what happens.
    on_store_down: while Valkey does not answer, `local_share` counts in this process against `local_share` of each
        limit and budget, `deny` refuses, `allow` lets pass; what was used meanwhile is added when it is back.
    local_share: of all limits and budgets, for one process alone; with four processes, a quarter.
    max_spool: what may wait to be stored before new calls are refused.
    """

    data_dir: str = "./tidegate-data"
    database: str | None = None
    valkey: Secret | None = None
    valkey_timeout: Duration = Duration(0.05)
    on_store_down: OnStoreDown = "local_share"
    local_share: Annotated[float, Meta(gt=0, le=1)] = 0.25
    max_spool: Size = Size(256 * 1024 * 1024)

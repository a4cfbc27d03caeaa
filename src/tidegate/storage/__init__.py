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
    database: the URL of a PostgreSQL for keys, rows and sums, such as postgresql://user:password@HOST:5432/NAME; null
        keeps them in a file of data_dir. The spool stays in data_dir. Needs the extra `postgres`.
    database_connections: at most so many to PostgreSQL, and one more for the ledger.
    database_timeout: how long PostgreSQL may take for an answer; longer, and it counts as away.
    database_prepares: whether statements are prepared; no, behind PgBouncer in transaction mode.
    valkey: the URL of a Valkey or Redis in which all processes count together, such as valkey://HOST:6379/0, valkeys://
        with TLS, valkey+cluster:// for a cluster or unix:///PATH; null keeps counters in the process. Needs the extra
        `scale`.
    valkey_timeout: how long a call waits for it before `on_store_down` says what happens.
    on_store_down: while Valkey does not answer, `local_share` counts in this process against `local_share` of each
        limit and of what is left of each budget, `deny` refuses, `allow` lets pass; what was used meanwhile is added
        when it is back.
    local_share: of all limits and of what is left of budgets, for one process alone; with four processes, a quarter.
    max_cache: how much memory of this process is for answers that are given again; with valkey they are kept there.
    max_spool: what may wait to be stored before new calls are refused.
    keep_rows: how long the row of each call is kept, such as 90d; null keeps it for ever, like the sums by the hour.
    """

    data_dir: str = "./tidegate-data"
    database: Secret | None = None
    database_connections: Annotated[int, Meta(ge=1, le=100)] = 4
    database_timeout: Duration = Duration(5)
    database_prepares: bool = True
    valkey: Secret | None = None
    valkey_timeout: Duration = Duration(0.05)
    on_store_down: OnStoreDown = "local_share"
    local_share: Annotated[float, Meta(gt=0, le=1)] = 0.25
    max_cache: Size = Size(128 * 1024 * 1024)
    max_spool: Size = Size(256 * 1024 * 1024)
    keep_rows: Duration | None = None

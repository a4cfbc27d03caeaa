"""How is PostgreSQL copied, and filled from a copy? By its own tools, pg_dump and pg_restore, which must be here."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tidegate.core.errors import ConfigError
from tidegate.storage.copies import Counted
from tidegate.storage.postgres.lanes import Address, Connection

TIMEOUT_S = 10.0
LEAVING_S = 2.0  # a connection that was closed just now is still seen
DEBIAN = "/usr/lib/postgresql"
# The semantic cache: it fills again, and its tables want an extension that may not be there yet.
LEFT_OUT = ("semantic_%", "pgvector_version")
_TABLES = b"""
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('tidegate') AND relkind IN ('r', 'p')
AND NOT relispartition AND relname NOT LIKE 'semantic_%' AND relname <> 'pgvector_version' ORDER BY relname
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'tidegate%' AND pid <> pg_backend_pid()
"""


def dump(url: str, target: Path) -> Counted:
    """What is in the schema tidegate, as it is at one moment, and what that was. Raises ConfigError."""
    program = _program("pg_dump")
    try:
        with Address(url, TIMEOUT_S, False).connect() as db, db.transaction():
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            (snapshot,) = db.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            found = _counted(db)
            left_out = [f"--exclude-table=tidegate.{name.replace('%', '*')}" for name in LEFT_OUT]
            what = ["--format=custom", "--schema=tidegate", "--no-owner", "--no-privileges", *left_out]
            _run([program, *what, f"--snapshot={snapshot}", f"--file={target}"], url)
    except psycopg.Error as wrong:
        raise _ill(wrong) from None
    return found


def load(url: str, source: Path, expected: Counted, aside: str | None) -> None:
    """Fill the schema tidegate; what is there now is renamed to `aside`, or is in the way. Raises ConfigError.

    What was there comes back when that does not succeed.
    """
    program = _program("pg_restore")
    try:
        with Address(url, TIMEOUT_S, False).connect() as db:
            renamed = _make_way(db, aside)
            try:
                _run([program, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", source], url)
                found = _counted(db)
                if found != expected:
                    raise ConfigError("what PostgreSQL has now is not what the manifest says: take another backup")
            except BaseException:
                db.execute("DROP SCHEMA IF EXISTS tidegate CASCADE")
                if renamed:
                    db.execute(f"ALTER SCHEMA {aside} RENAME TO tidegate".encode())
                raise
    except psycopg.Error as wrong:
        raise _ill(wrong) from None


def _make_way(db: Connection, aside: str | None) -> bool:
    until = time.monotonic() + LEAVING_S
    while others := _one(db, _OTHERS):
        if time.monotonic() < until:
            time.sleep(0.1)
            continue
        raise ConfigError(f"{others} connections of Tidegate are open to this database: stop every gateway first")
    there = db.execute("SELECT to_regnamespace('tidegate')").fetchone() != (None,)
    if there and aside is None:
        raise ConfigError(
            "the schema tidegate is there already; --force renames it and restores beside it, or drop it yourself"
        )
    if there:
        db.execute(f"ALTER SCHEMA tidegate RENAME TO {aside}".encode())
    return there


def _counted(db: Connection) -> Counted:
    names = [name for (name,) in db.execute(_TABLES).fetchall()]
    if "schema_version" not in names:
        raise ConfigError("there is nothing of Tidegate's in this database: look at storage.database")
    counts = {name: _one(db, f"SELECT count(*) FROM tidegate.{name}") for name in names}
    cost = _one(db, "SELECT coalesce(sum(cost_nusd), 0)::bigint FROM tidegate.spools")
    read = {id: (segment, byte) for id, segment, byte in db.execute("SELECT id, segment, byte FROM tidegate.spools")}
    return Counted(_one(db, "SELECT version FROM tidegate.schema_version"), counts, cost, read)


def _one(db: Connection, sql: str) -> int:
    (found,) = db.execute(sql.encode()).fetchone() or (0,)
    return int(found)


def _program(name: str) -> str:
    """On the path, or where Debian keeps several; the newest."""
    newest = sorted(Path(DEBIAN).glob(f"*/bin/{name}"), key=lambda path: path.parts[-3].zfill(3))
    found = shutil.which(name) or (str(newest[-1]) if newest else None)
    if found is None:
        raise ConfigError(
            f"{name} is not here, and PostgreSQL is copied by its own tools: install the client of the server's "
            "version or a newer one (Debian and Ubuntu: apt-get install postgresql-client), and have it on the PATH"
        )
    return found


def _run(command: list[Any], url: str) -> None:
    """The password goes by the environment: whoever lists processes sees what stands in a command."""
    said: dict[str, Any] = dict(conninfo_to_dict(url))
    secret = {"PGPASSWORD": str(said.pop("password"))} if "password" in said else {}
    said.pop("application_name", None)
    ended = subprocess.run(
        [*map(str, command[:-1]), f"--dbname={make_conninfo(**said)}", str(command[-1])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **secret},
        check=False,
    )
    if ended.returncode:
        lines = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"{Path(command[0]).name} failed: {(lines or ['it said nothing'])[0][:300]}")


def _ill(wrong: psycopg.Error) -> ConfigError:
    return ConfigError(f"storage.database: {str(wrong).strip().partition(chr(10))[0]}")

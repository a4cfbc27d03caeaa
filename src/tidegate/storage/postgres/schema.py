"""Which tables are there? Numbered steps, each taken once, however many processes take them at the same moment.

An empty database is made ready by who comes first. One with rows is changed by `tidegate migrate` alone, as a step of
its own before a release starts: the release before must go on with what it finds then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import NamedTuple

import psycopg

from tidegate.core.errors import ConfigError
from tidegate.storage.postgres.lanes import Address, Connection, reason, refused

LOCK = 0x74_69_64_65_67_61_74_65  # "tidegate": whoever changes tables holds it, until its transaction ends
# The oldest release that may go on with the tables of this one, by the number it knows: steps since then only add.
OLDEST = 14
READ_ONLY = "storage.database: this server is a replica, or read-only; name the primary, which can be written to"


class Schema(NamedTuple):
    """How far a database is, and how far this release takes it."""

    version: int  # 0: it is empty
    known: int
    oldest: int  # the releases that know at least this number may use it
    steps: tuple[str, ...]  # names of those that are missing

    @property
    def trouble(self) -> str | None:
        """Why this release cannot serve from it, and what to do."""
        if self.version > self.known and self.known < self.oldest:
            return (
                f"the database was written by a newer Tidegate (schema {self.version}, here {self.known} is known): "
                "start that version or a later one, or restore the backup from before the upgrade"
            )
        if 0 < self.version < self.known:
            return (
                f"the database is of an older Tidegate (schema {self.version}, here {self.known} is needed): "
                "run `tidegate migrate` first; processes of the last release go on meanwhile"
            )
        return None


@contextmanager
def at(url: str, timeout_s: float, prepares: bool) -> Iterator[Migration]:
    """The tables behind `url`, for who changes them. Raises ConfigError."""
    address = Address(url, timeout_s, prepares)
    try:
        db = address.connect()
    except psycopg.Error as wrong:
        raise refused("storage.database", f"{address.name} does not answer: {reason(wrong)}") from None
    with db:
        yield Migration(db)


class Migration:
    """One connection, and what can be done to the tables."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def look(self) -> Schema:
        return look(self._db)

    def run(self) -> Schema:
        return migrate(self._db)


def look(db: Connection) -> Schema:
    """Changes nothing."""
    names = [name for name, _ in _texts("postgres")]
    version, oldest = 0, 0
    if db.execute("SELECT to_regclass('tidegate.schema_version')").fetchone() != (None,):
        row = db.execute("SELECT version, to_jsonb(v) ->> 'oldest' FROM tidegate.schema_version v").fetchone()
        assert row is not None
        version, oldest = row[0], int(row[1] or row[0])
    return Schema(version, len(names), oldest, tuple(names[version:]))


def ready(db: Connection) -> None:
    """Make the tables of an empty database. Raises ConfigError for one that is too old, or too new."""
    found = look(db)
    if found.trouble is not None:
        raise ConfigError(f"storage.database: {found.trouble}")
    if db.execute("SELECT current_setting('transaction_read_only')").fetchone() == ("on",):
        raise ConfigError(READ_ONLY)
    if found.version == 0:
        migrate(db)


def migrate(db: Connection) -> Schema:
    """Take the steps that are missing, all or none; returns what was there before. Raises ConfigError."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        found = look(db)
        if found.version > found.known:
            if found.trouble is not None:
                raise ConfigError(f"storage.database: {found.trouble}")
            return found
        bring_up_to_date(db)
        if found.version < found.known:
            db.execute("ALTER TABLE tidegate.schema_version ADD COLUMN IF NOT EXISTS oldest INTEGER")
            db.execute("UPDATE tidegate.schema_version SET oldest = %s", (OLDEST,))
    return found


def bring_up_to_date(db: Connection, steps: str = "postgres", versions: str = "schema_version") -> None:
    """Take the `steps` of this name that are not in `versions` yet.

    Raises ConfigError when this database cannot be used, and says what to do.

    A lock of the transaction and not of the session: behind PgBouncer there are no sessions.
    """
    texts = [text for _, text in _texts(steps)]
    try:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            version = _version(db, versions)
            if version > len(texts):
                raise ConfigError(
                    f"the database was written by a newer Tidegate (schema {version}, here {len(texts)} is known): "
                    "start that version or a later one, or restore the backup from before the upgrade"
                )
            for text in texts[version:]:
                db.execute(text)
            if version < len(texts):
                db.execute(f"UPDATE tidegate.{versions} SET version = %s".encode(), (len(texts),))
    except psycopg.errors.InsufficientPrivilege as wrong:
        raise ConfigError(
            f"storage.database: {str(wrong).partition(chr(10))[0]}; let this user create the schema tidegate "
            "(GRANT CREATE ON DATABASE … TO …), or create it for them (CREATE SCHEMA tidegate AUTHORIZATION …)"
        ) from wrong
    except psycopg.errors.ReadOnlySqlTransaction as wrong:
        raise ConfigError(READ_ONLY) from wrong


def _texts(steps: str) -> list[tuple[str, bytes]]:
    folder = files("tidegate.storage").joinpath("migrations", steps)
    return [(file.name, file.read_bytes()) for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def _version(db: Connection, versions: str) -> int:
    found = db.execute("SELECT to_regnamespace('tidegate'), to_regclass(%s)", (f"tidegate.{versions}",)).fetchone()
    assert found is not None
    if found[0] is None:  # asked first: creating it needs a right that its owner may lack, even if it is there
        db.execute("CREATE SCHEMA tidegate")
    if found[1] is None:
        db.execute(f"CREATE TABLE tidegate.{versions} (version INTEGER NOT NULL)".encode())
        db.execute(f"INSERT INTO tidegate.{versions} VALUES (0)".encode())
    row = db.execute(f"SELECT version FROM tidegate.{versions}".encode()).fetchone()
    assert row is not None
    version: int = row[0]
    return version

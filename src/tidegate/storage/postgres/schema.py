"""Which tables are there? Numbered steps, each taken once, however many processes start at the same moment."""

from __future__ import annotations

from importlib.resources import files

import psycopg

from tidegate.core.errors import ConfigError
from tidegate.storage.postgres.lanes import Connection

LOCK = 0x74_69_64_65_67_61_74_65  # "tidegate": whoever changes tables holds it, until its transaction ends


def bring_up_to_date(db: Connection, steps: str = "postgres", versions: str = "schema_version") -> None:
    """Take the `steps` of this name that are not in `versions` yet.

    Raises ConfigError when this database cannot be used, and says what to do.

    A lock of the transaction and not of the session: behind PgBouncer there are no sessions.
    """
    folder = files("tidegate.storage").joinpath("migrations", steps)
    texts = [file.read_bytes() for file in sorted(folder.iterdir(), key=lambda file: file.name)]
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

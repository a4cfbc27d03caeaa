"""How do many rows go to PostgreSQL in one statement? Column by column, each written as one array.

What the driver does with each value by itself cost more than all else that the writer of rows does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

KINDS = {int: "bigint", str: "text", bytes: "bytea"}


def unnest(types: Sequence[str]) -> str:
    """One array to a column: any number of rows in one statement, which is always the same."""
    return f"unnest({', '.join(f'%s::{kind}[]' for kind in types)})"


def columns(rows: Sequence[Sequence[Any]], types: Sequence[str]) -> list[str]:
    """What `unnest` is given."""
    return [_WRITTEN[kind]([row[at] for row in rows]) for at, kind in enumerate(types)]


def together(db: Any, sql: bytes, rows: Sequence[Sequence[Any]]) -> None:
    """What `executemany` does, in one statement. `sql` is an INSERT of the values of one row, of which none is NULL,
    and no two of `rows` may be about the same row of the table."""
    if rows:
        types = [KINDS[type(value)] for value in rows[0]]
        before, _, behind = sql.partition(b"VALUES (")
        db.execute(before + f"SELECT * FROM {unnest(types)}".encode() + behind.partition(b")")[2], columns(rows, types))


def _numbers(column: Sequence[int | None]) -> str:
    return f"{{{','.join(map(str, column))}}}".replace("None", "NULL")


def _texts(column: Sequence[str | None]) -> str:
    said = "".join(filter(None, column))
    if '"' in said or "\\" in said:
        column = [text and text.replace("\\", "\\\\").replace('"', '\\"') for text in column]
    return _array(["NULL" if text is None else f'"{text}"' for text in column])


def _bytes(column: Sequence[bytes | None]) -> str:
    return _array(["NULL" if value is None else f'"\\\\x{value.hex()}"' for value in column])


def _array(values: Sequence[str]) -> str:
    return f"{{{','.join(values)}}}"


_WRITTEN: dict[str, Callable[[Sequence[Any]], str]] = {
    **{"bigint": _numbers, "integer": _numbers, "text": _texts, "bytea": _bytes},
}

"""Whatever is in rows, PostgreSQL reads it from their columns as it was."""

from __future__ import annotations

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.storage.postgres.arrays import columns, together, unnest

TYPES = ("bigint", "text", "bytea")
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = (NUMBERS, WORDS | st.sampled_from(["", "NULL", '"', "\\", "{a,b}", " "]), st.binary())


def test_whatever_they_hold_columns_are_read_as_they_were(postgres: str):
    with psycopg.connect(postgres, autocommit=True) as db:

        @settings(max_examples=100, deadline=None)
        @given(st.lists(st.tuples(*(st.none() | values for values in VALUES))))
        def check(rows: list[tuple[object, ...]]) -> None:
            found = db.execute(f"SELECT * FROM {unnest(TYPES)}".encode(), columns(rows, TYPES)).fetchall()
            assert found == rows

        check()


def test_what_is_put_together_is_what_was_put_one_by_one(postgres: str):
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE TABLE one (id bigint PRIMARY KEY, word text, body bytea)")
        put = b"INSERT INTO one AS o (id, word, body) VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET word = o.word"
        rows = [(at, f"word {at}", b"\0\\x") for at in range(100)]
        together(db, put, rows)
        together(db, put, [(1, "late", b"")])
        together(db, put, [])
        assert db.execute("SELECT * FROM one ORDER BY id").fetchall() == rows

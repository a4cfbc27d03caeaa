"""A database of its own for several machines: made once, asked in time, and away without taking anything with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import trustme

from tests.clock import now_s
from tests.house import until
from tests.parts import debian
from tests.postgres import Server, pgbouncer
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Key, StoreDown, Team
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.postgres.keyring import PostgresKeyring
from tidegate.storage.postgres.lanes import REST_S

Open = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
async def open_store(told: list[str]) -> AsyncIterator[Open]:
    opened = []

    async def open_store(url: str, **options: Any) -> PostgresStore:
        opened.append(await PostgresStore.open(url, lambda name, fields: told.append(name), **options))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.aclose()


def key(id: str) -> Key:
    return Key(id=id, name="ci", env="live", digest=b"\0" * 32, pepper_version=1, created_ms=1)


async def refusal(open_store: Open, url: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        await open_store(url, **options)
    return refused.value.message


# --- its tables


async def test_many_that_start_at_once_make_the_tables_once(open_store, postgres):
    stores = await asyncio.gather(*(open_store(postgres, connections=1) for _ in range(6)))
    await asyncio.gather(*(store.add(key(f"k{n}")) for n, store in enumerate(stores)))
    assert len(await stores[0].every(Key)) == 6
    with psycopg.connect(postgres) as db:
        assert db.execute("SELECT count(*) FROM tidegate.schema_version").fetchone() == (1,)


async def test_what_others_keep_in_the_database_is_left_alone(open_store, postgres):
    with psycopg.connect(postgres) as db:
        db.execute("CREATE TABLE keys (id TEXT)")
    store = await open_store(postgres)
    await store.add(key("a"))
    with psycopg.connect(postgres) as db:
        assert db.execute("SELECT count(*) FROM keys").fetchone() == (0,)


async def test_a_database_of_a_newer_tidegate_is_refused(open_store, postgres):
    await open_store(postgres)
    with psycopg.connect(postgres) as db:
        db.execute("UPDATE tidegate.schema_version SET version = 99, oldest = 99")
    assert "written by a newer Tidegate (schema 99, here" in await refusal(open_store, postgres)


async def test_a_database_of_an_older_tidegate_is_changed_by_migrate_and_by_nothing_else(open_store, postgres):
    await open_store(postgres)
    with psycopg.connect(postgres) as db:
        db.execute("UPDATE tidegate.schema_version SET version = version - 1")
    assert "run `tidegate migrate` first" in await refusal(open_store, postgres)


async def test_a_release_goes_on_with_the_tables_of_the_next_one_where_they_say_so(open_store, postgres):
    await open_store(postgres)
    with psycopg.connect(postgres) as db:
        db.execute("UPDATE tidegate.schema_version SET oldest = version, version = version + 2")
    await (await open_store(postgres)).add(key("a"))


async def test_a_server_that_only_reads_is_refused(open_store, postgres):
    await open_store(postgres)
    assert "name the primary" in await refusal(open_store, f"{postgres}?options=-cdefault_transaction_read_only%3Don")


async def test_a_user_who_may_not_make_tables_is_told_what_to_grant(open_store, postgres):
    name = postgres.rpartition("/")[2]
    with psycopg.connect(postgres) as db:
        db.execute(f"CREATE USER u{name}".encode())
    url = postgres.replace("postgres@", f"u{name}@")
    assert "GRANT CREATE ON DATABASE" in await refusal(open_store, url)
    with psycopg.connect(postgres) as db:
        db.execute(f"CREATE SCHEMA tidegate AUTHORIZATION u{name}".encode())
    await (await open_store(url)).add(key("a"))
    with psycopg.connect(postgres) as db:
        db.execute(f"DROP OWNED BY u{name} CASCADE; DROP USER u{name}".encode())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://127.0.0.1:1/x", "it must be there when Tidegate starts"),
        ("postgresql://u:p%zz@h/x", "cannot be read as an address"),
        ("postgresql://u:secret@h:port/x", "cannot be read as an address"),
        ("postgresql://u:a@secret@h/x", "cannot be read as an address"),
        ("postgresql://u:secret/b@h/x", "cannot be read as an address"),
        ("postgresql://u:1/secret@h/x", "cannot be read as an address"),
        ("postgresql://u:secret@127.0.0.1:1/x?sslmode=often", "invalid sslmode"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_told_without_its_password(open_store, url, words):
    said = await refusal(open_store, url)
    assert said.startswith("storage.database: ") and words in said
    assert "secret" not in said and "p%zz" not in said


async def test_a_standby_is_refused(open_store, postgres_server: Server):
    url = postgres_server.new_database()
    await (await open_store(url)).aclose()
    await asyncio.to_thread(postgres_server.stop)
    (postgres_server.folder / "data" / "standby.signal").touch()
    await asyncio.to_thread(postgres_server.start)
    assert "name the primary" in await refusal(open_store, url)
    with pytest.raises(ConfigError, match=r"vault\.keyring: .*name the primary"):
        await asyncio.to_thread(PostgresKeyring, url)


async def test_a_user_and_its_password_that_are_not_right_are_told(open_store, postgres_server: Server):
    url = postgres_server.new_database()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE USER ada PASSWORD 'right'")
        hba = postgres_server.folder / "data" / "pg_hba.conf"
        hba.write_text("host all ada 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n")
        db.execute("SELECT pg_reload_conf()")
        await until(lambda: _rules(db) == 2)
    for entry, todo in (
        ("ada:secret", "write its user and password into the URL anew"),
        ("ada", "write its user and password into the URL anew"),
        ("eve:secret", "let this user in from here (pg_hba.conf), or add sslmode=require to the URL"),
    ):
        said = await refusal(open_store, url.replace("postgres@", f"{entry}@"))
        assert said.startswith("storage.database: the database 127.0.0.1:") and said.endswith(f"; {todo}")
        assert "secret" not in said
    nowhere = f"{url.rpartition('/')[0]}/nowhere"
    assert (await refusal(open_store, nowhere)).endswith('database "nowhere" does not exist; make it, or name another')


def _rules(db: psycopg.Connection[Any]) -> int:
    row = db.execute("SELECT count(*) FROM pg_hba_file_rules").fetchone()
    assert row is not None
    return int(row[0])


@debian("pgbouncer")
async def test_a_certificate_that_is_not_good_is_told(open_store, postgres_cluster: Server, postgres: str, tmp_path):
    authority, elsewhere = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for shown in (
        authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1)),
        authority.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=1)),
        elsewhere.issue_cert("127.0.0.1"),
    ):
        with pgbouncer(postgres_cluster.port, shown=shown) as port:
            name = f"{postgres.rpartition('/')[2]}?sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}"
            said = await refusal(open_store, f"postgresql://postgres:secret@127.0.0.1:{port}/{name}")
        assert "certificate" in said and "renew the server's certificate, or name the file" in said
        assert "secret" not in said


async def test_a_busy_key_is_looked_up_once_for_all_and_who_leaves_takes_nothing_along(
    open_store, postgres: str, monkeypatch
):
    store = await open_store(postgres)
    await store.add(key("a"))
    asked, ask = [], store._lanes.ask

    async def counted(*of: Any, **how: Any) -> Any:
        asked.append(True)
        return await ask(*of, **how)

    monkeypatch.setattr(store._lanes, "ask", counted)
    looking = [asyncio.ensure_future(store.bearer("a")) for _ in range(30)]
    await asyncio.sleep(0)
    looking[0].cancel()
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert [type(one).__name__ for one in found] == ["CancelledError", *["Bearer"] * 29] and len(asked) == 1
    assert (await store.bearer("a")).key == key("a") and len(asked) == 2, "the next who asks is answered anew"


# --- when it is away


async def known_key(store: PostgresStore) -> None:
    await store.add(key("a"))
    assert await store.bearer("a") is not None


async def test_a_server_that_was_started_again_is_not_noticed(open_store, postgres_server: Server, told):
    store = await open_store(postgres_server.new_database())
    await known_key(store)
    postgres_server.stop()
    postgres_server.start()
    assert await store.bearer("b") is None
    assert told == []


async def test_keys_that_are_known_stay_known_while_it_is_away_and_others_are_told(
    open_store, postgres_server: Server, told
):
    store = await open_store(postgres_server.new_database())
    await known_key(store)
    postgres_server.stop()
    assert (await store.bearer("a")).key == key("a")
    with pytest.raises(StoreDown, match="did not answer just now"):
        await store.bearer("b")
    with pytest.raises(StoreDown):
        await store.every(Key)
    postgres_server.start()
    await asyncio.sleep(REST_S)  # nobody asks before
    assert await store.bearer("b") is None
    assert told == ["store_down", "store_back"]


async def test_a_server_that_hangs_costs_a_moment_and_then_none(open_store, postgres_server: Server):
    store = await open_store(postgres_server.new_database(), timeout_s=2)
    await known_key(store)
    postgres_server.freeze()
    try:
        began = now_s()
        assert (await store.bearer("a")).key.id == "a"
        first_s = now_s() - began
        for _ in range(100):
            assert (await store.bearer("a")).key.id == "a"
        assert first_s < 1.0 and now_s() - began - first_s < 0.5
    finally:
        postgres_server.thaw()
    async with asyncio.timeout(60):
        while True:  # it is asked again by and by
            try:
                assert await store.find(Team, "x") is None
                break
            except StoreDown:
                await asyncio.sleep(0.1)


async def test_what_was_changed_here_is_not_remembered_as_it_was(open_store, postgres_server: Server):
    store = await open_store(postgres_server.new_database())
    await known_key(store)
    await store.change(key("a"), revoked_ms=5)
    postgres_server.stop()
    with pytest.raises(StoreDown):
        await store.bearer("a")


async def test_closing_ends_its_threads_and_connections(open_store, postgres):
    store = await open_store(postgres)
    await store.add(key("a"))
    await store.aclose()
    with psycopg.connect(postgres) as db:
        here = "application_name = 'tidegate' AND datname = current_database()"
        async with asyncio.timeout(30):
            while db.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {here}".encode()).fetchone() != (0,):
                await asyncio.sleep(0.01)
    with pytest.raises(StoreDown, match="closed"):
        await store.find(Key, "a")

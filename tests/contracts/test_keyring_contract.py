"""Any keyring keeps wrapped keys in the same way, and what was destroyed is nowhere."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tidegate.core.ports import Keyring, Wrapped
from tidegate.storage.postgres.keyring import PostgresKeyring
from tidegate.storage.vault.keyring import MemoryKeyring, SqliteKeyring

ADAPTERS: dict[str, Callable[[pytest.FixtureRequest, Path], Keyring]] = {
    "memory": lambda request, folder: MemoryKeyring(),
    "sqlite": lambda request, folder: SqliteKeyring(folder),
    "postgres": lambda request, folder: PostgresKeyring(request.getfixturevalue("postgres")),
}


@pytest.fixture(params=ADAPTERS)
def keyring(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keyring]:
    keyring = ADAPTERS[request.param](request, tmp_path)
    yield keyring
    keyring.close()


def key(id: str, **fields: object) -> Wrapped:
    plain = Wrapped(id, f"lookup {id}".encode(), "acme", "k1", bytes(range(256)), 1_790_000_000_123, b"\x01name")
    return msgspec.structs.replace(plain, **fields)


def test_a_key_comes_back_as_it_was_by_its_id_and_by_whose_it_is(keyring):
    assert keyring.add(key("a")) == [key("a")]
    assert keyring.find("a") == keyring.of(b"lookup a")[0] == key("a")
    assert keyring.find("b") is None and keyring.of(b"lookup b") == []


def test_of_two_that_come_for_the_same_the_first_stays(keyring):
    keyring.add(key("a"))
    assert keyring.add(key("b", lookup=b"lookup a"), key("c")) == [key("a"), key("c")]
    assert keyring.find("b") is None


def test_of_many_that_come_at_once_all_get_the_same(keyring):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: keyring.add(key(f"{n}", lookup=b"one"))[0].id, range(24)))
    assert len(set(found)) == 1


def test_a_key_is_rewrapped_once(keyring):
    keyring.add(key("a"))
    assert [one.id for one in keyring.under_others("k2", 10)] == ["a"]
    assert keyring.rewrap(key("a"), "k2", b"new")
    assert not keyring.rewrap(key("a"), "k3", b"newer")
    assert keyring.find("a") == key("a", kek="k2", sealed=b"new")
    assert keyring.under_others("k2", 10) == []


def test_what_was_destroyed_is_gone_and_known_to_be(keyring):
    keyring.add(key("a"))
    assert not keyring.was_destroyed("a")
    assert keyring.destroy("a", 5)
    assert keyring.find("a") is None and keyring.of(b"lookup a") == [] and keyring.was_destroyed("a")
    assert not keyring.destroy("a", 6)


def test_keys_are_counted_by_what_they_are_sealed_under_and_tenants_named(keyring):
    for id, kek, tenant in (("a", "k1", "acme"), ("b", "k1", "default"), ("c", "k2", "acme")):
        keyring.add(key(id, kek=kek, tenant=tenant))
    assert keyring.count() == {"k1": 2, "k2": 1}
    assert list(keyring.tenants()) == ["acme", "default"]


def test_a_sqlite_keyring_overwrites_what_it_destroys(tmp_path):
    keyring = SqliteKeyring(tmp_path)
    keyring.add(key("a", sealed=b"PLANTED" * 9))
    assert b"PLANTED" in keyring.path.read_bytes()
    keyring.destroy("a", 1)
    assert [file.name for file in tmp_path.iterdir() if b"PLANTED" in file.read_bytes()] == []
    keyring.close()


def test_a_postgres_keyring_connects_again(postgres_server, postgres):
    keyring = PostgresKeyring(postgres)
    keyring.add(key("a"))
    postgres_server.stop()
    postgres_server.start()
    assert keyring.find("a") == key("a")
    keyring.close()

"""What is sealed is good in its place, under its key, for whom it is about; and nowhere else."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.vault import vectors
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Erased, Place, Subject
from tidegate.core.values import Secret
from tidegate.storage.vault import PlainVault
from tidegate.storage.vault.envelope import HEAD, EnvelopeVault
from tidegate.storage.vault.kek import Keks, load_keks
from tidegate.storage.vault.keyring import MemoryKeyring, SqliteKeyring
from tidegate.storage.vault.rotation import rotate

KEK, OTHER = bytes(range(32)), bytes(range(1, 33))
ROW = Place("calls", "req_1", "row", "acme", "ann")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def keyring() -> Iterator[MemoryKeyring]:
    keyring = MemoryKeyring()
    yield keyring
    keyring.close()


@pytest.fixture
def vault(keyring: MemoryKeyring) -> EnvelopeVault:
    return EnvelopeVault(keyring, Keks([KEK]))


@pytest.mark.parametrize("place", [ROW, Place("spool"), Place("cache", "00ff", "body"), ROW._replace(subject="")])
@pytest.mark.parametrize("plain", [b"", b"\0", bytes(range(256)) * 40], ids=len)
def test_what_goes_in_comes_out(vault, plain, place):
    sealed = vault.seal(plain, place)
    assert sealed[:1] == b"\x01" and len(sealed) == HEAD + len(plain) + 16
    assert vault.unseal(sealed, place) == plain


def test_nothing_is_sealed_the_same_way_twice(vault):
    assert len({vault.seal(b"the same", ROW) for _ in range(1000)}) == 1000


def test_another_process_reads_it(vault, keyring):
    sealed = vault.seal(b"hello", ROW)
    assert EnvelopeVault(keyring, Keks([KEK])).unseal(sealed, ROW) == b"hello"


@pytest.mark.parametrize(
    "elsewhere",
    [
        ROW._replace(table="bodies"),
        ROW._replace(row="req_2"),
        ROW._replace(column="personal"),
        ROW._replace(tenant="evil"),
        Place("callsr", "eq_1", "row", "acme", "ann"),
    ],
    ids=["table", "row", "column", "tenant", "a border moved"],
)
def test_what_was_moved_to_another_place_is_not_read(vault, elsewhere):
    with pytest.raises(ValueError, match="another"):
        vault.unseal(vault.seal(b"hello", ROW), elsewhere)


def test_two_people_cannot_be_swapped(vault):
    hers, his = vault.seal(b"hers", ROW), vault.seal(b"his", ROW._replace(row="req_2", subject="bob"))
    for sealed, place in ((his, ROW), (hers, ROW._replace(row="req_2", subject="bob"))):
        with pytest.raises(ValueError, match="another place"):
            vault.unseal(sealed, place)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_bit_that_is_changed_is_seen(at, bit):
    vault = EnvelopeVault(MemoryKeyring(), Keks([KEK]))
    sealed = bytearray(vault.seal(b"x" * 64, ROW))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(ValueError):
        vault.unseal(bytes(sealed), ROW)


@pytest.mark.parametrize("length", range(0, HEAD + 20, 7))
def test_what_was_cut_short_is_seen(vault, length):
    with pytest.raises(ValueError):
        vault.unseal(vault.seal(b"hello", ROW)[:length], ROW)


def test_what_was_stored_before_there_was_a_key_is_read_where_it_may_be(vault, keyring):
    old = PlainVault().seal(b"old", ROW)
    assert EnvelopeVault(keyring, Keks([KEK]), plain=True).unseal(old, ROW) == b"old"
    with pytest.raises(ValueError, match=r"vault\.plain"):
        vault.unseal(old, ROW)


def test_a_salt_is_changed_when_it_was_used_too_often(vault):
    key = vault._key("acme", "ann")
    before = vault.seal(b"a", ROW)
    key._left = 0
    after = vault.seal(b"a", ROW)
    assert before[:11] == after[:11] and before[11:27] != after[11:27]
    assert vault.unseal(before, ROW) == vault.unseal(after, ROW) == b"a"


# --- names


def test_an_alias_is_drawn_by_lot_and_stays_while_the_key_does(vault):
    alias = vault.subject("acme", "ann")
    assert vault.subject("acme", "ann") == alias != vault.subject("acme", "bob") != vault.subject("other", "ann")
    assert vault.name(alias) == "ann" and "ann" not in alias
    assert vault.subjects("ann") == [Subject("acme", alias), Subject("other", vault.subject("other", "ann"))]


def test_equal_words_are_found_and_differ_under_another_key(vault):
    assert vault.word("session 7") == vault.word("session 7") != vault.word("session 8")
    assert vault.word("session 7") != EnvelopeVault(MemoryKeyring(), Keks([KEK])).word("session 7")


# --- erasing


def test_what_was_erased_is_unreadable_and_nobody_elses(vault):
    hers, his = vault.seal(b"hers", ROW), vault.seal(b"his", ROW._replace(subject="bob"))
    alias = vault.subject("acme", "ann")
    assert vault.erase(Subject("acme", alias))
    with pytest.raises(Erased):
        vault.unseal(hers, ROW)
    assert vault.unseal(his, ROW._replace(subject="bob")) == b"his"
    assert vault.name(alias) == alias
    assert vault.subject("acme", "ann") != alias  # whoever comes by that name again is somebody new


def test_another_process_forgets_within_a_minute(vault, keyring):
    clock = Clock()
    other = EnvelopeVault(keyring, Keks([KEK]), now_s=clock)
    sealed = other.seal(b"hers", ROW)
    vault.erase(Subject("acme", vault.subject("acme", "ann")))
    clock.now_s = 61.0
    with pytest.raises(Erased):
        other.unseal(sealed, ROW)


def test_a_keyring_that_is_another_one_is_told_from_an_erasure(vault):
    sealed = vault.seal(b"hello", ROW)
    with pytest.raises(ValueError, match="is it the one") as wrong:
        EnvelopeVault(MemoryKeyring(), Keks([KEK])).unseal(sealed, ROW)
    assert not isinstance(wrong.value, Erased)


# --- key-encrypting keys


def test_rotating_seals_every_key_anew_and_what_they_seal_stays_readable(vault, keyring):
    sealed = [vault.seal(b"%d" % n, ROW._replace(subject=f"user {n}")) for n in range(1200)]
    steps = list(rotate(keyring, Keks([KEK, OTHER])))
    assert len(steps) == 3 and steps[-1] == (1202, 0)  # and the two of the house
    only_new = EnvelopeVault(keyring, Keks([OTHER]))
    assert [only_new.unseal(one, ROW) for one in sealed] == [b"%d" % n for n in range(1200)]
    assert list(rotate(keyring, Keks([KEK, OTHER]))) == []


def test_without_the_key_that_sealed_the_keys_nothing_starts(vault, keyring):
    vault.seal(b"x", ROW)
    with pytest.raises(ConfigError, match="put the one that it was sealed under back"):
        EnvelopeVault(keyring, Keks([OTHER]))


def test_a_key_in_anothers_place_of_the_keyring_is_seen(vault, keyring):
    sealed = vault.seal(b"hers", ROW)
    vault.seal(b"his", ROW._replace(subject="bob"))
    ann, bob = (keyring.find(vault.subject("acme", name)) for name in ("ann", "bob"))
    keyring.rewrap(ann, ann.kek, bob.sealed)
    with pytest.raises(ValueError, match="another's place"):
        EnvelopeVault(keyring, Keks([KEK])).unseal(sealed, ROW)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("00" * 16, "must be 32 bytes, 64 hex digits, and not 16"),
        ("not a key", "is neither hex nor base64"),
        ("exec:/nowhere/kms", "cannot be run: FileNotFoundError"),
        ("exec:sh -c 'echo denied >&2; exit 3'", "ended with 3: denied"),
        ("exec:echo 0011", "must be 32 bytes, 64 hex digits, and not 2"),
    ],
)
def test_a_key_that_is_none_is_an_error_that_says_which_and_shows_nothing(value, said):
    with pytest.raises(ConfigError) as wrong:
        load_keks([Secret("00" * 32), Secret(value, "env:KEK")])
    assert "vault.keys[1]" in wrong.value.message and said in wrong.value.message


@pytest.mark.parametrize("value", [KEK.hex(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", f"exec:echo {KEK.hex()}"])
def test_a_key_is_hex_or_base64_or_what_a_command_prints(value):
    assert load_keks([Secret(value)]).fingerprints == Keks([KEK]).fingerprints


def test_a_backup_of_all_but_the_keyring_has_no_key(tmp_path: Path):
    keyring = SqliteKeyring(tmp_path / "keys")
    vault = EnvelopeVault(keyring, Keks([KEK]))
    sealed = vault.seal(b"PLANTED", ROW)
    (tmp_path / "row").write_bytes(sealed)
    vault.erase(Subject("acme", vault.subject("acme", "ann")))
    keyring.close()
    again = SqliteKeyring(tmp_path / "keys")
    with pytest.raises(Erased):
        EnvelopeVault(again, Keks([KEK])).unseal((tmp_path / "row").read_bytes(), ROW)
    again.close()


def test_many_threads_seal_and_unseal_at_once(vault):
    chance = random.Random(7)

    def work(n: int) -> bool:
        place = ROW._replace(row=f"{n}", subject=f"user {n % 5}")
        return vault.unseal(vault.seal(b"%d" % n, place), place) == b"%d" % n

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, [chance.randrange(10_000) for _ in range(400)]))


# --- vectors of others


@pytest.mark.parametrize("one", vectors.AES_256_GCM, ids=lambda one: one.name)
def test_aes_gcm_is_what_others_say_it_is(one):
    key, iv, aad, msg, ct, tag = (bytes.fromhex(part) for part in one[1:])
    assert AESGCM(key).encrypt(iv, msg, aad or None) == ct + tag
    assert AESGCM(key).decrypt(iv, ct + tag, aad or None) == msg
    for at in range(16):
        wrong = bytearray(ct + tag)
        wrong[len(ct) + at] ^= 0x80
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(iv, bytes(wrong), aad or None)


@pytest.mark.parametrize("one", vectors.ED25519, ids=lambda one: f"{one.tc}")
def test_ed25519_is_what_others_say_it_is(one):
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vectors.ED25519_KEY))
    if one.valid:
        key.verify(bytes.fromhex(one.sig), bytes.fromhex(one.msg))
    else:
        with pytest.raises(InvalidSignature):
            key.verify(bytes.fromhex(one.sig), bytes.fromhex(one.msg))


def test_nonces_come_from_the_system(vault, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "urandom", lambda size: asked.append(size) or bytes([len(asked)]) * size)
    sealed = vault.seal(b"x", Place("spool"))
    assert asked == [12] and sealed[27:39] == b"\x01" * 12

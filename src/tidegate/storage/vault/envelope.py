"""How are bytes sealed? AES-256-GCM, under a key for each tenant and end user, bound to the place where they stand.

What is stored begins with 1, then: the key's id (10 bytes), a salt (16), the nonce (12), the ciphertext with its tag.
No key is used itself: each process derives its own from key and salt, and takes another salt after 2³² uses, so that
nonces drawn by lot stay good for as long as anybody likes. See docs/decisions/0019-vault.md.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.core.errors import ConfigError
from tidegate.core.ports import Erased, Keyring, Place, Subject, Wrapped
from tidegate.storage.vault import PLAIN
from tidegate.storage.vault.kek import LENGTH, Keks

SEALED = b"\x01"
ID, SALT, NONCE = 10, 16, 12
HEAD = 1 + ID + SALT + NONCE
USES = 2**32  # of one derived key: NIST SP 800-38D for nonces drawn by lot
KNOWN_S = 60.0  # a key that another process has destroyed is known here for so long
MOST_KNOWN = 10_000
MOST_DERIVED = 64  # of one key: by the salts of as many processes

# The house's own keys, which are always at hand.
HOUSE, INDEX = b"house", b"index"
_AAD = msgspec.msgpack.Encoder().encode


class DataKey:
    """A key, unwrapped, and those derived from it."""

    def __init__(self, wrapped: Wrapped, secret: bytes) -> None:
        self.id = wrapped.id
        self.tenant = wrapped.tenant
        self.wrapped = wrapped
        self._secret = secret
        self._derived: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._lock = threading.Lock()
        self._new_salt()

    def _new_salt(self) -> None:
        self._salt = os.urandom(SALT)
        self._own = self._derive(self._salt)
        self._head = SEALED + bytes.fromhex(self.id) + self._salt
        self._left = USES

    def _derive(self, salt: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._secret, b"seal" + salt, "sha256"))

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        self._left -= 1
        if self._left < 0:
            with self._lock:
                self._new_salt()
        nonce = os.urandom(NONCE)
        return self._head + nonce + self._own.encrypt(nonce, plain, aad)

    def unseal(self, stored: bytes, aad: bytes) -> bytes:
        """Raises ValueError."""
        salt, nonce = stored[1 + ID : 1 + ID + SALT], stored[1 + ID + SALT : HEAD]
        with self._lock:
            one = self._own if salt == self._salt else self._derived.get(salt)
            if one is None:
                one = self._derived[salt] = self._derive(salt)
                if len(self._derived) > MOST_DERIVED:
                    self._derived.popitem(last=False)
        try:
            return one.decrypt(nonce, stored[HEAD:], aad)
        except (InvalidTag, ValueError):
            raise ValueError("sealed bytes were changed, or stand in another place than they were sealed for") from None

    def hash(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, b"find" + text, "sha256")


class EnvelopeVault:
    """A Vault. Any thread may use it; only what has no tenant is at hand at once."""

    seals = True

    def __init__(
        self, keyring: Keyring, keks: Keks, *, plain: bool = False, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ConfigError when the keyring's keys are sealed under none of `keks`."""
        self._keyring = keyring
        self._keks = keks
        self._plain = plain
        self._now_s = now_s
        self._lock = threading.Lock()  # of the next two
        self._by_lookup: OrderedDict[bytes, tuple[float, DataKey]] = OrderedDict()
        self._by_id: dict[str, DataKey] = {}
        self._house = self._own(HOUSE)
        self._index = self._own(INDEX)

    def _own(self, lookup: bytes) -> DataKey:
        try:
            return self._make({lookup: ("", "")})[0]
        except ValueError as wrong:
            raise ConfigError(f"vault: {wrong}") from None

    # --- sealing

    def seal(self, plain: bytes, place: Place) -> bytes:
        key = self._key(place.tenant, place.subject) if place.tenant else self._house
        return key.seal(plain, _aad(place, key))

    def unseal(self, stored: bytes, place: Place) -> bytes:
        kind = stored[:1]
        if kind == PLAIN and self._plain:
            return stored[1:]
        if kind == PLAIN:
            raise ValueError("plain bytes, and only sealed ones are read; vault.plain: true reads what is from before")
        if kind != SEALED or len(stored) < HEAD:
            raise ValueError(f"bytes sealed in format {kind.hex() or 'none'}, which this vault does not know")
        id = stored[1 : 1 + ID].hex()
        key = self._house if id == self._house.id else self._find(id)
        if place.tenant and place.tenant != key.tenant:
            raise ValueError("sealed bytes of another tenant")
        return key.unseal(stored, _aad(place, key))

    # --- names

    def subject(self, tenant: str, name: str) -> str:
        return self._key(tenant, name).id

    def subjects(self, name: str) -> list[Subject]:
        found = self._keyring.of(*(self._lookup(tenant, name) for tenant in self._keyring.tenants() if tenant))
        return [Subject(one.tenant, one.id) for one in found]

    def name(self, subject: str) -> str:
        try:
            key = self._find(subject)
            return key.unseal(key.wrapped.name, _NAME).decode() if key.wrapped.name else subject
        except ValueError:
            return subject

    def word(self, text: str) -> str:
        return self._index.hash(text.encode("utf-8", "surrogatepass"))[:10].hex()

    def erase(self, subject: Subject) -> bool:
        key = self._keyring.find(subject.alias)
        with self._lock:
            self._by_id.pop(subject.alias, None)
            if key is not None:
                self._by_lookup.pop(key.lookup, None)
        return self._keyring.destroy(subject.alias, time.time_ns() // 1_000_000)

    # --- keys

    def _lookup(self, tenant: str, name: str) -> bytes:
        return self._index.hash(_AAD((tenant, name)))

    def _key(self, tenant: str, name: str) -> DataKey:
        """Made when there is none."""
        lookup = self._lookup(tenant, name)
        with self._lock:
            known = self._by_lookup.get(lookup)
        if known is not None and self._now_s() < known[0]:
            return known[1]
        return self._make({lookup: (tenant, name)})[0]

    def expect(self, people: Iterable[tuple[str, str]]) -> None:
        wanted = {self._lookup(tenant, name): (tenant, name) for tenant, name in people}
        with self._lock:
            now_s = self._now_s()
            for lookup in [one for one in wanted if one in self._by_lookup and now_s < self._by_lookup[one][0]]:
                del wanted[lookup]
        self._make(wanted)

    def _make(self, wanted: Mapping[bytes, tuple[str, str]]) -> list[DataKey]:
        """Their keys, by lookup; made where there are none."""
        if not wanted:
            return []
        found = self._keyring.of(*wanted)
        missing = wanted.keys() - {one.lookup for one in found}
        if missing:
            found += self._keyring.add(*[self._new(lookup, *wanted[lookup]) for lookup in missing])
        return [self._know(one) for one in found]

    def _new(self, lookup: bytes, tenant: str, name: str) -> Wrapped:
        id, secret, kek = os.urandom(ID).hex(), os.urandom(LENGTH), self._keks.last
        sealed = kek.wrap(id, lookup, tenant, secret)
        bare = Wrapped(id, lookup, tenant, kek.fingerprint, sealed, time.time_ns() // 1_000_000)
        if not name:
            return bare
        return msgspec.structs.replace(bare, name=DataKey(bare, secret).seal(name.encode("utf-8", "replace"), _NAME))

    def _find(self, id: str) -> DataKey:
        """Raises Erased, ValueError."""
        with self._lock:
            key = self._by_id.get(id)
            known = self._by_lookup.get(key.wrapped.lookup) if key is not None else None
        if key is not None and known is not None and known[1] is key and self._now_s() < known[0]:
            return key
        wrapped = self._keyring.find(id)
        if wrapped is None:
            if self._keyring.was_destroyed(id):
                raise Erased("the key of these bytes was destroyed")
            raise ValueError(f"no key {id} in the keyring: is it the one that these bytes were sealed with?")
        return self._know(wrapped)

    def _know(self, wrapped: Wrapped) -> DataKey:
        with self._lock:
            known = self._by_lookup.get(wrapped.lookup)
            if known is not None and known[1].id == wrapped.id:
                key = known[1]
            else:
                key = DataKey(wrapped, self._keks.unwrap(wrapped))
            self._by_lookup[wrapped.lookup] = (self._now_s() + KNOWN_S, key)
            self._by_lookup.move_to_end(wrapped.lookup)
            self._by_id[key.id] = key
            if len(self._by_lookup) > MOST_KNOWN:
                _, (_, old) = self._by_lookup.popitem(last=False)
                self._by_id.pop(old.id, None)
        return key


_NAME = _AAD(("keyring", "name"))


def _aad(place: Place, key: DataKey) -> bytes:
    """Where, whose, and under which key: no two places have the same."""
    return _AAD((1, place.table, key.tenant, place.row, place.column, key.id))

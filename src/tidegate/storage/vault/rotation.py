"""How does one key-encrypting key follow another? Keys are sealed anew in small steps, while everything goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tidegate.core.ports import Keyring
from tidegate.storage.vault.kek import Keks

BATCH = 500
PAUSE_S = 0.02  # between two steps, so that keys which are to be made have their turn


def rotate(keyring: Keyring, keks: Keks) -> Iterator[tuple[int, int]]:
    """Seal all keys under the last of `keks`; after each step, how many are done and how many are left.

    Nothing that they have sealed is touched, and who knows a key goes on. Raises ValueError for a key that none of
    `keks` opens; what was done until then is done.
    """
    last, done = keks.last, 0
    while waiting := keyring.under_others(last.fingerprint, BATCH):
        for key in waiting:
            sealed = last.wrap(key.id, key.lookup, key.tenant, keks.unwrap(key))
            done += keyring.rewrap(key, last.fingerprint, sealed)
        left = sum(count for kek, count in keyring.count().items() if kek != last.fingerprint)
        yield done, left
        if left:
            time.sleep(PAUSE_S)

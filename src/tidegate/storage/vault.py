"""What do stored bytes look like? The first byte says how they were sealed."""

from __future__ import annotations

PLAIN = b"\x00"


class PlainVault:
    """Stores what it is given as it is, behind a byte that says so: whoever encrypts later can still read it."""

    def seal(self, plain: bytes) -> bytes:
        return PLAIN + plain

    def unseal(self, stored: bytes) -> bytes:
        """Raises ValueError for a format that this vault does not know."""
        if stored[:1] != PLAIN:
            raise ValueError(f"bytes sealed in format {stored[:1].hex() or 'none'}, where only 00, plain, is known")
        return stored[1:]

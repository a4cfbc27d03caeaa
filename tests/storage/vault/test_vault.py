"""What is stored says how."""

import pytest

from tidegate.core.ports import Place
from tidegate.storage.vault import PlainVault

HERE = Place("calls", "a", "row")


@pytest.mark.parametrize("plain", [b"", b"\0", b'{"a": 1}', bytes(range(256))])
def test_what_goes_in_comes_out(plain):
    vault = PlainVault()
    assert vault.unseal(vault.seal(plain, HERE), HERE) == plain


def test_the_first_byte_of_what_is_plain_is_zero():
    assert PlainVault().seal(b"x", HERE) == b"\0x"


@pytest.mark.parametrize("stored", [b"", b"\x01x", b"x"])
def test_an_unknown_format_is_an_error(stored):
    with pytest.raises(ValueError, match="format"):
        PlainVault().unseal(stored, HERE)

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.blocking import Blocks, nothing_blocks
from tests.house import TWO_PROVIDERS, lived_in
from tidegate.storage.pepper import load_or_create_pepper


async def test_what_blocks_is_raised_where_it_does_and_told_at_the_end(tmp_path: Path):
    with pytest.raises(AssertionError, match=r"os.mkdir\(.* blocks the event loop: storage/pepper.py:\d+ load_or_cre"):
        with nothing_blocks():
            with pytest.raises(Blocks):
                load_or_create_pepper(tmp_path / "data")


async def test_in_a_thread_it_may(tmp_path: Path):
    with nothing_blocks():
        await asyncio.to_thread(load_or_create_pepper, tmp_path / "data")


async def test_a_call_that_blocks_fails_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(AssertionError, match=r"os\.listdir"):
        async with lived_in(TWO_PROVIDERS, tmp_path / "data") as house:
            auth = type(house.app.gateway.auth)
            monkeypatch.setattr(auth, "authenticate", lambda self, *_: list(tmp_path.iterdir()))
            assert (await house.ask()).status == 500


async def test_a_test_may_read_what_it_likes(tmp_path: Path):
    with nothing_blocks():
        (tmp_path / "file").write_text("hi")

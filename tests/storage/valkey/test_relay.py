"""Between processes: one holds a question, and the others read what it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.valkey import Valkey, emptied
from tidegate.core.errors import StoreDown
from tidegate.core.ports import Relay
from tidegate.storage.valkey.blobs import ValkeyBlobs
from tidegate.storage.valkey.parts import PartedBlobs

KEY = b"\x00key\xff"


KINDS = {"valkey": ValkeyBlobs, "cluster": PartedBlobs}


@pytest.fixture(params=KINDS)
async def blobs(request: pytest.FixtureRequest) -> AsyncIterator[ValkeyBlobs]:
    url = await emptied(request.param, request)
    blobs = await KINDS[request.param].open(url, lambda name, fields: None, timeout_s=5)
    yield blobs
    await blobs.aclose()


@pytest.fixture
def relay(blobs: ValkeyBlobs) -> Relay:
    return blobs.relay


async def test_the_first_holds_it_and_hears_who_else_wants_it(relay: Relay):
    assert (await relay.take(KEY, "one/a", 60))[0] == "one/a"
    assert await relay.wanted("one") == ()
    assert (await relay.take(KEY, "other/b", 60))[0] == "one/a"
    assert list(await relay.wanted("one")) == [KEY]
    assert await relay.wanted("one") == () and await relay.wanted("other") == ()


async def test_what_is_told_is_read_from_anywhere_on_as_long_as_it_is_held_and_after(relay: Relay):
    await relay.take(KEY, "one/a", 60)
    await relay.take(KEY, "other/b", 60)
    assert await relay.tell(KEY, "one/a", [b"x", b"y"])
    assert await relay.read(KEY, "one/a", 0) == (True, [b"x", b"y"])
    await relay.tell(KEY, "one/a", [b"z"])
    relay.give_back(KEY, "one/a")
    assert await relay.read(KEY, "one/a", 2) == (False, [b"z"])


async def test_the_next_who_holds_it_begins_anew(relay: Relay):
    await relay.take(KEY, "one/a", 60)
    await relay.tell(KEY, "one/a", [b"x"])
    relay.give_back(KEY, "one/a")
    assert (await relay.take(KEY, "other/b", 60))[0] == "other/b"
    assert await relay.read(KEY, "other/b", 0) == (True, [])
    relay.give_back(KEY, "one/a")  # late: it is another's by now
    assert (await relay.take(KEY, "third/c", 60))[0] == "other/b"


async def test_nobody_reads_what_nobody_has_wanted(relay: Relay):
    await relay.take(KEY, "one/a", 60)
    assert not await relay.tell(KEY, "one/a", [b"x"])


async def test_whoever_is_not_heard_of_any_more_holds_nothing(relay: Relay, request):
    await relay.take(KEY, "one/a", 60)
    await emptied(request.node.callspec.params["blobs"], request)  # as if its time were over
    assert (await relay.take(KEY, "other/b", 60))[0] == "other/b"
    await relay.renew(KEY, "one/a", 60)
    assert (await relay.take(KEY, "one/a", 60))[0] == "other/b"


async def test_a_server_that_is_gone_is_told_at_once(own_valkey: Valkey):
    blobs = await ValkeyBlobs.open(own_valkey.url, lambda name, fields: None, timeout_s=5)
    own_valkey.stop()
    for asked in (blobs.relay.take(KEY, "one/a", 60), blobs.relay.read(KEY, "one/a", 0), blobs.relay.wanted("one")):
        with pytest.raises(StoreDown):
            await asked
    blobs.relay.give_back(KEY, "one/a")
    await blobs.aclose()


async def test_a_look_takes_what_is_free_and_nothing_where_something_is_kept(relay: Relay, blobs: ValkeyBlobs):
    assert await relay.take(KEY, "one/a", 60, look=True) == ("one/a", None, ())
    assert await relay.take(KEY, "other/b", 60, look=True) == ("one/a", None, ())
    relay.give_back(KEY, "one/a")
    blobs.put(KEY, b"kept", 60)
    assert await relay.take(KEY, "other/b", 60, look=True) == ("", b"kept", ())
    assert await relay.take(KEY, "third/c", 60) == ("third/c", b"kept", ())


async def test_two_of_one_process_tell_each_other_nothing(relay: Relay):
    await relay.take(KEY, "one/a", 60)
    assert await relay.take(KEY, "one/b", 60) == ("one/a", None, ())
    assert await relay.wanted("one") == () and not await relay.tell(KEY, "one/a", [b"x"])

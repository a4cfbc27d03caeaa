"""A key is shown once, kept as a digest, known within a millisecond and forgotten within a second."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, StoreDown, Unauthenticated
from tidegate.core.ports import Bearer, Key
from tidegate.stages.auth import MAX_PRESENTED, REMEMBERED, KeyAuth
from tidegate.stages.auth.keys import ALPHABET, digest, make_key, parse_key
from tidegate.storage.memory import MemoryStore

PEPPER = b"p" * 32


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ns(self) -> int:
        return int(self.seconds * 1e9)

    def wall_ns(self) -> int:
        return self.now_ns()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


class CountingStore(MemoryStore):
    """Counts how often it is asked for a key."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.down = False

    async def bearer(self, key_id: str) -> Bearer | None:
        self.asked += 1
        if self.down:
            raise StoreDown("the database does not answer")
        return await super().bearer(key_id)


class Desk:
    """Where keys are made and shown."""

    def __init__(self, environment_key: str | None = None) -> None:
        self.clock = HandClock()
        self.store = CountingStore()
        self.auth = KeyAuth(self.store, {1: PEPPER}, self.clock, environment_key)

    async def key(self, *, admin: bool = False) -> tuple[str, Key]:
        return await self.auth.create("ci", "live", admin=admin)

    async def revoke(self, key: Key) -> None:
        await self.auth.desk.revoke(key.id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- what a key looks like


def test_a_key_says_what_it_is() -> None:
    text, key_id = make_key("live")
    assert re.fullmatch(r"tg_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}", text)
    assert text.split("_")[2] == key_id


def test_keys_are_never_the_same() -> None:
    assert len({make_key("test")[0] for _ in range(1_000)}) == 1_000


@given(st.from_regex(r"[a-z]{1,16}", fullmatch=True))
def test_a_key_that_was_made_is_read(env: str) -> None:
    text, key_id = make_key(env)
    parsed = parse_key(text)
    assert parsed is not None
    assert (parsed.env, parsed.id) == (env, key_id)


@given(st.data())
def test_a_typing_mistake_is_seen_without_asking_anybody(data: st.DataObject) -> None:
    text, _ = make_key("live")
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "_- é").filter(lambda character: character != text[at]))
    assert parse_key(text[:at] + other + text[at + 1 :]) is None
    assert parse_key(text[:at] + text[at + 1 :]) is None
    assert parse_key(text + other) is None


@given(st.text(max_size=80) | st.text("tg_lives0Aé", max_size=60))
def test_any_text_is_a_key_or_none(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize("env", ["", "Live", "li-ve", "li_ve", "live1", "lïve", "a" * 17, " live", "live\n"])
async def test_an_environment_that_cannot_be_part_of_a_key_is_refused(desk: Desk, env: str) -> None:
    with pytest.raises(BadRequest, match="env must be 1 to 16 small letters") as refused:
        await desk.auth.create("ci", env, admin=False)
    assert refused.value.param == "env"
    assert await desk.store.every(Key) == []


# --- what is kept


async def test_the_key_itself_is_kept_nowhere(desk: Desk) -> None:
    text, key = await desk.key()
    stored = msgspec.json.encode(await desk.store.every(Key))
    secret = text.split("_")[3]
    assert secret.encode() not in stored
    assert key.digest == digest(PEPPER, text) != digest(b"q" * 32, text)
    assert len(key.digest) == 32
    assert (key.name, key.env, key.role, key.revoked_ms, key.created_ms) == ("ci", "live", "member", None, 1_000_000)


# --- who is known


@pytest.mark.parametrize(("admin", "role"), [(False, "member"), (True, "admin")])
async def test_who_shows_a_key_is_whoever_it_was_made_for(desk: Desk, admin: bool, role: str) -> None:
    text, key = await desk.key(admin=admin)
    principal = await desk.auth.authenticate(text)
    assert (principal.key_id, principal.name, principal.role) == (key.id, "ci", role)


async def test_a_principal_that_the_house_knows_needs_no_key(desk: Desk) -> None:
    principal = Principal("k", "batch")
    assert await desk.auth.authenticate(principal) is principal
    assert desk.store.asked == 0


@pytest.mark.parametrize("credential", [None, ""])
async def test_who_shows_nothing_is_told_how(desk: Desk, credential: str | None) -> None:
    with pytest.raises(Unauthenticated, match=r"no API key: send it as 'Authorization: Bearer tg_…' or 'x-api-key"):
        await desk.auth.authenticate(credential)


async def refusal(desk: Desk, credential: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await desk.auth.authenticate(credential)
    return refused.value.message


async def test_all_that_is_no_key_of_ours_is_refused_in_the_same_words(desk: Desk) -> None:
    text, key = await desk.key()
    revoked, revoked_key = await desk.key()
    await desk.revoke(revoked_key)
    unknown, _ = make_key("live")
    prefix, env, _, secret, _ = text.split("_")
    foreign = KeyAuth(MemoryStore(), {1: b"q" * 32}, desk.clock)
    swapped = f"{prefix}_{env}_{key.id}_{secret[::-1]}"
    presented = [
        revoked,
        unknown,
        swapped + "_000000",
        (await foreign.create("other house", "live", admin=True))[0],
        text + " ",
        text.upper(),
        text[:-1],
        "sk-proj-abcdef",
        "tg____",
        "' OR 1=1 --",
        'tg_live_"; DROP TABLE keys; --_x_000000',
        "\x00",
        "../../etc/passwd",
        "ключ",
        "🔑" * 100,
        "\udcff\udc80",
        "\ud800",
        "x" * MAX_PRESENTED,
        "x" * (MAX_PRESENTED + 1),
        "x" * 1_000_000,
    ]
    assert len({await refusal(desk, credential) for credential in presented}) == 1


@given(st.text(st.characters(), min_size=1, max_size=40))
async def test_any_text_is_refused_and_nothing_else_happens(credential: str) -> None:
    await refusal(Desk(), credential)


async def test_an_id_with_another_secret_is_refused_though_its_checksum_is_right(desk: Desk) -> None:
    from_here, key = await desk.key()
    other, _ = make_key("live")
    known = Key(**{field: getattr(key, field) for field in key.__struct_fields__} | {"id": other.split("_")[2]})
    await desk.store.add(known)
    assert parse_key(other) is not None
    await refusal(desk, other)
    assert await desk.auth.authenticate(from_here)


async def test_a_store_that_is_down_is_no_fault_of_the_key(desk: Desk) -> None:
    text, key = await desk.key()
    desk.store.down = True
    with pytest.raises(StoreDown):
        await desk.auth.authenticate(text)
    desk.store.down = False
    assert (await desk.auth.authenticate(text)).key_id == key.id


# --- how long it is remembered


async def test_a_revoked_key_is_refused_within_a_second(desk: Desk) -> None:
    text, key = await desk.key()
    await desk.auth.authenticate(text)
    await desk.revoke(key)
    desk.clock.seconds += 1.0
    await refusal(desk, text)
    await refusal(desk, text)


async def test_a_revoked_key_that_nobody_had_just_shown_is_refused_at_once(desk: Desk) -> None:
    text, key = await desk.key()
    await desk.revoke(key)
    await refusal(desk, text)


async def test_the_store_is_asked_once_a_second_and_not_once_a_call(desk: Desk) -> None:
    text, _ = await desk.key()
    for _ in range(10):
        await desk.auth.authenticate(text)
        desk.clock.seconds += 0.099
    assert desk.store.asked == 1
    desk.clock.seconds += 0.1
    await desk.auth.authenticate(text)
    assert desk.store.asked == 2


async def test_a_key_that_was_not_there_is_known_as_soon_as_it_is(desk: Desk) -> None:
    elsewhere = Desk()
    text, key = await elsewhere.key()
    await refusal(desk, text)
    await desk.store.add(key)
    assert (await desk.auth.authenticate(text)).key_id == key.id


async def test_what_cannot_be_a_key_does_not_reach_the_store(desk: Desk) -> None:
    for credential in ("sk-proj-abcdef", "x" * 10_000, "tg_live_a_b_c"):
        await refusal(desk, credential)
    assert desk.store.asked == 0


async def test_more_keys_than_are_remembered_are_all_still_known(desk: Desk) -> None:
    texts = [(await desk.key())[0] for _ in range(REMEMBERED + 10)]
    for text in texts:
        await desk.auth.authenticate(text)
    asked = desk.store.asked
    await desk.auth.authenticate(texts[-1])
    assert desk.store.asked == asked, "the newest are remembered"
    await desk.auth.authenticate(texts[0])
    assert desk.store.asked == asked + 1, "the oldest had to go"


# --- the key from the environment


@pytest.mark.parametrize("text", ["correct horse battery staple", "tg_live_a_b_c", "schlüssel"])
async def test_the_key_from_the_environment_is_an_administrator(text: str) -> None:
    desk = Desk(environment_key=text)
    principal = await desk.auth.authenticate(text)
    assert (principal.key_id, principal.name, principal.role) == ("environment", "TIDEGATE_ADMIN_KEY", "admin")
    assert desk.store.asked == 0
    for other in (text + "x", text[:-1], text.upper()):
        await refusal(desk, other)


async def test_the_key_from_the_environment_works_without_a_store() -> None:
    desk = Desk(environment_key="correct horse")
    desk.store.down = True
    assert (await desk.auth.authenticate("correct horse")).admin


@pytest.mark.parametrize("text", [None, ""])
async def test_without_a_key_in_the_environment_nothing_passes_for_it(text: str | None) -> None:
    desk = Desk(environment_key=text)
    for credential in ("", None):
        with pytest.raises(Unauthenticated):
            await desk.auth.authenticate(credential)
    await refusal(desk, "None")

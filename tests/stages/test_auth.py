"""A key is shown once, kept as a digest, known within a millisecond and forgotten within a second."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.call import Principal
from tidegate.core.errors import BadRequest, Forbidden, StoreDown, Unauthenticated
from tidegate.core.limits import Budget, Level, Limit
from tidegate.core.ports import Bearer, Key, Organisation, Team, User
from tidegate.core.world import Nursery
from tidegate.stages.auth import MAX_PRESENTED, REMEMBERED, KeyAuth, endpoint_of, may_use
from tidegate.stages.auth.keys import ALPHABET, digest, make_key, parse_key
from tidegate.stages.auth.used import LastUsed
from tidegate.storage.memory import MemoryStore

PEPPER = b"p" * 32
A_KEY, _ = make_key("live")


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
    text, at = A_KEY, data.draw(st.integers(0, len(A_KEY) - 1))
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


# --- rotated, disabled, expired


async def test_of_a_key_that_is_rotated_both_are_good_for_a_while(desk: Desk) -> None:
    old, key = await desk.key()
    new, rotated = await desk.auth.desk.rotate(key.id, 60)
    assert new != old and rotated.id == key.id and parse_key(new).id == key.id
    assert (await desk.auth.authenticate(old)) == (await desk.auth.authenticate(new))
    desk.clock.seconds += 60
    await refusal(desk, old)
    assert (await desk.auth.authenticate(new)).key_id == key.id


async def test_without_an_overlap_the_old_one_ends_within_a_second(desk: Desk) -> None:
    old, key = await desk.key()
    await desk.auth.authenticate(old)
    await desk.auth.desk.rotate(key.id, 0)
    desk.clock.seconds += 1
    await refusal(desk, old)


async def test_of_a_key_that_is_rotated_twice_the_first_has_ended(desk: Desk) -> None:
    first, key = await desk.key()
    second, _ = await desk.auth.desk.rotate(key.id, 3600)
    third, _ = await desk.auth.desk.rotate(key.id, 3600)
    await refusal(desk, first)
    assert await desk.auth.authenticate(second) and await desk.auth.authenticate(third)


async def test_revoking_ends_what_was_rotated_away_too(desk: Desk) -> None:
    old, key = await desk.key()
    new, _ = await desk.auth.desk.rotate(key.id, 3600)
    await desk.revoke(key)
    assert await refusal(desk, old) == await refusal(desk, new)
    with pytest.raises(BadRequest, match="was revoked, which is for ever"):
        await desk.auth.desk.rotate(key.id, 0)


async def test_a_key_that_is_disabled_is_good_again_when_it_is_enabled(desk: Desk) -> None:
    text, key = await desk.key()
    await desk.auth.desk.disable(Key, key.id)
    await refusal(desk, text)
    await desk.auth.desk.enable(Key, key.id)
    assert await desk.auth.authenticate(text)


async def test_a_key_ends_at_its_time_and_not_a_second_later(desk: Desk) -> None:
    ends_ms = desk.clock.wall_ns() // 1_000_000 + 500
    text, _ = await desk.auth.create("ci", "live", admin=False, expires_ms=ends_ms)
    assert await desk.auth.authenticate(text)
    desk.clock.seconds += 0.5
    await refusal(desk, text)


@pytest.mark.parametrize("kind", [User, Team, Organisation])
async def test_what_a_key_belongs_to_takes_it_along_when_it_is_disabled(desk: Desk, kind: type) -> None:
    await desk.auth.desk.add(Organisation, "acme", "Acme")
    await desk.auth.desk.add(Team, "search", "Search", organisation_id="acme")
    await desk.auth.desk.add(User, "ann", "Ann", team_id="search")
    text, _ = await desk.auth.create("ci", "live", admin=False, user_id="ann")
    assert await desk.auth.authenticate(text)
    await desk.auth.desk.disable(kind, {User: "ann", Team: "search", Organisation: "acme"}[kind])
    desk.clock.seconds += 1
    await refusal(desk, text)


# --- peppers


async def test_a_key_outlives_the_pepper_that_new_ones_are_made_with(desk: Desk) -> None:
    old, _ = await desk.key()
    later = KeyAuth(desk.store, {1: PEPPER, 2: b"r" * 32}, desk.clock)
    new, key = await later.create("new", "live", admin=False)
    assert key.pepper_version == 2
    assert (await later.authenticate(old)).name == "ci" and (await later.authenticate(new)).name == "new"
    rotated, _ = await later.desk.rotate((await desk.store.every(Key))[0].id, 60)
    assert await later.authenticate(old) == await later.authenticate(rotated)


async def test_without_its_pepper_no_key_is_good(desk: Desk) -> None:
    old, _ = await desk.key()
    desk.auth = KeyAuth(desk.store, {2: b"r" * 32}, desk.clock)
    await refusal(desk, old)
    desk.auth = KeyAuth(desk.store, {1: b"r" * 32}, desk.clock)
    await refusal(desk, old)


# --- the same time, by what is done: clocks would tell more of the machine


class Work:
    """Counts what an answer costs: digests, comparisons, and questions to the store."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        self._desk = desk
        for name in ("digest", "compare_digest"):
            monkeypatch.setattr(hmac, name, self._counted(name, getattr(hmac, name)))

    def _counted(self, name: str, work: Any) -> Any:
        def counted(*given: Any) -> Any:
            self.done[name] += 1
            return work(*given)

        return counted

    async def of(self, credential: str) -> dict[str, int]:
        self.done.clear()
        asked = self._desk.store.asked
        await refusal(self._desk, credential)
        return {**self.done, "store": self._desk.store.asked - asked}


async def test_why_a_key_is_refused_cannot_be_told_from_the_work_it_makes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown, revoked, disabled, expired, rotated away, of an old pepper, of another's secret: all the same."""
    aged, _ = await desk.key()
    desk.auth = KeyAuth(desk.store, {1: b"lost" * 8, 2: PEPPER}, desk.clock)
    revoked, one = await desk.key()
    await desk.auth.desk.revoke(one.id)
    disabled, one = await desk.key()
    await desk.auth.desk.disable(Key, one.id)
    expired, _ = await desk.auth.create("ci", "live", admin=False, expires_ms=desk.clock.wall_ns() // 1_000_000 + 1)
    rotated, one = await desk.key()
    await desk.auth.desk.rotate(one.id, 0)
    guessed, _ = make_key("live", one.id)
    unknown, _ = make_key("live")
    desk.clock.seconds += 5
    work = Work(desk, monkeypatch)
    costs = [await work.of(text) for text in (aged, revoked, disabled, expired, rotated, guessed, unknown)]
    assert costs == [{"digest": 3, "compare_digest": 2, "store": 1}] * 7


async def test_what_is_no_key_costs_one_digest_and_nobody_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(desk, monkeypatch)
    for text in ("sk-proj-abc", "' OR 1=1 --", "tg_live_a_b_c", "ключ", "x" * MAX_PRESENTED):
        assert await work.of(text) == {"digest": 1, "store": 0}
    assert await work.of("x" * (MAX_PRESENTED + 1)) == {"store": 0}


# --- what a key may do


@pytest.mark.parametrize(
    ("of_key", "of_user", "role"),
    [
        ("admin", "admin", "admin"),
        ("admin", "member", "member"),
        ("manager", "manager", "manager"),
        ("member", "admin", "member"),
        ("member", "viewer", "viewer"),
    ],
)
async def test_a_key_is_never_more_than_its_user(desk: Desk, of_key: str, of_user: str, role: str) -> None:
    await desk.auth.desk.add(Team, "search", "Search")
    await desk.auth.desk.add(User, "ann", "Ann", team_id="search", role=of_user)
    text, _ = await desk.auth.desk.make_key("ci", role=of_key, user_id="ann")
    assert (await desk.auth.authenticate(text)).role == role


async def test_who_is_charged_is_told_from_the_organisation_down(desk: Desk) -> None:
    limits, budgets = (Limit("tokens", 10, 60),), (Budget(5),)
    await desk.auth.desk.add(Organisation, "acme", "Acme", budgets=budgets)
    await desk.auth.desk.add(Team, "search", "Search", organisation_id="acme", limits=limits)
    await desk.auth.desk.add(User, "ann", "Ann", team_id="search")
    text, key = await desk.auth.create("ci", "live", admin=False, user_id="ann", limits=limits, budgets=budgets)
    principal = await desk.auth.authenticate(text)
    assert principal.levels == (
        Level("organisation", "acme", "Acme", (), budgets),
        Level("team", "search", "Search", limits, ()),
        Level("user", "ann", "Ann"),
        Level("key", key.id, "ci", limits, budgets),
    )
    assert (principal.organisation_id, principal.team_id, principal.user_id) == ("acme", "search", "ann")


@pytest.mark.parametrize(
    ("networks", "address", "good"),
    [
        ((), "203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.113.9", True),
        (("203.0.113.9", "::1"), "203.0.113.9", True),
        (("203.0.113.0/24",), "::ffff:203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.114.9", False),
        (("203.0.113.0/24",), "::1", False),
        (("0.0.0.0/0",), "", False),
        (("0.0.0.0/0",), "a socket", False),
        (("2001:db8::/32",), "2001:db8::7", True),
    ],
)
async def test_a_key_for_some_addresses_is_good_from_there(
    desk: Desk, networks: tuple[str, ...], address: str, good: bool
) -> None:
    text, _ = await desk.auth.create("ci", "live", admin=False, addresses=networks)
    for _ in range(2):  # looked up, and remembered
        if good:
            assert await desk.auth.authenticate(text, address)
        else:
            with pytest.raises(Forbidden, match="addresses"):
                await desk.auth.authenticate(text, address)


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("POST", "/v1/responses", "raw"),
        ("POST", "/v1/images/generations", "raw"),
        ("POST", "/v1/audio/transcriptions", "raw"),
        ("POST", "/v1/moderations", "raw"),
        ("GET", "/v1/responses/resp_1", "account"),
        ("POST", "/v1/responses/resp_1/cancel", "account"),
        ("GET", "/v1/files", "account"),
        ("POST", "/v1/files", "account"),
        ("DELETE", "/v1/files/x", "account"),
        ("POST", "/v1/batches", "account"),
        ("POST", "/v1/messages/batches", "account"),
        ("POST", "/v1/fine_tuning/jobs", "account"),
        ("POST", "/v1/assistants", "account"),
        ("POST", "/v1/whatever/comes", "account"),
    ],
)
def test_what_is_kept_at_a_provider_is_another_thing_than_asking_it(method: str, path: str, endpoint: str) -> None:
    assert endpoint_of("raw", method, path) == endpoint
    plain, admin = Principal("k", "ci"), Principal("k", "boss", "admin")
    granted = Principal("k", "files", endpoints=frozenset({"account"}))
    may_use(admin, endpoint)
    if endpoint == "account":
        may_use(granted, endpoint)
        with pytest.raises(Forbidden, match="--endpoint account"):
            may_use(plain, endpoint)
    else:
        may_use(plain, endpoint)
        with pytest.raises(Forbidden, match="key 'files' is for account, and not for raw"):
            may_use(granted, endpoint)


def test_a_viewer_looks_and_asks_nothing() -> None:
    viewer = Principal("k", "board", "viewer")
    may_use(viewer, "models")
    for endpoint in ("chat", "embed", "raw", "account"):
        with pytest.raises(Forbidden, match="its role is viewer"):
            may_use(viewer, endpoint)


# --- when it was used


async def test_when_a_key_was_used_is_written_later_and_many_at_once() -> None:
    store, noted = MemoryStore(), []
    store.note_used = noted.append  # type: ignore[assignment, method-assign]
    nursery = Nursery(asyncio.get_running_loop())
    used = LastUsed(store, nursery)
    for at in range(100):
        used.note("a", at)
        used.note("b", at * 2)
    assert noted == [] and not nursery.tasks

    async def note_used(at_ms: dict[str, int]) -> None:
        noted.append(at_ms)

    store.note_used = note_used  # type: ignore[method-assign]
    await used.aclose()
    assert noted == [{"a": 99, "b": 198}]


async def test_what_the_store_did_not_take_is_written_the_next_time() -> None:
    class Sick(MemoryStore):
        sick = True

        async def note_used(self, at_ms: Mapping[str, int]) -> None:
            if self.sick:
                raise StoreDown("not now")
            await super().note_used(at_ms)

    store = Sick()
    await store.add(Key("a", "ci", "live", b"", 1, 1))
    used = LastUsed(store, Nursery(asyncio.get_running_loop()))
    used.note("a", 5)
    await used.write()
    store.sick = False
    await used.aclose()
    assert (await store.find(Key, "a")).last_used_ms == 5

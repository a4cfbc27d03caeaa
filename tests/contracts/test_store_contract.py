"""Any store keeps organisations, teams, users and keys in the same way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tidegate.core.experiments import Decision, Experiment
from tidegate.core.limits import Budget, Limit
from tidegate.core.ports import Bearer, Key, Once, Organisation, Setting, Store, Team, User
from tidegate.core.prompts import Label, Prompt, PromptMove, PromptVersion
from tidegate.storage.memory import MemoryStore
from tidegate.storage.postgres import PostgresStore
from tidegate.storage.sqlite import SqliteStore


async def memory(request: pytest.FixtureRequest, folder: Path) -> Store:
    return MemoryStore()


async def sqlite(request: pytest.FixtureRequest, folder: Path) -> Store:
    return await SqliteStore.open(folder / "tidegate.db")


async def postgres(request: pytest.FixtureRequest, folder: Path) -> Store:
    return await PostgresStore.open(request.getfixturevalue("postgres"), lambda name, fields: None)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest, Path], Awaitable[Store]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgres": postgres,
}


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = await ADAPTERS[request.param](request, tmp_path)
    yield store
    await store.aclose()


def key(id: str, **fields: object) -> Key:
    plain = Key(id=id, name="ci", env="live", digest=bytes(range(32)), pepper_version=1, created_ms=1)
    return msgspec.structs.replace(plain, **fields)


LIMITS = (Limit("tokens", 1_000, 60), Limit("at_once", 4))
BUDGETS = (Budget(5_000_000_000, "day", zone="Europe/Berlin", warn_at=(0.5, 0.9)),)
WHOLE = [
    Organisation("acme", "Acme", 5, limits=LIMITS, budgets=BUDGETS),
    Team("search", "Search", 6, "acme", 7, LIMITS, BUDGETS),
    User("ann@acme", "Ann O'Hara", 8, "search", "manager", 9, LIMITS, BUDGETS),
    key(
        "a",
        name="naïve 'key'; --",
        env="test",
        role="admin",
        created_ms=1_790_000_000_123,
        pepper_version=7,
        team_id="search",
        user_id="ann@acme",
        expires_ms=1_800_000_000_000,
        former_digest=bytes(32),
        former_pepper_version=6,
        former_until_ms=1_790_000_000_999,
        routes=("fast", "main/m"),
        endpoints=("chat", "account"),
        scopes=("batch",),
        addresses=("10.0.0.0/8", "::1"),
        tags=("ci", "ключ"),
        limits=LIMITS,
        budgets=BUDGETS,
        last_used_ms=3,
    ),
]


@pytest.mark.parametrize("one", WHOLE, ids=lambda one: type(one).__name__)
async def test_whatever_is_kept_comes_back_as_it_was(store, one):
    await store.add(one)
    assert await store.find(type(one), one.id) == one
    assert one in await store.every(type(one))


@pytest.mark.parametrize("one", WHOLE, ids=lambda one: type(one).__name__)
async def test_an_id_can_be_given_only_once(store, one):
    await store.add(one)
    with pytest.raises(ValueError, match=one.id):
        await store.add(msgspec.structs.replace(one, name="second"))
    assert (await store.find(type(one), one.id)).name == one.name


async def test_a_setting_comes_back_and_of_two_at_once_one_is_changed(store):
    one = Setting("silence:all", "silenced", 1_800_000_000_000, "k", 5)
    await store.add(one)
    with pytest.raises(ValueError, match="silence:all"):
        await store.add(one)
    changed = await store.change(one, value="told", until_ms=0, by="l")
    assert changed == Setting("silence:all", "told", 0, "l", 5)
    assert await store.change(one, value="x") is None
    assert await store.every(Setting) == [changed]


EXPERIMENT = Experiment(
    "answers.1", "answers", '{"name":"answers"}', "5a17", 5, "k", "running", 2, 6, 3, "ключ", "b", 7
)


async def test_an_experiment_comes_back_and_of_two_who_move_it_one_does(store):
    await store.add(EXPERIMENT)
    with pytest.raises(ValueError, match=r"answers\.1"):
        await store.add(EXPERIMENT)
    moved = await store.change(EXPERIMENT, state="promoted", stage=4, steps=4, why="better", since_ms=9)
    assert moved == msgspec.structs.replace(EXPERIMENT, state="promoted", stage=4, steps=4, why="better", since_ms=9)
    assert await store.change(EXPERIMENT, state="rolled_back", steps=4) is None
    assert await store.every(Experiment) == [moved]


async def test_decisions_come_back_oldest_first_and_each_step_is_decided_once(store):
    first, second = [
        Decision(f"answers.1#{step}", "answers.1", 9 - at, "advanced", "running", 1, "running", 2, "house", "why", "{}")
        for at, step in ((8, 0), (0, 1))
    ]
    await store.add(second)
    await store.add(first)
    with pytest.raises(ValueError, match=r"answers\.1#1"):
        await store.add(msgspec.structs.replace(second, did="rolled_back"))
    assert await store.every(Decision) == [first, second]
    assert await store.find(Decision, "answers.1#1") == second


PROMPTS = [
    Prompt("greet", 5, "k", 3, (Label("production", 2), Label("staging", 3)), (1,), 4),
    PromptVersion("greet@3", "greet", 3, 6, "k", "Ann", "why ключ", "ab" * 32, '{"template":"{{x}}"}', 9),
    PromptMove("greet#4", "greet", "staging", 7, "k", 3, None, "because"),
]


@pytest.mark.parametrize("one", PROMPTS, ids=lambda one: type(one).__name__)
async def test_prompts_come_back_as_they_were_and_an_id_is_given_once(store, one):
    await store.add(one)
    assert await store.find(type(one), one.id) == one
    assert await store.every(type(one)) == [one]
    with pytest.raises(ValueError, match=one.id):
        await store.add(one)
    assert await store.find(type(one), "greet@99") is None


async def test_of_two_who_move_a_label_at_once_one_does(store):
    one = PROMPTS[0]
    await store.add(one)
    moved = await store.change(one, labels=(Label("production", 3),), deleted=one.deleted, steps=5)
    assert moved == msgspec.structs.replace(one, labels=(Label("production", 3),), steps=5)
    assert await store.change(one, labels=(Label("production", 1),), deleted=one.deleted, steps=5) is None
    assert await store.change(one, labels=one.labels, deleted=(1, 2)) is None
    assert await store.find(Prompt, "greet") == moved


async def test_a_new_store_has_one_organisation(store):
    assert await store.every(Organisation) == [Organisation("default", "default", 0)]


@pytest.mark.parametrize("kind", [Organisation, Team, User, Key, Setting, Experiment, Decision])
@pytest.mark.parametrize("id", ["A", "", "a' OR '1'='1", "a\x00", "ключ", "x" * 10_000])
async def test_an_unknown_id_is_none(store, kind, id):
    await store.add(key("a"))
    assert await store.find(kind, id) is None
    assert await store.bearer(id) is None


async def test_pages_begin_behind_the_last_one_newest_first(store):
    for id, created_ms in [("b", 20), ("c", 30), ("a", 10), ("d", 20)]:
        await store.add(key(id, created_ms=created_ms))
    assert [one.id for one in await store.newest(Key, None, 2)] == ["c", "d"]
    await store.add(key("e", created_ms=40))  # nothing moves meanwhile
    assert [one.id for one in await store.newest(Key, "d", 9)] == ["b", "a"]
    assert await store.newest(Key, "a", 9) == await store.newest(Key, "x\x00' OR 1=1", 9) == []


async def test_many_keys_are_named_in_one_step_and_unknown_ids_passed_over(store):
    for id, fields in [("a", {"name": "Ann's"}), ("b", {"name": "ключ", "revoked_ms": 5}), ("c", {"name": "other"})]:
        await store.add(key(id, **fields))
    asked = ["a", "b", "none", "x\x00' OR 1=1", '"', "", "k" * 10_000, *(f"n{at}" for at in range(5_000))]
    assert await store.key_names(asked) == {"a": "Ann's", "b": "ключ"}
    assert await store.key_names([]) == {}


async def test_they_are_listed_oldest_first_and_ended_ones_too(store):
    for id, created_ms in [("b", 20), ("c", 30), ("a", 10), ("d", 20)]:
        await store.add(key(id, created_ms=created_ms))
    await store.change(await store.find(Key, "c"), revoked_ms=99)
    assert [(found.id, found.revoked_ms) for found in await store.every(Key)] == [
        ("a", None),
        ("b", None),
        ("d", None),
        ("c", 99),
    ]


async def test_a_bearer_is_a_key_and_all_it_belongs_to(store):
    organisation, team, user, whole = WHOLE
    for one in WHOLE:
        await store.add(one)
    assert await store.bearer("a") == Bearer(whole, user, team, organisation)


async def test_a_key_without_a_team_belongs_to_its_users(store):
    for one in WHOLE[:3]:
        await store.add(one)
    await store.add(key("b", user_id="ann@acme"))
    found = await store.bearer("b")
    assert (found.user.id, found.team.id, found.organisation.id) == ("ann@acme", "search", "acme")


async def test_who_belongs_nowhere_belongs_to_the_default_organisation(store):
    await store.add(key("b"))
    found = await store.bearer("b")
    assert (found.user, found.team, found.organisation.id) == (None, None, "default")


async def test_what_is_named_and_is_not_there_is_none(store):
    await store.add(key("b", team_id="gone", user_id="gone"))
    found = await store.bearer("b")
    assert (found.user, found.team, found.organisation.id) == (None, None, "default")


async def test_a_change_is_of_what_it_names_and_of_nothing_else(store):
    await store.add(key("a"))
    before = await store.find(Key, "a")
    await store.change(before, name="other", tags=("x",))
    changed = await store.change(before, limits=LIMITS, disabled_ms=5)
    assert changed == key("a", name="other", tags=("x",), limits=LIMITS, disabled_ms=5)
    assert await store.find(Key, "a") == changed
    assert (await store.change(changed, disabled_ms=None, tags=())).disabled_ms is None


async def test_a_change_of_what_was_changed_meanwhile_is_none(store):
    await store.add(key("a"))
    before = await store.find(Key, "a")
    assert (await store.change(before, revoked_ms=50)).revoked_ms == 50
    assert await store.change(before, revoked_ms=60) is None
    assert await store.change(before, digest=b"x", revoked_ms=60) is None
    assert await store.change(key("nobody"), revoked_ms=60) is None
    found = await store.find(Key, "a")
    assert (found.revoked_ms, found.digest) == (50, before.digest)


async def test_of_many_who_change_at_once_one_did_it(store):
    await store.add(key("a"))
    before = await store.find(Key, "a")
    answers = await asyncio.gather(*(store.change(before, revoked_ms=at_ms) for at_ms in range(20)))
    (changed,) = [answer for answer in answers if answer]
    assert await store.find(Key, "a") == changed


async def test_of_many_who_add_one_id_one_succeeds(store):
    attempts = await asyncio.gather(*(store.add(key("a", name=str(n))) for n in range(20)), return_exceptions=True)
    assert [type(error) for error in attempts if error] == [ValueError] * 19
    assert len(await store.every(Key)) == 1


async def test_when_keys_were_used_is_noted_and_never_goes_back(store):
    await store.add(key("a"))
    await store.add(key("b", last_used_ms=70))
    await store.note_used({"a": 50, "b": 60, "nobody": 1})
    assert [one.last_used_ms for one in await store.every(Key)] == [50, 70]
    await store.note_used({})


async def test_whoever_leaves_while_waiting_breaks_nothing(store):
    await store.add(key("a"))
    for _ in range(50):
        task = asyncio.create_task(store.bearer("a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    before = await store.find(Key, "a")
    assert (await store.change(before, revoked_ms=1)).revoked_ms == 1


async def test_closing_twice_is_closing_once(store):
    await store.aclose()
    await store.aclose()


# --- once ------------------------------------------------------------------------------------------------------------


MINE = Once("key:one", "req_1", b"\x00asked", 2_000)


async def test_what_is_begun_is_whose_it_is_until_its_time_is_over(store):
    other = msgspec.structs.replace(MINE, holder="req_2", until_ms=9_000)
    assert await store.begin_once(MINE, 1_000) is None
    assert await store.begin_once(other, 1_999) == MINE
    assert await store.begin_once(other, 2_000) is None
    assert await store.begin_once(MINE, 2_001) == other


async def test_what_is_done_once_is_found_by_all_who_come_later(store):
    done = msgspec.structs.replace(MINE, until_ms=50_000, done=b"\x00\xff")
    await store.begin_once(MINE, 1_000)
    await store.end_once(done)
    again = msgspec.structs.replace(MINE, holder="req_2", until_ms=60_000)
    assert await store.begin_once(again, 3_000) == done
    await store.end_once(msgspec.structs.replace(done, holder="req_1", done=b"other"))
    assert await store.begin_once(again, 3_000) == done, "what is done stays as it is"
    assert await store.begin_once(again, 50_000) is None


async def test_what_is_given_up_is_free_at_once(store):
    await store.begin_once(MINE, 1_000)
    await store.end_once(msgspec.structs.replace(MINE, holder="req_2"))
    assert await store.begin_once(MINE, 1_001) == MINE, "it was another's"
    await store.end_once(msgspec.structs.replace(MINE, until_ms=0))
    assert await store.begin_once(msgspec.structs.replace(MINE, holder="req_2"), 1_001) is None


async def test_of_many_who_begin_at_once_one_does(store):
    asked = [msgspec.structs.replace(MINE, holder=f"req_{number}") for number in range(20)]
    found = await asyncio.gather(*(store.begin_once(one, 1_000) for one in asked))
    assert found.count(None) == 1
    (winner,) = {one.holder for one in found if one is not None}
    assert winner == asked[found.index(None)].holder


async def test_what_nobody_can_end_any_more_is_forgotten(store):
    done = msgspec.structs.replace(MINE, id="key:two", until_ms=50_000, done=b"\x00")
    await store.begin_once(MINE, 1_000)
    await store.begin_once(msgspec.structs.replace(done, done=None), 1_000)
    await store.end_once(done)
    assert await store.forget_begun() >= 1
    assert await store.begin_once(msgspec.structs.replace(MINE, holder="req_9"), 1_000) is None
    assert await store.begin_once(done, 1_000) == done

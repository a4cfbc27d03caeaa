"""Of each person everything is found, and once erased nothing is read: not here, and not in yesterday's backup."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, lived_in
from tidegate.core.errors import ConfigError, NotFound
from tidegate.core.experiments import read
from tidegate.core.ports import Erased
from tidegate.storage.audit import proof
from tidegate.storage.audit.notes import Verifiers
from tidegate.storage.vault.keyring import SqliteKeyring

KEK, OTHER = f"'{'0a' * 32}'", f"'{'1b' * 32}'"
SEALED = """
logs: {calls: false}
providers: {main: {type: scripted, price: {input: 1, output: 2}}}
routes:
  fast:
    targets: [{provider: main, model: m}]
    store: {prompts: true, replies: true}
vault: {keys: [KEYS], keyring: KEYRING}
audit: {enabled: true}
"""


class Places:
    """A data folder, a keyring beside it, and where backups go."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.data, self.keys, self.backup = folder / "data", folder / "keys", folder / "backup"
        self._stack = stack
        self.storage = ""

    def config(self, keys: str = KEK) -> str:
        return SEALED.replace("KEYS", keys).replace("KEYRING", str(self.keys)) + self.storage

    async def enter(self, keys: str = KEK) -> House:
        self._house = AsyncExitStack()
        house = await self._house.enter_async_context(lived_in(self.config(keys), self.data))
        self._stack.push_async_callback(self._house.aclose)
        return house

    async def leave(self) -> None:
        await self._house.aclose()


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Places]:
    async with AsyncExitStack() as stack:
        yield Places(tmp_path, stack)


async def said(house: House, user: str, text: str = "hi", session: str = "") -> str:
    house.provider("main").says(f"hello {user}")
    headers = {"x-tidegate-user": user, "x-tidegate-session": session or f"session of {user}"}
    reply = await house.ask(text, headers=headers)
    assert reply.status == 200 and reply.id is not None
    return reply.id


async def exported(house: House, user: str) -> list[dict[str, Any]]:
    reply = await house.get(f"/admin/subjects?id={user}")
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


async def erase(house: House, user: str) -> dict[str, Any]:
    reply = await house.begin(path=f"/admin/subjects?id={user}", method="DELETE", body=b"").reply()
    assert reply.status == 200, reply.body
    return reply.events[0]


async def test_everything_of_an_end_user_is_exported_and_of_nobody_else(places: Places):
    house = await places.enter()
    ann, _ = await said(house, "ann"), await said(house, "bob")
    found = await exported(house, "ann")
    assert [one["kind"] for one in found] == ["call", "body", "audit", "usage"]
    assert (found[3]["route"], found[3]["sums"]["calls"]) == ("fast", 1)
    call, body, entry = found[0]["row"], found[1]["body"], found[2]["entry"]
    assert (call["id"], call["user"], call["session"]) == (ann, "ann", "session of ann")
    assert (body["user"], "ann" in body["reply"]) == ("ann", True)
    assert (entry["id"], entry["user"], entry["outcome"]) == (ann, "ann", "ok")
    assert "bob" not in json.dumps(found)


async def test_what_was_said_of_a_call_goes_with_whom_it_was_for(places: Places):
    house = await places.enter()
    id = await said(house, "ann")
    body = json.dumps({"request_id": id, "thumbs": "down", "comment": "ann's own words"}).encode()
    assert (await house.begin(path="/v1/feedback", body=body).reply()).status < 300
    assert [one["opinion"]["comment"] for one in await exported(house, "ann") if one["kind"] == "opinion"] == [
        "ann's own words"
    ]
    (line,) = (await house.get("/admin/feedback?by=end_user&per=total")).events[0]["lines"]
    assert line["end_user"] == "ann"
    await erase(house, "ann")
    assert await house.app.world.ledger.opinions(id) == []
    (line,) = (await house.get("/admin/feedback?by=end_user&per=total")).events[0]["lines"]
    assert line["end_user"] != "ann"


async def test_calls_are_searched_by_name_and_session(places: Places):
    house = await places.enter()
    ann, _ = await said(house, "ann"), await said(house, "bob")
    for asked in ("end_user=ann", "session=session%20of%20ann"):
        found = (await house.get(f"/admin/requests?{asked}")).events[0]["requests"]
        assert [one["id"] for one in found] == [ann]


async def test_rows_and_sums_have_names_for_who_may_ask_and_aliases_in_the_database(places: Places):
    house = await places.enter()
    id = await said(house, "ann")
    await house.app.world.ledger.flush()
    assert (await house.get(f"/v1/requests/{id}")).events[0]["user"] == "ann"
    (line,) = (await house.get("/admin/usage?by=end_user&per=total&end_user=ann")).events[0]["lines"]
    assert (line["end_user"], line["calls"]) == ("ann", 1)
    await places.leave()
    raw = b"".join(file.read_bytes() for file in places.data.rglob("*") if file.is_file())
    assert b"ann" not in raw.replace(b"annou", b"") and b"session of" not in raw


async def test_pages_of_usage_go_on_behind_a_name(places: Places):
    house = await places.enter()
    for user in ("ann", "bob", "eve"):
        await said(house, user)
    seen, after = [], ""
    while True:
        page = (await house.get(f"/admin/usage?by=end_user&per=total&limit=1{after}")).events[0]
        seen += [line["end_user"] for line in page["lines"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(seen) == ["ann", "bob", "eve"]


async def test_once_erased_nothing_is_read_and_what_it_cost_stays(places: Places):
    house = await places.enter()
    ann, bob = await said(house, "ann"), await said(house, "bob")
    before = await house.app.world.ledger.totals()
    receipt = await erase(house, "ann")
    assert receipt["bodies"] == 1 and len(receipt["aliases"]) == 1
    assert (await house.get("/admin/subjects?id=ann")).status == 404
    assert (await house.get(f"/admin/bodies/{ann}")).status == 404
    row = await house.app.world.ledger.find(ann)
    assert row is not None and (row.user, row.session, row.outcome) == (receipt["aliases"][0], None, "ok")
    assert (await house.app.world.ledger.find(bob)).user == "bob"
    assert await house.app.world.ledger.totals() == before


@pytest.mark.parametrize("unit", ["user", "session"])
async def test_what_experiments_measured_of_them_stays_and_is_nobodys(places: Places, unit: str):
    house = await places.enter()
    desk, ledger = house.app.gateway.experiments.desk, house.app.world.ledger
    made = await desk.make(read({"name": "t", "unit": unit, "ramp": [1.0], "arms": [{"name": "b"}]}), "k")
    await desk.move(made, "started", "running", 0, by="k", why="")
    for user in ("ann", "ann", "bob"):
        await said(house, user)
    before = {line.unit: line.calls for line in await ledger.units(made.id)}
    assert sorted(before.values()) == [1, 2]
    await erase(house, "ann")
    after = {line.unit: line.calls for line in await ledger.units(made.id)}
    assert sorted(after.values()) == [1, 2]
    assert [calls for unit, calls in before.items() if unit in after] == [1]  # bob's
    assert [row.arms for row in await house.rows() if row.user != "bob"] == [(), ()]


async def test_an_erasure_leaves_a_receipt_without_a_name_and_the_chain_whole(places: Places):
    house = await places.enter()
    await said(house, "ann")
    receipt = await erase(house, "ann")
    await house.app.world.ledger.flush()
    archive = house.app.gateway.archive
    (entry,) = [await archive.entry(one) for one in await archive.log.latest(2**62, "~", 9) if one.id[:3] == "act"]
    assert (entry["did"], entry["of"], entry["after"]["bodies"]) == ("subject_erased", receipt["aliases"][0], 1)
    assert "ann" not in json.dumps(entry)
    await archive._notary.sign()
    lines = [line async for line in proof.rows(archive.log)]
    assert proof.verify(lambda: iter(lines), [], Verifiers([archive.verifier])).entries


async def test_whoever_comes_again_after_that_is_somebody_new(places: Places):
    house = await places.enter()
    await said(house, "ann")
    (alias,) = (await erase(house, "ann"))["aliases"]
    later = await said(house, "ann")
    assert [one["row"]["id"] for one in await exported(house, "ann") if one["kind"] == "call"] == [later]
    (again,) = (await erase(house, "ann"))["aliases"]
    assert again != alias


async def test_erased_stays_erased_in_a_backup_of_the_data_and_the_others_are_read(places: Places):
    house = await places.enter()
    ann, bob = await said(house, "ann"), await said(house, "bob")
    await house.app.world.ledger.flush()
    await places.leave()
    shutil.copytree(places.data, places.backup)
    house = await places.enter()
    await erase(house, "ann")
    await places.leave()
    shutil.rmtree(places.data)
    shutil.copytree(places.backup, places.data)  # yesterday's
    house = await places.enter()
    archive = house.app.gateway.archive
    with pytest.raises(Erased):
        await archive.body(ann)
    assert (await archive.body(bob)).user == "bob"
    with pytest.raises(NotFound):
        [row async for row in archive.rows("ann")]
    row = await house.app.world.ledger.find(ann)
    assert row is not None and row.user != "ann" and row.session is None


async def test_a_backup_of_the_keyring_too_is_unreadable_once_its_key_encrypting_key_is_destroyed(places: Places):
    house = await places.enter()
    ann = await said(house, "ann")
    await house.app.world.ledger.flush()
    await places.leave()
    shutil.copytree(places.data, places.backup)
    shutil.copytree(places.keys, places.backup / "keys")
    house = await places.enter(f"{KEK}, {OTHER}")
    await erase(house, "ann")
    assert (await house.begin(path="/admin/vault/rotate", method="POST", body=b"").reply()).status == 200
    await places.leave()
    shutil.rmtree(places.data)
    shutil.rmtree(places.keys)
    shutil.copytree(places.backup, places.data)
    shutil.move(places.data / "keys", places.keys)
    with pytest.raises(ConfigError, match="put the one that it was sealed under back"):
        await places.enter(OTHER)  # the old one is nowhere any more
    house = await places.enter(KEK)  # whoever kept it reads on: that is what destroying it is for
    assert (await house.app.world.ledger.find(ann)).user == "ann"


async def test_swapped_rows_are_seen(places: Places):
    house = await places.enter()
    ann, bob = await said(house, "ann"), await said(house, "bob")
    await house.app.world.ledger.flush()
    tables = house.app.gateway.archive._log._tables
    await house.app.gateway.archive.body(ann)
    for table, column in (("BODIES", "body"), ("calls", "row")):
        rows = await tables.rows(f"SELECT id, {column} FROM {table} ORDER BY id")
        for (id, _), (_, other) in zip(rows, reversed(rows), strict=True):
            await tables.changed(f"UPDATE {table} SET {column} = ? WHERE id = ?", other, id)
    for id in (ann, bob):
        with pytest.raises(ValueError, match="changed, or stand in another place"):
            await house.app.gateway.archive.body(id)
        with pytest.raises(ValueError, match="changed, or stand in another place"):
            await house.app.world.ledger.find(id)


async def test_rotating_under_load_leaves_nothing_unreadable(places: Places):
    house = await places.enter(f"{KEK}, {OTHER}")
    house.provider("main").always("hello")
    ids: list[str] = []

    async def load(at: int) -> None:
        for n in range(12):
            reply = await house.ask("hi", headers={"x-tidegate-user": f"user {at}.{n}"})
            assert reply.status == 200 and reply.id is not None
            ids.append(reply.id)

    async def rotation() -> None:
        for _ in range(6):
            assert (await house.begin(path="/admin/vault/rotate", method="POST", body=b"").reply()).status == 200
            await asyncio.sleep(0)

    await asyncio.gather(*(load(at) for at in range(8)), rotation())
    await house.app.world.ledger.flush()
    await rotation()
    status = (await house.get("/admin/vault")).events[0]
    assert status["waiting"] == 0 and sum(status["sealed_under"].values()) == 8 * 12 + 3
    await places.leave()
    house = await places.enter(OTHER)
    found = {row.id: row.user async for row in house.app.world.ledger.rows()}
    assert set(ids) <= set(found) and all(found[id].startswith("user ") for id in ids)
    for id in ids:
        assert (await house.app.gateway.archive.body(id)).whole


async def test_an_answer_that_is_repeated_is_sealed_for_whom_it_was(places: Places):
    house = await places.enter()
    house.provider("main").says("hello ann")
    headers = {"x-tidegate-user": "ann", "idempotency-key": "k1"}
    await house.ask("hi", headers=headers)
    await asyncio.sleep(0.05)
    again = await house.ask("hi", headers=headers)
    assert (again.text, again.headers["x-tidegate-cache-layer"]) == ("hello ann", "idempotent")
    await erase(house, "ann")
    assert (await house.ask("hi", headers=headers)).error.code == "idempotency_key_busy"


# --- nothing starts half protected


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("'env:NOTHING'", "the environment variable NOTHING is not set"),
        ("'0011'", r"vault.keys\[0\] .*must be 32 bytes, 64 hex digits, and not 2"),
        (OTHER, "put the one that it was sealed under back"),
        ("", "vault.keys: names no key, and what is stored is encrypted"),
    ],
)
async def test_without_its_key_the_gateway_does_not_start(places: Places, keys: str, said: str):
    await places.enter()
    await places.leave()
    with pytest.raises(ConfigError, match=said):
        await places.enter(keys)


async def test_a_keyring_that_cannot_be_written_is_an_error_that_says_what_to_do(places: Places):
    places.keys.write_text("a file")
    with pytest.raises(ConfigError, match=r"vault\.keyring: .*let Tidegate write there, or restore the newest copy"):
        await places.enter()


async def test_without_a_key_nobody_can_be_erased_and_that_is_said(build_house):
    house = await build_house()
    reply = await house.begin(path="/admin/subjects?id=ann", method="DELETE", body=b"").reply()
    assert (reply.status, "set vault.keys" in reply.error.message) == (400, True)


async def test_the_names_of_the_keyring_are_sealed(places: Places):
    house = await places.enter()
    await said(house, "ann of nowhere")
    await house.app.world.ledger.flush()
    await places.leave()
    keyring = SqliteKeyring(places.keys)
    assert sum(keyring.count().values()) == 4  # the house's two, the tenant's, hers
    keyring.close()
    assert b"nowhere" not in keyring.path.read_bytes()

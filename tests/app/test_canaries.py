"""Who has the candidate, until it is promoted or taken back?"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.house import TWO_PROVIDERS, Build, House, Reply, until
from tidegate.api.arms import Chooser
from tidegate.app.canaries import Hands, Keeper, Side
from tidegate.app.candidate import Files
from tidegate.config import Config
from tidegate.core.canary import Canary, place
from tidegate.core.errors import Conflict, NotFound, StoreDown
from tidegate.telemetry import Listeners

SPARE_FIRST = TWO_PROVIDERS.replace("provider: main, model: m, order: 1", "provider: main, model: m, order: 3")
NOBODY = '{type: openai, base_url: "http://127.0.0.1:9"}'
DEAD = TWO_PROVIDERS.replace("{type: scripted, price: {input: 1, output: 2}}", NOBODY).replace(
    ", {provider: spare, model: m, order: 2}", ""
)
BROKEN = TWO_PROVIDERS.replace("fast:", "slow:")


async def say(house: House, method: str, at: str = "", /, **fields: Any) -> Reply:
    body = json.dumps(fields).encode() if fields else b""
    return await house.begin(path=f"/admin/config/canary{at}", method=method, body=body).reply()


async def start(house: House, text: str = SPARE_FIRST, **fields: Any) -> Reply:
    assert house.files is not None
    house.files.candidate.write_text(text)
    return await say(house, "POST", **{"share": "50%", "unit": "user", **fields})


async def shown(house: House) -> dict[str, Any]:
    return (await say(house, "GET")).events[0]


async def ask(house: House, user: str, **options: Any) -> Reply:
    return await house.ask(headers={"x-tidegate-user": user}, **options)


def arm_of(reply: Reply) -> str:
    assert reply.row is not None
    ((_, _, arm, _, _),) = [tuple(getattr(one, name) for name in one.__struct_fields__) for one in reply.row.arms]
    return arm


async def users(house: House, arm: str, count: int = 3) -> list[str]:
    """So many that have this arm."""
    found: list[str] = []
    for at in range(100):
        if len(found) < count and arm_of(await ask(house, f"user {at}")) == arm:
            found.append(f"user {at}")
    return found


async def test_a_share_of_the_users_has_the_candidate_and_every_row_says_which(house: House):
    begun = (await start(house)).events[0]
    replies = {f"user {at}": await ask(house, f"user {at}") for at in range(40)}
    for user, reply in replies.items():
        assert reply.row is not None
        (one,) = reply.row.arms
        assert one.experiment == f"config:{begun['config']}" and one.stage == 0 and not one.counted
        target = "spare/m" if one.arm == "candidate" else "main/m"
        assert reply.headers["x-tidegate-target"] == target
        assert arm_of(await ask(house, user, stream=False)) == one.arm
    assert 8 <= sum(arm_of(one) == "candidate" for one in replies.values()) <= 32
    assert len({one.row.arms[0].unit for one in replies.values() if one.row}) == 40


async def test_who_has_it_keeps_it_while_the_share_grows(house: House):
    await start(house, share="20%")
    before = {user for user in map(str, range(40)) if arm_of(await ask(house, user)) == "candidate"}
    await say(house, "PATCH", share="60%")
    reply = await ask(house, "0")
    assert reply.row is not None and reply.row.arms[0].stage == 1
    after = {user for user in map(str, range(40)) if arm_of(await ask(house, user)) == "candidate"}
    assert before < after


async def test_without_a_canary_no_row_says_anything_of_one(house: House):
    reply = await ask(house, "ann")
    assert reply.row is not None and reply.row.arms == () and house.app.edge.choose is None


async def test_failures_in_a_row_take_it_back_by_itself(house: House):
    told: list[str] = []
    house.app.world.events.add(Listening(told))  # type: ignore[attr-defined]
    await start(house, DEAD)
    unlucky = await users(house, "candidate", 2)  # and that was two
    for at in range(3):
        assert (await ask(house, unlucky[at % 2])).status >= 500
    await until(lambda: house.app.edge.choose is None)
    now = await shown(house)
    assert (now["state"], now["by"]) == ("rolled_back", "house") and "calls in a row failed" in now["why"]
    assert (await ask(house, unlucky[0])).headers["x-tidegate-target"] == "main/m"
    assert told.count("canary_rolled_back") == 1


class Listening:
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def call_began(self, call: object) -> None: ...

    def call_ended(self, call: object, row: object) -> None: ...

    def notice(self, name: str, fields: object) -> None:
        self._told.append(name)


async def test_what_the_candidate_finds_of_a_target_does_not_set_it_aside_for_the_others(house: House):
    """Both name their provider main, at two addresses."""
    await start(house, DEAD)
    unlucky = await users(house, "candidate", 2)
    for at in range(3):
        await ask(house, unlucky[at % 2])
    assert [one.state for one in house.app.gateway.upstream.targets.seen() if one.target == "main/m"] == ["closed"]


async def test_models_that_are_not_there_any_more_take_it_back(house: House):
    await start(house, BROKEN)
    for at in range(60):
        await ask(house, f"user {at}")
    await house.app.canaries.look()
    now = await shown(house)
    assert now["state"] == "rolled_back" and "were refused" in now["why"]


async def test_a_call_of_the_candidate_that_is_under_way_ends_as_it_began(house: House):
    await start(house, SPARE_FIRST.replace("{input: 3, output: 6}", "{input: 7, output: 7}"))
    (lucky,) = await users(house, "candidate", 1)
    side = house.app.canaries.providers[1]
    side.server.sleep = house.clock.sleep  # type: ignore[attr-defined]
    side.server.says(["one ", "two"], between=60.0)  # type: ignore[attr-defined]
    house.clock.hold()
    asking = house.begin(headers={"x-tidegate-user": lucky})
    await asking.heard("one")
    await say(house, "POST", "/rollback", why="enough")
    assert side.server.address  # type: ignore[attr-defined]
    await house.clock.advance(600.0)
    reply = await asking.reply()
    assert reply.text == "one two" and arm_of(reply) == "candidate"
    await until(lambda: not side.server.address)  # type: ignore[attr-defined]


async def test_promoted_it_is_the_configuration_and_its_file_is(house: House):
    files = house.files
    assert files is not None
    files.file.write_text(TWO_PROVIDERS)
    await start(house)
    provider = house.app.canaries.providers[0]
    assert (await say(house, "POST", "/promote")).events[0]["state"] == "promoted"
    reply = await ask(house, "anybody")
    assert reply.headers["x-tidegate-target"] == "spare/m" and reply.row is not None and reply.row.arms == ()
    assert files.file.read_text() == SPARE_FIRST and files.before.read_text() == TWO_PROVIDERS
    assert provider in house.app.gateway.providers.values()
    assert (await say(house, "POST", "/rollback")).status == 404


async def test_it_is_promoted_by_itself_when_told(house: House):
    await start(house, promote_after="10m", promote_calls=5)
    for user in await users(house, "candidate", 6):
        await ask(house, user)
    await house.app.canaries.look()
    assert (await shown(house))["state"] == "running"
    await house.clock.advance(600.0)
    await house.app.canaries.look()
    now = await shown(house)
    assert (now["state"], now["by"]) == ("promoted", "house") and "nothing was worse" in now["why"]


async def test_what_nobody_promotes_is_taken_back(house: House):
    await start(house)
    await house.clock.advance(86_400.0)
    await house.app.canaries.look()
    assert (await shown(house))["why"].startswith("it was not promoted within")


async def test_it_is_taken_back_here_while_the_store_is_away_and_there_when_it_is_back(house: House, monkeypatch):
    await start(house)
    store = house.app.world.store

    async def away(*_: object, **__: object) -> Any:
        raise StoreDown("it is away")

    with monkeypatch.context() as broken:
        for name in ("find", "change", "add"):
            broken.setattr(type(store), name, away)
        await house.clock.advance(86_400.0)
        await house.app.canaries.look()
        assert house.app.edge.choose is None
    await house.app.canaries.look()
    assert (await shown(house))["state"] == "rolled_back"
    assert house.app.edge.choose is None


async def test_a_change_of_the_configuration_itself_ends_it(house: House):
    await start(house)
    await house.app.reload(read(house, TWO_PROVIDERS.replace("output: 2", "output: 3")))
    now = await shown(house)
    assert (now["state"], now["why"]) == ("rolled_back", "the configuration itself was changed meanwhile")
    assert house.app.edge.choose is None


async def test_reading_the_same_again_does_not(house: House):
    await start(house)
    await house.app.reload(house.app.config)
    assert (await shown(house))["state"] == "running"


async def test_who_puts_its_file_in_place_by_hand_has_promoted_it(house: House):
    await start(house)
    await house.app.reload(read(house, SPARE_FIRST))
    assert (await shown(house))["state"] == "promoted"


def read(house: House, text: str) -> Config:
    assert house.files is not None
    path = house.files.file.with_name("other.yaml")
    path.write_text(text)
    return Files(path, house.files._load)._load(path)


@pytest.mark.parametrize(
    ("text", "fields", "status", "why"),
    [
        (None, {}, 404, "tidegate.canary.yaml to be tried"),
        ("routes: {fast: {targets: []}}", {}, 400, "nothing was changed: .*targets: needs at least one"),
        (
            "metrics: {litellm_names: true}\n" + TWO_PROVIDERS,
            {},
            400,
            "metrics: cannot change while serving",
        ),
        (TWO_PROVIDERS, {}, 400, "what answers already"),
        (SPARE_FIRST, {"share": "0%"}, 400, "more than 0 and less than 100%"),
        (SPARE_FIRST, {"share": "100%"}, 400, "more than 0 and less than 100%"),
        (SPARE_FIRST, {"share": "lots"}, 400, "a share such as 5%"),
        (SPARE_FIRST, {"unit": "team"}, 400, "unit: "),
        (SPARE_FIRST, {"promote_after": "soon"}, 400, "promote_after"),
        (SPARE_FIRST, {"path": "/etc/passwd"}, 400, "path: "),
    ],
)
async def test_what_cannot_be_tried_changes_nothing_and_says_why(house: House, text, fields, status, why):
    before = house.app.gateway
    if text is None:
        reply = await say(house, "POST", share="5%")
    else:
        reply = await start(house, text, **fields)
    assert reply.status == status and reply.error is not None
    assert re.search(why, reply.error.message or "")
    assert house.app.gateway is before and house.app.edge.choose is None and house.app.canaries.providers == []
    assert (await say(house, "GET")).status == 404


async def test_one_at_a_time(house: House):
    await start(house)
    again = await start(house)
    assert again.status == 409 and "is tried already" in (again.error.message or "")
    assert (await say(house, "PATCH", share="40%")).status == 400


@pytest.mark.parametrize(("method", "path"), [("PATCH", ""), ("POST", "/promote"), ("POST", "/rollback")])
async def test_without_one_there_is_nothing_to_decide(house: House, method, path):
    fields = {"share": "9%"} if method == "PATCH" else {}
    assert (await say(house, method, path, **fields)).status == 404


async def test_the_log_that_nobody_can_change_says_who_decided(build_house: Build):
    house = await build_house(TWO_PROVIDERS + "audit: {enabled: true}\n")
    await start(house, SPARE_FIRST + "audit: {enabled: true}\n")
    await house.clock.advance(86_400.0)
    await house.app.canaries.look()
    await start(house, BROKEN + "audit: {enabled: true}\n")
    await say(house, "POST", "/rollback", why="the bill")
    await house.app.world.ledger.flush()
    page = (await house.get("/admin/audit")).events[0]
    found = {(one["did"], one["by"] == "house"): one for one in page["entries"] if one["did"].startswith("canary")}
    assert {*found} == {("canary_started", False), ("canary_rolled_back", True), ("canary_rolled_back", False)}
    assert found["canary_rolled_back", True]["after"]["why"].startswith("it was not promoted")
    assert found["canary_rolled_back", False]["after"] == {"why": "the bill"}


async def test_a_process_whose_file_is_another_says_so_and_takes_it_up_when_it_is_put_right(house: House):
    """As one that starts again, and finds in the store what the others try."""
    told: list[str] = []
    house.app.world.events.add(Listening(told))  # type: ignore[attr-defined]
    await start(house)
    assert house.files is not None
    keeper = house.app.canaries
    keeper._drop()
    house.files.candidate.write_text(BROKEN)
    for _ in range(3):
        await keeper.look()
    assert told.count("canary_missing") == 1 and house.app.edge.choose is None
    assert (await shown(house))["here"] is False and (await shown(house))["state"] == "running"
    house.files.candidate.write_text(SPARE_FIRST)
    await keeper.look()
    assert (await shown(house))["here"] is True and house.app.edge.choose is not None


async def test_of_two_processes_that_decide_at_once_one_does_and_both_do_the_same(house: House):
    await start(house)
    app, chosen = house.app, [object()]

    async def become(side: Side) -> None:
        chosen.append("became")

    hands = Hands(lambda: app.config, app._beside, become, app._let_go, lambda chooser: chosen.__setitem__(0, chooser))
    other = Keeper(app.world, Listeners([]), house.files, hands)
    await other.look()
    assert isinstance(chosen[0], Chooser)
    ends = await asyncio.gather(
        app.canaries.roll_back("k", "here"), other.promote("k"), other.roll_back("k", "there"), return_exceptions=True
    )
    assert sum(isinstance(one, Canary) for one in ends) == 1
    assert all(isinstance(one, Canary | Conflict | NotFound) for one in ends)
    await asyncio.gather(other.look(), app.canaries.look())
    promoted = (await shown(house))["state"] == "promoted"
    assert chosen[0] is None and app.edge.choose is None
    assert ("became" in chosen) == promoted == ((await ask(house, "ann")).headers["x-tidegate-target"] == "spare/m")


async def test_whatever_goes_wrong_somebody_goes_on_watching(house: House, monkeypatch):
    told: list[str] = []
    house.app.world.events.add(Listening(told))  # type: ignore[attr-defined]
    await start(house)

    async def broken(self: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as wrong:
        wrong.setattr(type(house.app.canaries), "look", broken)
        house.app.canaries.wake()
        await until(lambda: "crash" in told)
    await house.clock.advance(86_400.0)
    house.app.canaries.wake()
    await until(lambda: "canary_rolled_back" in told)


async def test_prometheus_is_told(house: House):
    await start(house)
    await users(house, "candidate", 1)
    page = (await house.get("/metrics")).body.decode()
    assert "tidegate_canary_share 0.5" in page
    assert 'tidegate_canary_calls_total{arm="candidate",outcome="ok"} 1.0' in page


def test_a_unit_cannot_be_told_from_where_it_stands():
    at, digest = place("salt", "ann")
    assert len(digest) == 16 and not digest.startswith(f"{int(at * 2**32):08x}")

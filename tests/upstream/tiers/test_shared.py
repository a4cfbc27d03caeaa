"""What was learned of tiers is there after a restart, in every process, and in none of them once somebody is erased."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, lived_in, until
from tests.upstream.tiers.test_pupil import LEARNS, chances, learn, question
from tidegate.core.errors import StoreDown
from tidegate.upstream.tiers.known import LEAST
from tidegate.upstream.tiers.pupil import Pupil

SEALED = f"\nvault: {{keys: ['{'0a' * 32}'], keyring: KEYRING}}\n"


def pupil(house: House) -> Pupil:
    found = house.app._ground.pupil
    assert isinstance(found, Pupil)
    return found


def labels(house: House) -> int:
    return sum(one.labels for one in pupil(house).figures)


def on(database: str, more: str = "") -> str:
    return LEARNS + f"storage: {{database: '{database}'}}\n" + more


async def opine(house: House, id: str | None, thumbs: str = "up") -> None:
    said = json.dumps({"request_id": id, "thumbs": thumbs}).encode()
    assert (await house.ask(path="/v1/feedback", body=said)).status == 201


async def asked(house: House, user: str = "", topic: str = "physics", *, by: int = 1) -> str | None:
    headers = {"x-tidegate-user": user} if user else {}
    return (await house.ask(question(topic, random.Random(by)), route="auto", stream=False, headers=headers)).id


async def test_it_outlasts_a_restart(tmp_path: Path) -> None:
    async with lived_in(LEARNS, tmp_path) as house:
        await learn(house)
    async with lived_in(LEARNS, tmp_path) as house:
        await pupil(house).share()
        assert labels(house) == LEAST + 20
        await until(lambda: pupil(house).figures[0].learned)
        _, (bad, good) = await chances(house, "physics")
        assert bad < 0.45 < 0.75 < good


async def test_it_outlasts_a_reload(tmp_path: Path) -> None:
    async with lived_in(LEARNS, tmp_path) as house:
        await opine(house, await asked(house))
        await house.app.reload(house.app.config)
        assert labels(house) == 1


async def test_where_nothing_may_be_kept_it_ends_with_the_process(tmp_path: Path) -> None:
    text = LEARNS.replace("learn: true", "learn: true, keep: 0s")
    async with lived_in(text, tmp_path) as house:
        await opine(house, await asked(house))
        assert labels(house) == 1
    async with lived_in(text, tmp_path) as house:
        await pupil(house).share()
        assert labels(house) == 0


async def test_what_its_time_is_over_for_is_neither_kept_nor_known(tmp_path: Path) -> None:
    async with lived_in(LEARNS.replace("learn: true", "learn: true, keep: 1h"), tmp_path) as house:
        await opine(house, await asked(house))
        await pupil(house).share()
        await house.clock.advance(3700)
        await pupil(house).share()
        assert labels(house) == 0


async def test_what_one_process_has_heard_the_others_know(postgres: str, tmp_path: Path) -> None:
    text = on(postgres)
    async with (
        lived_in(text, tmp_path / "one") as one,
        lived_in(text, tmp_path / "other", clock=one.clock) as other,
    ):
        await opine(one, await asked(one))
        await opine(other, await asked(other, by=2))
        for house in (one, other, one):
            await pupil(house).share()
        assert [labels(one), labels(other)] == [2, 2]


async def test_an_opinion_finds_its_way_to_the_process_that_answered(postgres: str, tmp_path: Path) -> None:
    text = on(postgres)
    async with (
        lived_in(text, tmp_path / "one") as one,
        lived_in(text, tmp_path / "other", clock=one.clock) as other,
    ):
        id = await asked(one)
        await one.app.world.ledger.flush()
        await opine(other, id, "down")
        assert labels(other) == 0
        await pupil(other).share()
        await pupil(one).share()
        (known,) = pupil(one).figures
        assert known.labels == 1 and known.found.quality["said"].value == 0.0


async def test_whoever_is_erased_is_forgotten_by_all_processes(postgres: str, tmp_path: Path) -> None:
    text = on(postgres, SEALED.replace("KEYRING", str(tmp_path / "keys")))
    async with (
        lived_in(text, tmp_path / "one") as one,
        lived_in(text, tmp_path / "other", clock=one.clock) as other,
    ):
        ids = {user: await asked(one, user) for user in ("ann", "bob", "eve")}
        await opine(one, ids["ann"])
        await opine(one, ids["bob"])
        await pupil(one).share()
        await pupil(other).share()
        kept = [json.loads(line)["kind"] for line in (await one.get("/admin/subjects?id=ann")).body.splitlines()]
        assert kept.count("lesson") == 1 and [labels(one), labels(other)] == [2, 2]
        await one.app.world.ledger.flush()
        erased = await one.begin(path="/admin/subjects?id=ann", method="DELETE", body=b"").reply()
        assert erased.events[0]["lessons"] == 1
        await pupil(one).share()
        await pupil(other).share()
        assert [labels(one), labels(other)] == [1, 1]
        await opine(one, ids["eve"])
        assert labels(one) == 1, "of calls that were open it is not known whose they were"


async def test_heads_that_have_seen_questions_of_whoever_is_erased_are_learned_anew(tmp_path: Path) -> None:
    async with lived_in(LEARNS + SEALED.replace("KEYRING", str(tmp_path / "keys")), tmp_path / "data") as house:
        await opine(house, await asked(house, "ann"))
        await learn(house)
        await pupil(house).share()
        assert pupil(house).figures[0].learned
        await house.app.world.ledger.flush()
        await house.begin(path="/admin/subjects?id=ann", method="DELETE", body=b"").reply()
        await pupil(house).share()
        await until(lambda: pupil(house).figures[0].learned)
        assert labels(house) == LEAST + 20


async def test_questions_are_nobodys_to_read_from_a_disk(tmp_path: Path) -> None:
    async with lived_in(LEARNS + SEALED.replace("KEYRING", str(tmp_path / "keys")), tmp_path / "data") as house:
        await opine(house, await asked(house, "ann"))
        await pupil(house).share()
        ((body,),) = await house.app.world.store.tables.rows("SELECT body FROM LESSONS")  # type: ignore[attr-defined]
        (known,) = pupil(house)._classes.values()
        (label,) = known.labels.values()
        assert label.lesson.vector not in bytes(body) and label.subject not in (None, "", "ann")


async def test_a_store_that_is_away_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lived_in(LEARNS, tmp_path) as house:
        await opine(house, await asked(house))
        lessons, away = pupil(house)._shared._lessons, True
        add = lessons.add

        async def down(some: Any) -> Any:
            if away:
                raise StoreDown("the store is down")
            return await add(some)

        monkeypatch.setattr(lessons, "add", down)
        with pytest.raises(StoreDown):
            await pupil(house).share()
        away = False
        await pupil(house).share()
        assert len(await lessons.after(0, 10)) == 1

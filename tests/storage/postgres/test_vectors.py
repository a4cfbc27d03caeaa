"""Vectors in PostgreSQL: what the contract does not say."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.clock import now_s
from tests.postgres import Server
from tidegate.core.errors import ConfigError, StoreDown
from tidegate.core.ports import Answer, Entry
from tidegate.storage.postgres import vectors as module
from tidegate.storage.postgres.vectors import PostgresVectors

LOOK_S = 0.3  # for a busy machine; 50 ms in earnest


def unit(chance: np.random.Generator, dimensions: int = 64) -> bytes:
    values = chance.standard_normal(dimensions)
    return (values / np.linalg.norm(values)).astype("<f4").tobytes()


async def opened(url: str, told: list[str], **options: Any) -> PostgresVectors:
    return await PostgresVectors.open(url, 10_000, lambda name, fields: told.append(name), look_s=LOOK_S, **options)


async def took(vectors: PostgresVectors, vector: bytes) -> tuple[float, bool]:
    """Seconds, and whether there was an answer."""
    began = now_s()
    try:
        await vectors.nearest("team", vector, 1)
    except StoreDown:
        return now_s() - began, False
    return now_s() - began, True


@pytest.mark.parametrize("how", ["hangs", "ends"])
async def test_a_database_that_is_gone_costs_one_look_a_moment_and_the_others_nothing(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch, how: str
):
    monkeypatch.setattr(module, "SEEK_S", (module.REST_S + 0.1, 1.0))
    told: list[str] = []
    chance = np.random.default_rng(0)
    vectors = await opened(postgres_server.new_database(), told)
    await vectors.add("team", Entry("a", unit(chance), Answer("x", b"", b"")))
    assert (await took(vectors, unit(chance)))[1]
    if how == "hangs":
        postgres_server.freeze()
    else:
        postgres_server.stop()
    try:
        looks = [await took(vectors, unit(chance)) for _ in range(20)]
    finally:
        if how == "hangs":
            postgres_server.thaw()
        else:
            postgres_server.start()
    assert not any(answered for _, answered in looks)
    assert looks[0][0] < LOOK_S + 0.2 and all(seconds < 0.05 for seconds, _ in looks[1:]), looks
    async with asyncio.timeout(20):
        while told != ["vectors_lost", "vectors_back"]:
            await asyncio.sleep(0.05)
    assert (await took(vectors, unit(chance)))[1]
    await vectors.aclose()


async def test_whoever_may_not_have_pgvector_is_told_what_to_do(postgres_cluster: Server):
    url = postgres_cluster.new_database()
    name = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE ROLE plain_{name} LOGIN")
        db.execute(f"GRANT CREATE ON DATABASE {name} TO plain_{name}")
    with pytest.raises(ConfigError, match=r"pgvector there: permission denied.*CREATE EXTENSION vector as a superuser"):
        await opened(url.replace("postgres@", f"plain_{name}@"), [])
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"DROP OWNED BY plain_{name}")
        db.execute(f"DROP ROLE plain_{name}")
    postgres_cluster.drop(url)


async def test_a_pgvector_that_is_too_old_is_told_what_to_do(postgres: str):
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE EXTENSION vector")
        db.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    with pytest.raises(ConfigError, match=r"pgvector 0.7.4 is too old.*0.8 or newer"):
        await opened(postgres, [])


async def test_the_index_finds_what_a_search_of_all_finds_among_many_partitions(postgres: str):
    chance = np.random.default_rng(2)
    vectors = await opened(postgres, [])
    points = {f"{at}": unit(chance) for at in range(600)}
    for at, (id, point) in enumerate(points.items()):
        await vectors.add(f"team {at % 3}", Entry(id, point, Answer(id, b"", b"")))
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("ANALYZE tidegate.semantic_entries")
        found = db.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'semantic_entries'").fetchall()
        assert ("semantic_entries_64",) in found
    right = 0
    for _ in range(20):
        asked = np.frombuffer(unit(chance), "<f4")
        near = await vectors.nearest("team 1", asked.tobytes(), 5)
        own = {id: float(np.frombuffer(point, "<f4") @ asked) for id, point in points.items() if int(id) % 3 == 1}
        best = sorted(own, key=lambda id: -own[id])[:5]
        right += len({one.id for one in near} & set(best))
        assert [one.similarity for one in near] == pytest.approx([own[one.id] for one in near], abs=1e-5)
    assert right >= 95
    await vectors.aclose()


@pytest.mark.parametrize("dimensions", [3072, 4500])
async def test_long_vectors_are_kept_too(postgres: str, dimensions: int):
    chance = np.random.default_rng(3)
    vectors = await opened(postgres, [])
    point = unit(chance, dimensions)
    await vectors.add("team", Entry("a", point, Answer("x", b"", b"")))
    (found,) = await vectors.nearest("team", point, 1)
    assert found.similarity == pytest.approx(1, abs=1e-5)
    await vectors.aclose()

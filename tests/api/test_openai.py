"""The paths of OpenAI's API, but for the calls themselves."""

from __future__ import annotations

import pytest

from tests.house import TWO_PROVIDERS

ALIASED = TWO_PROVIDERS.replace("order: 2}]", "order: 2}]\n    aliases: [gpt-4o]")


async def test_models_are_listed_as_clients_expect_them(build_house):
    house = await build_house(ALIASED)
    reply = await house.get("/v1/models")
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    assert reply.events[0] == {
        "object": "list",
        "data": [
            {"id": "fast", "object": "model", "created": 0, "owned_by": "tidegate"},
            {"id": "gpt-4o", "object": "model", "created": 0, "owned_by": "tidegate"},
        ],
    }


async def test_without_routes_every_model_that_is_served_is_listed(build_house):
    house = await build_house("providers: {a: {type: scripted, models: [m, n]}, b: {type: scripted, models: [n, o]}}")
    reply = await house.get("/v1/models")
    assert [model["id"] for model in reply.events[0]["data"]] == ["m", "n", "o"]


@pytest.mark.parametrize("name", ["fast", "gpt-4o", "main/any/model"])
async def test_a_model_is_found_by_all_of_its_names(build_house, name):
    house = await build_house(ALIASED)
    reply = await house.get(f"/v1/models/{name}")
    assert reply.status == 200 and reply.events[0]["id"] == name


@pytest.mark.parametrize("name", ["fats", "", "main/", "nobody/m", "x" * 10_000, "main/" + "x" * 10_000])
async def test_a_model_that_is_not_there_is_not_found(house, name):
    reply = await house.get(f"/v1/models/{name}")
    assert (reply.status, reply.error.code) == (404, "model_not_found")
    assert "fast" in reply.error.message and len(reply.error.message) < 500


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fast", "/v1/models/unknown"])
async def test_a_key_is_needed_to_see_them(house, path):
    for key in ("wrong", " "):
        reply = await house.get(path, key=key)
        assert (reply.status, reply.error.code) == (401, "invalid_api_key")
    assert (await house.get(path, headers={"authorization": "", "x-api-key": house.key})).status != 401


async def test_looking_is_no_call(house):
    await house.get("/v1/models")
    assert not await house.rows()

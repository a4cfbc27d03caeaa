"""The paths of OpenAI's API, but for the calls themselves."""

from __future__ import annotations

import pytest

from tests.house import TWO_PROVIDERS
from tidegate.api.openai import may_pass

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


# --- paths that we do not know


@pytest.mark.parametrize(
    "path",
    ["/v1/files", "/v1/files/", "/v1/responses/resp_1/cancel", "/v1/images/generations", "/v1/a..b", "/v1/x/...."],
)
def test_what_is_within_v1_may_pass(path):
    assert may_pass(path, path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v2/files",
        "/files",
        "/v1/organization/admin_api_keys",
        "/v1/organizations",
        "/v1//organization/users",
        "/v1/./organization/users",
        "/v1/files/../organization/users",
        "/v1/files/..",
        "/v1/../admin/keys",
    ],
)
async def test_what_leads_elsewhere_may_not(house, path):
    assert not may_pass(path, path)
    reply = await house.get(path)
    assert (reply.status, reply.error.code) == (404, "not_found")
    assert not house.provider("main").requests


async def test_what_may_pass_is_answered_by_a_provider_as_it_came(house):
    reply = await house.get("/v1/vector_stores/a%2Fb?limit=2&after=x%20y")
    asked = house.provider("main").requests[-1]
    assert (asked.method, asked.path, asked.body) == (b"GET", b"/v1/vector_stores/a%2Fb?limit=2&after=x%20y", b"")
    assert reply.status == 404 and "nothing answers GET" in reply.error.message
    assert (reply.row.operation, reply.row.outcome, reply.row.status) == ("raw", "refused", 404)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "application/octet-stream"])
async def test_so_is_its_body_whatever_kind_it_is_of(house, kind):
    body = b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n\xff\0\r\n--x--\r\n'
    await house.ask(
        path="/v1/files",
        body=b'{"a": 1 }' if kind.endswith("json") else body,
        headers={"content-type": kind, "x-tidegate-route": "fast"},
    )
    asked = house.provider("main").requests[-1]
    assert asked.body == (b'{"a": 1 }' if kind.endswith("json") else body)
    assert dict(asked.headers)[b"content-type"] == kind.encode()
    assert house.key.encode() not in b"".join(value for _, value in asked.headers)


async def test_nobody_passes_without_a_key(house):
    reply = await house.get("/v1/files", key="wrong")
    assert (reply.status, reply.error.code) == (401, "invalid_api_key")
    assert not house.provider("main").requests


@pytest.mark.parametrize("path", ["/v1/models/fast", "/v1/models/ft:mine"])
async def test_a_model_of_the_provider_cannot_be_deleted(house, path):
    reply = await house.begin(method="DELETE", path=path, body=b"").reply()
    assert reply.status == 405 and not house.provider("main").requests

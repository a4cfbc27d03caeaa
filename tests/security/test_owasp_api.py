"""The OWASP API Security Top 10 of 2023: one test for each row that is not another file's already."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.house import House

LIMITED = """
limits: {guesses: 3}
providers: {main: {type: scripted, price: {input: 1, output: 2}}}
routes: {fast: {targets: [{provider: main, model: m}]}}
"""


async def member(house: House, name: str = "a member", **fields: Any) -> str:
    text, _ = await house.app.gateway.auth.desk.make_key(name, role="member", **fields)
    return text


async def test_api1_broken_object_level_authorization(house: House):
    """What another key did is not there, whether its id is known or not."""
    mine, theirs = await member(house, "mine"), await member(house, "theirs")
    asked = await house.ask("a secret of mine", key=mine)
    assert (await house.get(f"/v1/requests/{asked.id}", key=mine)).status == 200
    there = await house.get(f"/v1/requests/{asked.id}", key=theirs)
    nowhere = await house.get(f"/v1/requests/{asked.id[:-1]}x", key=theirs)
    assert (there.status, there.error.code) == (nowhere.status, nowhere.error.code) == (404, "not_found")


async def test_api2_broken_authentication(build_house: Any):
    """Keys cannot be guessed for long, and every wrong one is answered alike."""
    house: House = await build_house(LIMITED)
    assert (await house.ask()).status == 200
    wrong = [await house.ask(key=key) for key in ("x", house.key[:-1] + "x", "tg_live_a_b_000000")]
    assert {(reply.status, reply.body) for reply in wrong} == {(401, wrong[0].body)}
    assert (await house.ask(key="y")).status == 429
    assert (await house.get("/v1/models", key="y")).status == 429
    assert (await house.ask()).status == 200, "a key that is known is not kept out by who guesses beside it"


async def test_api3_broken_object_property_level_authorization(house: House):
    """Nothing is shown of a key that could be used, and nothing is set that was not offered."""
    made = await house.ask(path="/admin/keys", body=b'{"name": "ci"}')
    text = made.events[0]["key"]
    shown = [(await house.get("/admin/keys")).body, (await house.get(f"/admin/keys/{made.events[0]['id']}")).body]
    for page in shown:
        assert text.encode() not in page and b"digest" not in page and b"pepper" not in page
    for extra in ({"id": "mine"}, {"digest": "AAAA"}, {"created_ms": 0}, {"is_admin": True}):
        body = json.dumps({"name": "x", **extra}).encode()
        assert (await house.ask(path="/admin/keys", body=body)).status == 400


async def test_api4_unrestricted_resource_consumption(build_house: Any):
    """Nothing is bought that has not been set aside, however much is asked for at once."""
    house: House = await build_house(LIMITED + "budgets: {default_day: 0.001}\n")
    key = await member(house)
    asked = [await house.ask(key=key, max_tokens=400) for _ in range(4)]
    assert [reply.status for reply in asked][-1] == 402
    assert sum(reply.row.cost_nusd or 0 for reply in asked) <= 1_000_000
    assert (await house.ask(key=key, max_tokens=2**60)).status == 402
    assert (await house.ask("x" * 40_000_000, key=key)).status == 413


@pytest.mark.parametrize("role", ["member", "viewer"])
async def test_api5_broken_function_level_authorization(house: House, role: str):
    """What only administrators may do is refused to all others, whatever the method is."""
    text, _ = await house.app.gateway.auth.desk.make_key("one", role=role)
    bodies = {
        "/admin/organisations": {"id": "x", "name": "x"},
        "/admin/guardrails/try": {"text": "x"},
        "/admin/cache": {},
    }
    for path, fields in bodies.items():
        method = "DELETE" if path == "/admin/cache" else "POST"
        reply = await house.begin(method=method, path=path, key=text, body=json.dumps(fields).encode()).reply()
        assert (reply.status, reply.error.code) == (403, "permission_denied"), (method, path)


async def test_api6_unrestricted_access_to_sensitive_business_flows(build_house: Any):
    """A program that asks the same again and again is stopped, and not moved to a dearer model."""
    house: House = await build_house(
        "limits: {loops: {policy: stop}}\n" + LIMITED.replace("limits: {guesses: 3}\n", "")
    )
    said = [await house.ask("improve the plan", headers={"x-tidegate-session": "s"}) for _ in range(40)]
    refused = [reply for reply in said if reply.status == 429]
    assert refused and refused[-1].error.code == "loop_suspected"
    assert refused[-1].headers["x-should-retry"] == "false"


def test_api7_server_side_request_forgery() -> None:
    """In test_ssrf.py: all of it."""


async def test_api8_security_misconfiguration(house: House):
    """As it comes: only this machine, no page of another origin, no banner, no list of methods that are not there."""
    assert house.app.config.api.host == "127.0.0.1" and house.app.config.api.cors == ()
    reply = await house.get("/health", headers={"origin": "https://evil.example"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    for method in ("TRACE", "TRACK", "CONNECT", "DEBUG"):
        assert (await house.begin(method=method, path="/v1/models", body=b"").reply()).status in (400, 405)
    for path in (
        "/.env",
        "/.git/config",
        "/debug",
        "/actuator",
        "/admin/config",
        "/redoc",
        "/metrics/../x",
    ):
        assert (await house.get(path)).status == 404
    # The console is a page to log in at, and asks nothing for who has not, though they bring a key.
    assert (await house.get("/console/api/admin/keys")).status == 401


async def test_api9_improper_inventory_management(house: House):
    """Every path that answers is in the document, and one version of each."""
    document = (await house.get("/openapi.json")).events[0]
    served = {
        (path, method.lower())
        for route in _routes(house)
        for path, methods in [(route.path_format, route.methods)]
        for method in methods
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert {one for one in served if one[1] != "head"} - described == {("/docs", "get"), ("/openapi.json", "get")}


def _routes(house: House) -> list[Any]:
    app = house.app.edge._pages
    assert app is not None
    return [route for route in app.routes if getattr(route, "methods", None)]  # type: ignore[attr-defined]


def test_api10_unsafe_consumption_of_apis() -> None:
    """In test_headers.py and test_told.py, and tests/contracts/transport/test_hostile_contract.py: providers are not
    believed."""

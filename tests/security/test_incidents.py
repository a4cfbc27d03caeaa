"""What happened to others does not happen here: each test is named after the incident that it keeps out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.house import House
from tidegate import config
from tidegate.app import make_providers
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Key

INJECTIONS = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE keys; --",
    '" UNION SELECT * FROM keys --',
    "tg_live_' OR '1'='1_x_000000",
    "tg_live_x' UNION SELECT id FROM keys --_x_000000",
    "\\'; ATTACH DATABASE 'x' AS y; --",
    "%27%20OR%201=1",
    "1); DELETE FROM keys WHERE (1=1",
]


async def kept(house: House) -> list[bytes]:
    return [msgspec.json.encode(key) for key in await house.app.world.store.every(Key)]


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize("text", INJECTIONS)
async def test_cve_2026_42208_sql_in_the_key_header_is_a_key_that_nobody_knows(house: House, header: str, text: str):
    before = await kept(house)
    value = f"Bearer {text}" if header == "authorization" else text
    refused = set()
    for sent in ({"authorization": "", header: value}, {"authorization": "", header: "tg_live_unknown"}):
        reply = await house.ask(headers=sent)
        assert (reply.status, reply.error.code, reply.row) == (401, "invalid_api_key", None)
        refused.add(json.dumps(reply.events[0]))
    assert len(refused) == 1, "the same body whatever it says"
    assert (await house.get("/admin/keys", headers={"authorization": "", header: value})).status == 401
    assert await kept(house) == before


@pytest.mark.parametrize("text", INJECTIONS)
async def test_cve_2026_42208_sql_in_an_id_is_an_id_that_is_not_there(house: House, text: str):
    before = await kept(house)
    for noun in ("keys", "teams", "users", "organisations"):
        path = f"/admin/{noun}/{text.replace('/', '').replace('?', '')}"
        assert (await house.get(path)).status == 404
    assert await kept(house) == before


def test_cve_2026_35030_a_cache_keyed_on_the_beginning_of_a_token() -> None:
    """In tests/stages/auth/test_tokens.py: test_a_token_is_remembered_whole_and_never_for_its_beginning."""


async def test_cve_2026_35030_a_key_is_remembered_whole(house: House):
    assert (await house.ask()).status == 200
    for other in (house.key[:-1], house.key[:20], house.key[:20] + "x" * (len(house.key) - 20), house.key + "x"):
        assert (await house.ask(key=other)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost"},
        {"host": "127.0.0.1"},
        {"host": "admin/health"},
        {"host": "x/health?"},
        {"host": "localhost:8080/docs#"},
        {"x-forwarded-host": "localhost"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-original-url": "/health"},
        {"x-rewrite-url": "/health"},
        {"forwarded": "for=127.0.0.1;host=localhost"},
        {"x-http-method-override": "GET"},
    ],
)
async def test_cve_2026_49468_no_host_header_is_a_way_around_the_key(house: House, headers: dict[str, str]):
    for path in ("/admin/keys", "/v1/models", "/api/stats"):
        assert (await house.get(path, key="tg_live_wrong", headers=headers)).status == 401
    assert (await house.ask(key="tg_live_wrong", headers=headers)).status == 401


@pytest.mark.parametrize(
    "path", ["//admin/keys", "/admin//keys", "/health/../admin/keys", "/ADMIN/keys", "/docs/../admin/keys"]
)
async def test_cve_2026_49468_no_spelling_of_a_path_is_a_way_around_the_key(house: House, path: str):
    assert (await house.get(path, key="tg_live_wrong")).status in (401, 404)


@pytest.mark.parametrize("role", ["member", "viewer"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_cve_2026_35029_nobody_but_an_administrator_changes_anything(house: House, role: str, method: str):
    text, key = await house.app.gateway.auth.desk.make_key("any user", role=role)
    before = await kept(house)
    paths = ["/admin/config", "/config/update", "/admin/keys", f"/admin/keys/{key.id}", "/admin/teams", "/admin/users"]
    for path in paths:
        body = b'{"role": "admin", "name": "mine"}'
        reply = await house.begin(method=method, path=path, body=body, key=text).reply()
        assert reply.status in (403, 404, 405), f"{method} {path}: {reply.status}"
    assert await kept(house) == before


TEMPLATES = ["{{7*7}}", "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}", "${7*7}", "{0.__class__}"]


@pytest.mark.parametrize("text", TEMPLATES)
async def test_cve_2026_42203_what_looks_like_a_template_is_text(house: House, text: str):
    reply = await house.ask(text, user=text, headers={"x-tidegate-user": text})
    assert reply.status == 200 and "49" not in reply.text
    assert text in json.loads(house.provider("main").requests[-1].body)["messages"][0]["content"]
    made = await house.ask(path="/admin/keys", body=json.dumps({"name": text}).encode())
    assert made.events[0]["name"] == text
    assert (await house.ask(route=text)).status == 404


@pytest.mark.parametrize(
    "said",
    [
        {"base_url": "http://127.0.0.1:{port}/v1"},
        {"api_base": "http://127.0.0.1:{port}/v1"},
        {"custom_host": "http://127.0.0.1:{port}"},
        {"provider": {"base_url": "http://127.0.0.1:{port}"}},
        {"extra_body": {"base_url": "http://127.0.0.1:{port}"}},
    ],
)
async def test_cve_2025_66405_no_client_says_where_a_providers_key_is_sent(house: House, said: dict[str, Any]):
    came: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1000))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    fields = json.loads(json.dumps(said).replace("{port}", str(port)))
    headers = dict.fromkeys(("x-portkey-custom-host", "x-base-url", "x-tidegate-base-url", "x-api-base"), url)
    reply = await house.ask(headers=headers, **fields)
    assert reply.status == 200 and reply.attempts == ["main: ok"]
    for model in (f"{url}/m", f"main/../{url}", f"openai/{url}"):
        assert (await house.ask(route=model)).status in (200, 404)
    listener.close()
    assert came == []


@pytest.mark.parametrize(
    "fields",
    [
        {"masked": "tg_live_x_…"},
        {"key": "tg_live_x_…"},
        {"digest": "AAAA"},
        {"id": "other"},
        {"revoked_ms": None},
        {"pepper_version": 1},
    ],
)
async def test_bifrost_4353_what_was_only_shown_is_not_written_back(house: House, fields: dict[str, Any]):
    text, key = await house.app.gateway.auth.create("ci", "test", admin=False)
    before = await kept(house)
    reply = await house.begin(
        method="PATCH", path=f"/admin/keys/{key.id}", body=json.dumps({"name": "x", **fields}).encode()
    ).reply()
    assert reply.status == 400 and "Extra inputs are not permitted" in reply.error.message
    assert await kept(house) == before
    assert (await house.ask(key=text)).status == 200


async def test_bifrost_4353_a_client_that_reads_and_writes_back_is_told_and_the_key_still_works(house: House):
    text, key = await house.app.gateway.auth.create("ci", "test", admin=False)
    shown = (await house.get(f"/admin/keys/{key.id}")).events[0]
    reply = await house.begin(method="PATCH", path=f"/admin/keys/{key.id}", body=json.dumps(shown).encode()).reply()
    assert reply.status == 400
    assert (await house.ask(key=text)).status == 200


def test_no_provider_comes_from_a_request() -> None:
    """Providers and where they are stand in the configuration, and nowhere else."""
    configured = config.parse("providers: {main: {type: openai, models: [m], base_url: 'gopher://a/'}}", {})
    with pytest.raises(ConfigError, match=r"providers\.main\.base_url"):
        make_providers(configured, {})

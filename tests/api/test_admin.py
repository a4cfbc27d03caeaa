"""Keys, the guide's endpoints, and the document that describes them."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.house import House, Reply, until
from tidegate.core.ports import Key

KEY = re.compile(r"tg_[a-z]+_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")


async def made(house: House, **fields: Any) -> Reply:
    return await house.ask(path="/admin/keys", body=json.dumps(fields).encode())


async def plain_key(house: House) -> str:
    text, _ = await house.app.gateway.auth.create("plain", "test", admin=False)
    return text


async def chat(house: House, **fields: Any) -> Reply:
    return await house.ask(path="/api/chat", body=json.dumps({"user_input": "hi"} | fields).encode())


# --- keys


async def test_a_key_is_shown_once_and_works_at_once(house):
    reply = await made(house, name="ci", env="test")
    key = reply.events[0]
    assert reply.status == 201 and KEY.fullmatch(key["key"]) and key["key"].startswith("tg_test_")
    assert (key["name"], key["env"], key["role"], key["revoked_ms"]) == ("ci", "test", "member", None)
    assert (await house.ask(key=key["key"])).status == 200
    listed = await house.get("/admin/keys")
    assert [one["name"] for one in listed.events[0]] == ["a test", "ci"]
    assert key["key"] not in listed.body.decode() and "digest" not in listed.body.decode()
    assert key["id"] in listed.body.decode()


async def test_a_key_that_is_revoked_ends_within_a_second(house):
    key = (await made(house, name="ci")).events[0]
    assert (await house.ask(key=key["key"])).status == 200
    revoked = await house.begin(method="DELETE", path=f"/admin/keys/{key['id']}", body=b"").reply()
    assert revoked.status == 200 and revoked.events[0]["revoked_ms"] is not None
    await house.clock.sleep(1)
    assert (await house.ask(key=key["key"])).status == 401
    again = await house.begin(method="DELETE", path=f"/admin/keys/{key['id']}", body=b"").reply()
    assert again.events[0]["revoked_ms"] == revoked.events[0]["revoked_ms"]


async def test_a_key_that_is_not_there_cannot_be_revoked(house):
    reply = await house.begin(method="DELETE", path="/admin/keys/nobody", body=b"").reply()
    assert (reply.status, reply.error.code) == (404, "not_found") and "'nobody'" in reply.error.message


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/admin/keys"), ("GET", "/admin/keys"), ("DELETE", "/admin/keys/x")]
)
async def test_only_an_admin_administers(house, method, path):
    body = b'{"name": "mine", "admin": true}' if method == "POST" else b""
    key = await plain_key(house)
    reply = await house.begin(method=method, path=path, body=body, key=key).reply()
    assert (reply.status, reply.error.code) == (403, "permission_denied")
    assert "key 'plain' may not administer this: its role is member, and this needs admin" in reply.error.message
    reply = await house.begin(method=method, path=path, body=body, key="wrong").reply()
    assert (reply.status, reply.error.code, reply.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert len(await house.app.world.store.every(Key)) == 2


async def test_the_other_header_for_keys_is_good_here_too(house):
    reply = await house.get("/admin/keys", headers={"authorization": "", "x-api-key": house.key})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "the body: Field required"),
        (b"{}", "name", "name: Field required"),
        (b'{"name": ""}', "name", "at least 1 character"),
        (b'{"name": 5}', "name", "valid string"),
        (b'{"name": "a", "env": "No!"}', "env", "pattern"),
        (b'{"name": "a", "admin": "perhaps"}', "admin", "boolean"),
        (b'{"name": "a", "nmae": "b"}', "nmae", "Extra inputs"),
        (b'{"name": "a", "name": "b"}', "name", "stands twice"),
        (b"[]", None, "not a JSON object"),
        (b'{"name": NaN}', None, "JSON"),
        (b'{"name": "\xff"}', None, "UTF-8"),
        (b'{"name": "\\ud800"}', None, ""),
        (b'{"\\ud800": 1}', None, ""),
        (b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", None, "deep"),
        (b"[" * 10_000, None, "JSON"),
    ],
)
async def test_what_cannot_be_understood_is_told_where_and_why(house, body, param, words):
    reply = await house.ask(path="/admin/keys", body=body)
    assert (reply.status, reply.error.code) == (400, "invalid_request")
    assert words in reply.error.message and reply.error.param == param


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_another_kind_of_body_is_told_what_to_send(house, kind):
    reply = await house.ask(path="/api/chat", body=b"user_input=hi", headers={"content-type": kind})
    assert reply.status == 415 and "'Content-Type: application/json'" in reply.error.message


async def test_a_body_without_a_kind_is_taken_for_json(house):
    reply = await house.ask(path="/api/chat", body=b'{"user_input": "hi"}', headers={"content-type": ""})
    assert reply.status == 200


# --- the guide's chat


async def test_chat_answers_as_the_guide_says(house):
    house.provider("main").says("one two three")
    reply = await chat(house)
    assert reply.status == 200
    assert reply.events[0] == {
        "response": "one two three",
        "cached": False,
        "latency_ms": reply.events[0]["latency_ms"],
        "tokens_used": 7,
        "cost_usd": 0.00001,
    }
    assert 0 <= reply.events[0]["latency_ms"] < 10_000
    asked = json.loads(house.provider("main").requests[-1].body)
    message = {"role": "user", "content": "hi"}
    assert asked == {"model": "m", "messages": [message], "max_tokens": 1024, "temperature": 0.7}


async def test_its_fields_may_come_as_query_parameters(house):
    house.provider("main").says("yes")
    query = f"user_input={quote('größer & more')}&model=main/x&max_tokens=5&temperature=0&use_cache=false"
    reply = await house.ask(path=f"/api/chat?{query}", body=b"", headers={"content-type": ""})
    assert reply.status == 200 and reply.events[0]["response"] == "yes"
    asked = json.loads(house.provider("main").requests[-1].body)
    assert (asked["model"], asked["messages"][0]["content"]) == ("x", "größer & more")
    assert (asked["max_tokens"], asked["temperature"]) == (5, 0)


async def test_it_is_a_call_like_any_other(house):
    reply = await house.ask(
        path="/api/chat", body=b'{"user_input": "hi"}', headers={"x-tidegate-user": "ann", "x-tidegate-tags": "a"}
    )
    row = reply.row
    assert (row.user, row.tags, row.outcome, row.target) == ("ann", ("a",), "ok", "main/m")
    assert reply.headers["x-tidegate-cost-usd"] and reply.headers["x-tidegate-route"] == "fast"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"user_input": "x" * 10_001}, "user_input"),
        ({"user_input": ""}, "user_input"),
        ({"user_input": None}, "user_input"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"model": "x" * 201}, "model"),
        ({"stream": True}, "stream"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(house, fields, param):
    reply = await chat(house, **fields)
    assert (reply.status, reply.error.code, reply.error.param) == (400, "invalid_request", param)
    if isinstance(fields.get("user_input"), str):
        query = "&".join(f"{name}={value}" for name, value in fields.items())
        reply = await house.ask(path=f"/api/chat?{query}", body=b"")
        assert (reply.status, reply.error.param) == (400, param)
    assert not house.provider("main").requests


async def test_10_000_characters_are_not_too_many(house):
    assert (await chat(house, user_input="ü" * 10_000)).status == 200


async def test_nothing_said_is_told_what_is_needed(house):
    reply = await house.ask(path="/api/chat", body=b"")
    assert reply.status == 400 and reply.error.param == "user_input"
    assert "in a JSON body or as a query parameter" in reply.error.message


async def test_its_errors_are_those_of_any_call(house):
    reply = await chat(house, model="fats")
    assert (reply.status, reply.error.code) == (
        404,
        "model_not_found",
    ) and "did you mean 'fast'?" in reply.error.message
    assert reply.id == reply.row.id and reply.row.outcome == "refused"
    house.provider("main").always(status=429, headers={"retry-after": "100"})
    house.provider("spare").always(status=429, headers={"retry-after": "100"})
    reply = await chat(house)
    assert (reply.status, reply.headers["retry-after"]) == (429, "100") and reply.headers["x-tidegate-attempts"] == "2"
    assert reply.row.outcome == "failed"


async def test_a_reply_that_breaks_off_is_an_error_here(house):
    house.provider("main").always("one two", cut_off=0)
    house.provider("spare").always("one two", cut_off=0)
    reply = await chat(house)
    assert (reply.status, reply.error.code) == (502, "upstream_failed")


async def test_who_leaves_before_the_answer_frees_all(house):
    house.clock.hold()
    house.provider("main").says("hello", before=5)
    asking = house.begin(path="/api/chat", body=b'{"user_input": "hi"}')
    await until(lambda: house.provider("main").requests)
    asking.leave()
    await asking.task
    (row,) = await house.rows()
    assert (row.outcome, row.status) == ("client_left", 499)
    assert not house.app.world.flights and not asking.sent


# --- its sums


async def test_stats_are_exact(house):
    stats = await house.get("/api/stats", key=await plain_key(house))
    assert stats.events[0] == {
        "total_requests": 0,
        "cache_hits": 0,
        "cache_hit_rate": 0.0,
        "errors": 0,
        "error_rate": 0.0,
    }
    for _ in range(3):
        await house.ask()
    await house.ask(route="unknown")
    await house.ask(key="wrong")  # nobody's
    stats = await house.get("/api/stats")
    assert (stats.events[0]["total_requests"], stats.events[0]["errors"]) == (4, 1)
    assert stats.events[0]["error_rate"] == 0.25
    assert (await house.get("/api/stats", key="wrong")).status == 401


# --- when the database is away


@contextmanager
def away(house: House, table: str) -> Iterator[None]:
    """The database without this table: whoever asks for it is told an error."""
    path = Path(house.app.config.storage.data_dir) / "tidegate.sqlite"

    def rename(before: str, after: str) -> None:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as db:
            db.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(table, "away")
    yield
    rename("away", table)


async def test_a_database_that_is_away_is_said_to_be(build_house, capsys):
    house = await build_house()
    assert (await house.ask()).status == 200  # and now the key is known for a second
    with away(house, "keys"):
        for reply in (
            await house.get("/admin/keys"),
            await made(house, name="ci"),
            await house.begin(method="DELETE", path="/admin/keys/x", body=b"").reply(),
        ):
            assert (reply.status, reply.error.code, reply.error.type) == (503, "store_unavailable", "server_error")
            assert reply.error.message == "Tidegate's database does not answer just now; try again in a moment"
        assert (await house.ask()).status == 200  # what needs no database goes on
    with away(house, "calls"):
        assert (await house.get("/v1/requests/req_unknown")).error.code == "store_unavailable"
    assert (await house.get("/admin/keys")).status == 200
    log = await until_logged(capsys, "no such table: calls")
    assert "tidegate.sqlite does not answer: no such table: keys" in log  # the operator is told where it lies


async def until_logged(capsys: pytest.CaptureFixture[str], text: str) -> str:
    log = ""
    async with asyncio.timeout(30):
        while text not in log:
            log += capsys.readouterr().err
            await asyncio.sleep(0.005)
    return log


async def test_a_key_that_nobody_can_look_up_is_not_called_wrong(house):
    with away(house, "keys"):
        for path in ("/v1/models", "/api/stats", "/v1/requests/x"):
            reply = await house.get(path)
            assert (reply.status, reply.error.code) == (503, "store_unavailable")
        reply = await house.ask()
        assert (reply.status, reply.error.code) == (503, "store_unavailable")
    assert (await house.ask()).status == 200


# --- the document


async def test_the_document_describes_what_there_is(house):
    reply = await house.get("/openapi.json", key="none")
    document = reply.events[0]
    assert document["openapi"].startswith("3.1") and document["info"]["title"] == "Tidegate"
    found = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert found > {
        ("post", "/admin/keys"),
        ("get", "/admin/keys"),
        ("delete", "/admin/keys/{id}"),
        ("post", "/api/chat"),
        ("get", "/api/stats"),
        ("get", "/v1/requests/{id}"),
        ("get", "/v1/usage"),
        ("get", "/admin/usage"),
    }
    for path, method in ((path, method) for method, path in found):
        operation = document["paths"][path][method]
        assert operation["description"] and "422" not in operation["responses"]
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    for reference in re.findall(r'"#/components/schemas/(\w+)"', reply.body.decode()):
        assert reference in document["components"]["schemas"]


async def test_the_page_shows_it_without_a_script_or_anything_from_elsewhere(house):
    page = await house.get("/docs", key="none")
    text = page.body.decode()
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert "<script" not in text and "http://" not in text and "https://" not in text
    for path in ("/admin/keys/{id}", "/api/chat", "/api/stats", "/v1/requests/{id}"):
        assert path in text
    assert "user_input" in text and "Make a key." in text


@pytest.mark.parametrize("path", ["/api/", "/admin/", "/admin/keys/", "/docs/x", "/api/chat/", "/admin/keys/a/b"])
async def test_what_is_not_in_it_is_not_found(house, path):
    reply = await house.get(path)
    assert (reply.status, reply.error.code) == (404, "not_found") and "location" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/admin/keys", "GET, POST"),
        ("PUT", "/admin/keys/x", "DELETE, GET, PATCH"),
        ("GET", "/api/chat", "POST"),
        ("DELETE", "/api/stats", "GET"),
    ],
)
async def test_another_method_is_told_the_right_ones(house, method, path, allow):
    reply = await house.begin(method=method, path=path, body=b"").reply()
    assert (reply.status, reply.error.code, reply.headers["allow"]) == (405, "method_not_allowed", allow)


async def test_who_asks_for_the_head_gets_what_get_says(house):
    reply = await house.begin(method="HEAD", path="/api/stats", body=b"").reply()
    assert reply.status == 200


async def test_a_mistake_of_ours_is_told_as_one(house, monkeypatch):
    async def break_down(kind: type) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(house.app.world.store, "every", break_down)
    reply = await house.get("/admin/keys")
    assert (reply.status, reply.error.code) == (500, "internal_error")
    assert "its log has the details" in reply.error.message and "secret" not in reply.body.decode()

"""Who comes in: sessions, forms of other sites, and what a page may pass on."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.house import TWO_PROVIDERS, Build, House, Reply
from tidegate.console import sessions
from tidegate.core.errors import BadRequest

FORM = {
    "content-type": "application/x-www-form-urlencoded",
    "origin": "http://localhost:8080",
    "host": "localhost:8080",
}


class Person:
    """A browser that keeps one cookie and reads the page's word."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cookie = self.csrf = ""

    async def get(self, path: str, **headers: str) -> Reply:
        sent = {"host": "localhost:8080", "cookie": self.cookie, "authorization": "", **headers}
        return await self.house.get(path, headers=sent)

    async def log_in(self, key: str | None = None, **headers: str) -> Reply:
        body = urlencode({"key": key or self.house.key, "next": "/console/requests?route=a"}).encode()
        sent = {**FORM, "authorization": "", **headers}
        reply = await self.house.begin(path="/console/login", body=body, headers=sent).reply()
        self.cookie = reply.headers.get("set-cookie", "").partition(";")[0]
        if self.cookie:
            page = (await self.get("/console/overview", host=headers.get("host", "localhost:8080"))).body.decode()
            self.csrf = re.findall(r'name="csrf" value="(\w+)"', page)[0]
        return reply

    async def ask(self, path: str, body: Any = None, **headers: str) -> Reply:
        sent = {"host": "localhost:8080", "cookie": self.cookie, "authorization": "", "x-tidegate-csrf": self.csrf}
        method = "GET" if body is None else "POST"
        data = b"" if body is None else json.dumps(body).encode()
        return await self.house.begin(
            path=f"/console/api{path}", method=method, body=data, headers={**sent, **headers}
        ).reply()


@pytest.fixture
def person(house: House) -> Person:
    return Person(house)


async def test_a_key_becomes_a_cookie_that_no_script_reads(person: Person) -> None:
    reply = await person.log_in()
    assert (reply.status, reply.headers["location"]) == (303, "/console/requests?route=a")
    assert re.fullmatch(
        r"tidegate-8080=[\w-]+; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200", reply.headers["set-cookie"]
    )
    assert person.house.key not in reply.headers["set-cookie"]


async def test_over_https_the_cookie_is_bound_to_the_host(person: Person) -> None:
    reply = await person.log_in(origin="https://gate.example.com", host="gate.example.com")
    assert reply.headers["set-cookie"].startswith("__Host-tidegate=")
    assert reply.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"origin": "http://evil.example"}, "did not come from"),
        ({"origin": "null"}, "did not come from"),
        ({"origin": "http://10.0.0.1:8080", "host": "10.0.0.1:8080"}, "over plain HTTP others could read your key"),
    ],
)
async def test_a_login_from_elsewhere_or_in_the_open_is_refused(
    person: Person, headers: dict[str, str], why: str
) -> None:
    reply = await person.log_in(**headers)
    assert reply.status == 401 and why in reply.body.decode()
    assert "set-cookie" not in reply.headers


async def test_a_wrong_key_is_told_on_the_page(person: Person) -> None:
    reply = await person.log_in("tg_live_nothing")
    assert reply.status == 401 and "this API key is not valid" in reply.body.decode()


async def test_it_leads_nowhere_else(person: Person) -> None:
    body = urlencode({"key": person.house.key, "next": "//evil.example/console"}).encode()
    reply = await person.house.begin(path="/console/login", body=body, headers={**FORM, "authorization": ""}).reply()
    assert reply.headers["location"] == "/console"


async def test_a_page_asks_as_its_key_and_its_calls_are_that_keys(person: Person) -> None:
    person.house.provider("main").says("hello")
    await person.log_in()
    reply = await person.ask("/v1/chat/completions", {"model": "fast", "messages": [{"role": "user", "content": "hi"}]})
    assert reply.status == 200
    (row,) = await person.house.rows()
    assert (await person.ask("/admin/requests")).events[0]["requests"][0]["key_id"] == row.key_id


@pytest.mark.parametrize(
    "headers", [{"x-tidegate-csrf": ""}, {"x-tidegate-csrf": "0" * 32}, {"sec-fetch-site": "same-site"}]
)
async def test_without_the_word_of_the_page_nothing_is_passed_on(person: Person, headers: dict[str, str]) -> None:
    await person.log_in()
    assert (await person.ask("/admin/keys", **headers)).status == 403


async def test_the_api_itself_looks_at_no_cookie(person: Person) -> None:
    await person.log_in()
    assert (await person.get("/admin/keys")).status == 401


async def test_a_key_that_is_revoked_ends_its_sessions(person: Person) -> None:
    text, key = await person.house.app.gateway.auth.create("gone", "test", admin=True)
    await person.log_in(text)
    assert (await person.ask("/admin/keys")).status == 200
    await person.house.app.gateway.auth.desk.revoke(key.id)
    await person.house.clock.advance(2)
    assert (await person.ask("/admin/keys")).status == 401


async def test_a_session_ends(person: Person) -> None:
    await person.log_in()
    await person.house.clock.advance(12 * 3600)
    reply = await person.ask("/admin/keys")
    assert reply.status == 401 and "your session has ended" in reply.error.message
    assert "A key, or a token" in (await person.get("/console/overview")).body.decode()


async def test_a_role_sees_its_pages_and_may_what_it_may(person: Person) -> None:
    text, _ = await person.house.app.gateway.auth.desk.make_key("m", role="member")
    await person.log_in(text)
    page = (await person.get("/console/playground")).body.decode()
    assert "/console/playground" in page and "/console/overview" not in page
    assert (await person.get("/console")).headers["location"] == "/console/requests"
    assert (await person.ask("/admin/requests")).status == 403


async def test_a_page_lets_nothing_in_and_is_kept_by_nobody(person: Person) -> None:
    await person.log_in()
    headers = (await person.get("/console/overview")).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert headers["cache-control"] == "no-store"


async def test_it_can_be_off(build_house: Build) -> None:
    house = await build_house(f"{TWO_PROVIDERS}console: off\n")
    assert (await house.get("/console")).status == 404
    assert (await house.get("/")).status == 404


async def test_who_opens_the_printed_address_comes_to_the_console(house: House) -> None:
    reply = await house.get("/")
    assert (reply.status, reply.headers["location"]) == (303, "/console")


def test_what_is_not_sealed_here_is_no_session() -> None:
    session = sessions.begun("tg_key", 100)
    text = sessions.sealed(session, b"a" * 32)
    assert sessions.opened(text, b"a" * 32, 99) == session
    assert sessions.opened(text, b"a" * 32, 100) is None
    assert sessions.opened(text, b"b" * 32, 99) is None
    assert [sessions.opened(one, b"a" * 32, 99) for one in ("", "x", "é", text[:-4], "A" * 5000)] == [None] * 5
    with pytest.raises(BadRequest, match="use a key"):
        sessions.begun("x" * 3000, 100)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "[::1]"])
def test_a_host_of_this_machine_is_known(host: str) -> None:
    assert sessions.is_loopback(host)


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", ""])
def test_any_other_host_is_not(host: str) -> None:
    assert not sessions.is_loopback(host)

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from tests.house import until
from tests.valkey import Valkey
from tidegate.core.errors import ConfigError, StoreDown
from tidegate.storage.valkey.connection import Address, Connection, Refused, Script

PATIENCE_S = 30.0
ECHO = Script("return ARGV[1]")
BROKEN = Script("return redis.call('NOTHING')")


class Told(list[str]):
    def __call__(self, name: str, fields: Any) -> None:
        self.append(name)


@pytest.fixture
def told() -> Told:
    return Told()


Connect = Callable[..., Awaitable[Connection]]


@pytest.fixture
async def connect(told: Told) -> AsyncIterator[Connect]:
    made: list[Connection] = []

    async def connect(url: str, timeout_s: float = PATIENCE_S) -> Connection:
        made.append(Connection(Address.parse(url), told, timeout_s=timeout_s, scripts=(ECHO, BROKEN)))
        await made[-1].ready(1)
        return made[-1]

    yield connect
    for connection in made:
        await connection.aclose()


# --- addresses


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("valkey://h", Address("h", 6379, None, False, None, None, 0)),
        ("redis://h:1/2", Address("h", 1, None, False, None, None, 2)),
        ("rediss://ada:p%40ss@h:1/", Address("h", 1, None, True, "ada", "p@ss", 0)),
        ("valkeys://:secret@[::1]:7", Address("::1", 7, None, True, None, "secret", 0)),
        ("unix:///run/valkey.sock?db=3", Address("", 6379, "/run/valkey.sock", False, None, None, 3)),
    ],
)
def test_an_address_is_read_from_its_url(url, address):
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url", ["", "h:6379", "http://h", "valkey://", "valkey://h/x", "valkey://h:x", "valkey://h/-1"]
)
def test_a_url_that_is_none_is_refused_with_the_form_of_one(url):
    with pytest.raises(ConfigError, match="valkey://HOST:6379/0"):
        Address.parse(url)


def test_what_is_wrong_with_a_url_shows_no_password():
    with pytest.raises(ConfigError) as wrong:
        Address.parse("http://:secret@h")
    assert "secret" not in wrong.value.message


# --- asking


async def test_answers_come_in_the_order_of_the_questions(connect, valkey):
    connection = await connect(valkey.url)
    answers = await asyncio.gather(*(connection.send(b"ECHO", at) for at in range(1000)))
    assert answers == [b"%d" % at for at in range(1000)]


async def test_what_the_server_refuses_is_raised_and_the_rest_goes_on(connect, valkey):
    connection = await connect(valkey.url)
    wrong, right = connection.send(b"NOTHING"), connection.send(b"PING")
    with pytest.raises(Refused, match="unknown command"):
        await wrong
    assert await right == b"PONG"


async def test_who_leaves_while_waiting_takes_nobodys_answer(connect, valkey):
    connection = await connect(valkey.url)
    leaving, staying = connection.send(b"ECHO", b"a"), connection.send(b"ECHO", b"b")
    leaving.cancel()
    assert await staying == b"b"


async def test_a_unix_socket_will_do(connect, valkey):
    connection = await connect(f"unix://{valkey.socket}?db=1")
    assert await connection.send(b"PING") == b"PONG"


async def test_a_script_that_the_server_forgot_is_sent_again(connect, valkey):
    connection = await connect(valkey.url)
    assert await connection.run(ECHO, [], b"a") == b"a"
    await connection.send(b"SCRIPT", b"FLUSH")
    assert await connection.run(ECHO, [], b"b") == b"b"


async def test_a_script_that_fails_says_so_and_is_not_run_twice(connect, valkey):
    connection = await connect(valkey.url)
    with pytest.raises(StoreDown, match="Valkey refused"):
        await connection.run(BROKEN, [])


async def test_a_password_opens(connect, tmp_path):
    guarded = Valkey(tmp_path, password="let me in")
    await asyncio.to_thread(guarded.start)
    try:
        connection = await connect(guarded.url.replace(" ", "%20"))
        assert await connection.send(b"PING") == b"PONG"
    finally:
        await asyncio.to_thread(guarded.stop)


# --- a server that nobody should count in


async def refusal(connect, url: str) -> str:
    with pytest.raises(ConfigError) as refused:
        await connect(url)
    return refused.value.message


@pytest.mark.parametrize("entry", [":wrong@", "", "nobody:secret-of-nobody@"])
async def test_a_password_that_is_not_the_servers_is_told_at_once_and_never_shown(connect, tmp_path, entry):
    guarded = Valkey(tmp_path, password="let me in")
    await asyncio.to_thread(guarded.start)
    try:
        said = await refusal(connect, f"valkey://{entry}127.0.0.1:{guarded.port}")
        assert said.startswith(f"127.0.0.1:{guarded.port}: it says ")
        assert said.endswith("; write its user and password into the URL anew")
        assert "wrong@" not in said and "secret" not in said
    finally:
        await asyncio.to_thread(guarded.stop)


async def test_a_user_who_may_not_run_scripts_is_told_what_it_needs(connect, own_valkey):
    await asyncio.to_thread(own_valkey.ask, "ACL", "SETUSER", "ada", "on", ">pass", "~*", "+@all", "-@scripting")
    assert "let this user do everything with keys" in await refusal(connect, f"valkey://ada:pass@{own_valkey.url[9:]}")


async def test_a_server_that_forgets_when_it_is_full_is_refused_and_one_without_a_bound_is_not(connect, own_valkey):
    await asyncio.to_thread(own_valkey.ask, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert (await connect(own_valkey.url)).up
    await asyncio.to_thread(own_valkey.ask, "CONFIG", "SET", "maxmemory", "100mb")
    said = await refusal(connect, own_valkey.url)
    assert "(maxmemory-policy allkeys-lru)" in said and said.endswith("set its maxmemory-policy to noeviction")


async def test_a_server_that_may_not_be_asked_about_itself_is_taken_as_it_is(connect, own_valkey):
    await asyncio.to_thread(own_valkey.ask, "ACL", "SETUSER", "ada", "on", ">pass", "~*", "+@all", "-info")
    assert (await connect(f"valkey://ada:pass@{own_valkey.url[9:]}")).up


async def test_a_replica_is_refused(connect, own_valkey, valkey):
    await asyncio.to_thread(own_valkey.ask, "REPLICAOF", "127.0.0.1", str(valkey.port))
    assert "it is a replica" in await refusal(connect, own_valkey.url)


async def test_one_that_becomes_a_replica_is_as_good_as_away_until_it_is_none(connect, own_valkey, valkey, told):
    connection = await connect(own_valkey.url)
    await asyncio.to_thread(own_valkey.ask, "REPLICAOF", "127.0.0.1", str(valkey.port))
    with pytest.raises(StoreDown, match="READONLY"):
        await connection.send(b"SET", b"a", b"1")
    await until(lambda: "it is a replica" in connection._why)
    assert told == ["valkey_lost"]
    await asyncio.to_thread(own_valkey.ask, "REPLICAOF", "NO", "ONE")
    await until(lambda: connection.up)
    assert await connection.send(b"SET", b"a", b"1") == b"OK"


@pytest.mark.parametrize(
    ("name", "times", "words"),
    [
        ("127.0.0.1", {"not_after": datetime.now(UTC) - timedelta(days=1)}, "certificate has expired"),
        ("127.0.0.1", {"not_before": datetime.now(UTC) + timedelta(days=1)}, "certificate is not yet valid"),
        ("elsewhere.example", {}, "not valid for '127.0.0.1'"),
    ],
)
async def test_a_certificate_that_is_not_good_is_told_with_why(
    connect, valkey, monkeypatch, tmp_path, name, times, words
):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **times).configure_cert(context)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        said = await refusal(connect, f"valkeys://:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert words in said and said.endswith("name the file of who issued it in SSL_CERT_FILE") and "secret" not in said


async def test_a_server_that_answers_without_tls_is_told_as_one(connect):
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR what is this\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        said = await refusal(connect, f"valkeys://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "it does not speak TLS with us" in said


# --- a server that is slow, or gone


async def test_a_silent_server_costs_one_time_limit_and_then_nothing(connect, own_valkey):
    connection = await connect(own_valkey.url, timeout_s=0.05)
    own_valkey.pause()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(StoreDown, match="no answer within 50 ms"):
        await connection.send(b"PING")
    assert loop.time() - began < 0.5
    with pytest.raises(StoreDown):
        connection.send(b"PING")  # not even asked
    own_valkey.go_on()
    await until(lambda: connection.up)
    assert await connection.send(b"PING") == b"PONG"


async def test_a_server_that_died_is_found_again_when_it_is_back(connect, own_valkey, told):
    connection = await connect(own_valkey.url)
    waiting = connection.send(b"BLPOP", b"nothing", 0)
    await asyncio.to_thread(own_valkey.stop)
    with pytest.raises(StoreDown):
        await waiting
    await until(lambda: not connection.up)
    await asyncio.to_thread(own_valkey.start)
    await until(lambda: connection.up)
    assert await connection.run(ECHO, [], b"a") == b"a"
    assert told == ["valkey_lost", "valkey_back"]


async def test_a_server_that_is_not_there_yet_may_come_later(connect, tmp_path, told):
    late = Valkey(tmp_path)
    connection = await connect(late.url)
    assert not connection.up
    assert told == ["valkey_lost"]
    await asyncio.to_thread(late.start)
    try:
        await until(lambda: connection.up)
        assert await connection.send(b"PING") == b"PONG"
    finally:
        await asyncio.to_thread(late.stop)


async def test_what_is_no_valkey_is_told(connect, told):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        connection = await connect(f"valkey://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(StoreDown, match="is it a Valkey at all"):
            connection.send(b"PING")
        await connection.aclose()


async def test_closing_tells_who_waits(connect, valkey):
    connection = await connect(valkey.url)
    waiting = connection.send(b"BLPOP", b"nothing", 0)
    await connection.aclose()
    with pytest.raises(StoreDown, match="closing"):
        await waiting

"""TLS as it is on the wire: verified, resumed, and not to be cut off unnoticed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import trustme

from tests.rawserver import OK, Peer, Server, always, failure, nothing_left, post, serving, silent, whole
from tidegate.core.errors import ConfigError
from tidegate.core.ports import Request, Timeouts, Transport
from tidegate.providers.transport import Config, HttpTransport
from tidegate.providers.transport.aiohttp import AiohttpTransport
from tidegate.providers.transport.tls import Tls, own_context

pytestmark = pytest.mark.timeout(15)

Adapter = type[HttpTransport] | type[AiohttpTransport]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


EXPIRED = {"not_after": datetime.now(UTC) - timedelta(days=1)}
OF_TOMORROW = {"not_before": datetime.now(UTC) + timedelta(days=1)}


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    async with nothing_left(), serving(server_context(authority)) as made:
        yield made


@pytest.fixture(params=[HttpTransport, AiohttpTransport], ids=["own", "aiohttp"])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return request.param


@pytest.fixture
async def transport(adapter: Adapter, ca_file: str) -> AsyncIterator[Transport]:
    made = adapter(Config(ca_file=ca_file))
    yield made
    await made.aclose()
    assert made.busy == 0


async def test_a_verified_server_is_asked_over_one_connection(server: Server, transport: Transport) -> None:
    for size in (10, 1_000_000):
        assert await whole(transport.send(post(server, bytes(size)))) == b"ok"
    assert len(server.peers) == 1


async def test_a_server_nobody_vouches_for_is_not_asked(server: Server, adapter: Adapter) -> None:
    transport = adapter()
    error = await failure(transport.send(post(server)))
    assert (error.kind, error.sent) == ("tls", False)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    await transport.aclose()


async def test_a_certificate_is_for_one_name_only(authority: trustme.CA, transport: Transport) -> None:
    async with nothing_left(), serving(server_context(authority, "other.test")) as server:
        error = await failure(transport.send(post(server)))
        assert (error.kind, error.sent) == ("tls", False)
        assert "127.0.0.1" in str(error)


@pytest.mark.parametrize(("times", "words"), [(EXPIRED, "has expired"), (OF_TOMORROW, "is not yet valid")])
async def test_a_certificate_that_is_not_good_now_is_told_with_why(
    authority: trustme.CA, transport: Transport, times: dict[str, datetime], words: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", **times).configure_cert(context)
    async with nothing_left(), serving(context) as server:
        error = await failure(transport.send(post(server)))
        assert (error.kind, error.sent) == ("tls", False)
        assert f"certificate {words}" in str(error)


async def test_a_server_without_tls_is_an_error_and_learns_nothing(transport: Transport) -> None:
    heard = b""

    async def script(peer: Peer) -> None:
        nonlocal heard
        heard = await peer.reader.read(65536)
        peer.say(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")

    async with nothing_left(), serving() as server:
        server.script = script
        error = await failure(transport.send(Request("POST", f"https://127.0.0.1:{server.port}/", (), b"secret")))
        assert (error.kind, error.sent) == ("tls", False)
        assert b"secret" not in heard


async def test_a_handshake_that_does_not_end_is_a_timeout_and_leaves_nothing(transport: Transport) -> None:
    async with nothing_left(), serving() as server:
        server.script = silent
        url = f"https://127.0.0.1:{server.port}/"
        error = await failure(transport.send(Request("POST", url, (), b"{}", Timeouts(connect=0.1))))
        assert (error.kind, error.sent) == ("timeout", False)
        async with asyncio.timeout(30):
            while transport.busy:  # the attempt itself ends a little later
                await asyncio.sleep(0.005)


async def test_closing_while_a_handshake_is_under_way_leaves_nothing(
    server: Server, adapter: Adapter, ca_file: str
) -> None:
    for turns in range(0, 30, 2):
        transport = adapter(Config(ca_file=ca_file))
        exchange = transport.send(post(server))
        for _ in range(turns):
            await asyncio.sleep(0)
        await transport.aclose()
        assert transport.busy == 0
        if not turns:
            assert (await failure(exchange)).kind == "closed"


async def test_a_session_is_taken_up_again(server: Server, transport: Transport) -> None:
    reused = []

    async def script(peer: Peer) -> None:
        reused.append(peer.writer.get_extra_info("ssl_object").session_reused)
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    server.script = script
    for _ in range(3):
        await whole(transport.send(post(server)))
    assert reused == [False, True, True]


async def test_a_body_that_ends_with_the_connection_cannot_be_cut_off_unnoticed(server: Server, ca_file: str) -> None:
    """A FIN can be forged by anyone on the way; TLS's own goodbye cannot. aiohttp does not tell the two apart."""
    transport = HttpTransport(Config(ca_file=ca_file))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.dictate(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"half")
        peer.close_now()

    server.script = script
    error = await failure(transport.send(post(server)))
    assert (error.kind, error.sent) == ("reset", True)
    await transport.aclose()


async def test_a_body_that_ends_with_a_goodbye_is_whole(server: Server, transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwhole")
        peer.close()

    server.script = script
    assert await whole(transport.send(post(server))) == b"whole"


async def test_an_idle_connection_ends_with_the_servers_goodbye(server: Server, transport: Transport) -> None:
    server.script = always(OK)
    assert await whole(transport.send(post(server))) == b"ok"
    server.peers[0].close()
    async with asyncio.timeout(30):
        await server.peers[0].over.wait()
    assert await whole(transport.send(post(server))) == b"ok"
    assert len(server.peers) == 2


async def test_leaving_in_the_middle_of_a_stream_frees_the_socket(server: Server, transport: Transport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not peer.writer.is_closing():
            peer.say(b"400\r\n", bytes(0x400), b"\r\n")
            await peer.writer.drain()

    server.script = script
    exchange = transport.send(post(server))
    await exchange.read()
    exchange.pause()
    exchange.close()
    async with asyncio.timeout(30):
        await server.peers[0].over.wait()


# --- of one provider only


@pytest.fixture
def shown(authority: trustme.CA, tmp_path: Path) -> Tls:
    """A certificate of ours, and who vouches for the server's."""
    issued = authority.issue_cert("tidegate@example.com")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    return Tls(str(tmp_path / "own.pem"), str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


async def test_a_provider_that_wants_a_certificate_is_shown_one(
    authority: trustme.CA, adapter: Adapter, ca_file: str, shown: Tls
) -> None:
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    transport = adapter(Config(ca_file=ca_file))
    async with nothing_left(), serving(context) as server:
        server.script = always(OK)
        ours = msgspec.structs.replace(post(server), tls=own_context(shown, "providers.main.tls"))
        for _ in range(3):
            assert await whole(transport.send(ours)) == b"ok"
        assert len(server.peers) == 1
        error = await failure(transport.send(post(server)))
        assert error.kind in ("tls", "reset"), "the certificate is for that provider only"
        await transport.aclose()


async def test_an_authority_of_a_provider_stands_in_place_of_all_others(
    server: Server, adapter: Adapter, ca_file: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    transport = adapter(Config(ca_file=ca_file))
    tls = own_context(Tls(str(other)), "providers.main.tls")
    error = await failure(transport.send(msgspec.structs.replace(post(server), tls=tls)))
    assert (error.kind, error.sent) == ("tls", False)
    assert await whole(transport.send(post(server))) == b"ok"
    await transport.aclose()


def test_files_of_a_provider_that_cannot_be_used_are_told_by_their_key(shown: Tls, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("nonsense")
    for wrong, words in (
        ({"certificate": "none.pem"}, "p.certificate: none.pem and its key .* cannot be used: No such file"),
        ({"certificate": str(tmp_path / "other.pem")}, "p.certificate: .* cannot be used"),
        ({"key": str(tmp_path / "own.pem")}, "p.certificate: .* cannot be used"),
        ({"certificate": None}, "p.certificate: is needed"),
        ({"ca_file": str(tmp_path / "other.pem")}, "p.ca_file .* holds no certificates"),
    ):
        with pytest.raises(ConfigError, match=words):
            own_context(msgspec.structs.replace(shown, **wrong), "p")
    assert own_context(Tls(), "p") is None


async def test_a_ca_file_that_is_none_says_so_at_start(adapter: Adapter, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path in (str(nonsense), str(tmp_path / "missing.pem")):
        with pytest.raises(ConfigError, match="ca_file"):
            adapter(Config(ca_file=path))

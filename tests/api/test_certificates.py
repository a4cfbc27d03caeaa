"""TLS for clients: what is shown, what is asked of them, and that a bad file is told and never served."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.api.listening import Told, serving
from tests.api.rawclient import connected
from tests.house import until
from tidegate import api
from tidegate.api.certificates import Certificates
from tidegate.core.errors import ConfigError
from tidegate.core.values import Duration, Secret

CONFIG = api.Config(port=0, head_timeout=Duration(0.3))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Callable[..., api.Tls]:
    """Put a certificate into its files; what is given goes into the configuration."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(issued: trustme.LeafCert | None = None, **given: object) -> api.Tls:
        issued = issued or authority.issue_cert("127.0.0.1")
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return api.Tls(**({"certificate": str(certificate), "key": str(key)} | given))

    return put


def trusting(authority: trustme.CA, shown: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if shown is not None:
        shown.configure_cert(context)
    return context


def why_not(config: api.Tls) -> str:
    with pytest.raises(ConfigError) as caught:
        Certificates(config)
    return caught.value.message


# --- what is told before anybody is served


def test_a_certificate_that_has_expired_is_told_with_its_day(authority, files):
    old = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=2))
    said = why_not(files(old))
    assert said.startswith("api.tls.certificate: ") and "has expired, on 20" in said and "renew it" in said


def test_a_certificate_of_tomorrow_is_told(authority, files):
    early = authority.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=1))
    assert "is not valid before" in why_not(files(early))


def test_a_key_of_another_certificate_is_told(authority, files):
    config = files()
    Path(config.key).write_bytes(authority.issue_cert("127.0.0.1").private_key_pem.bytes())
    said = why_not(config)
    assert said.startswith("api.tls.key: ") and "is not the key of the certificate in" in said


@pytest.mark.parametrize("key", ["certificate", "key", "client_ca"])
def test_a_file_that_is_not_there_is_told_by_its_key(files, tmp_path, key):
    assert why_not(files(**{key: str(tmp_path / "none.pem")})) == (
        f"api.tls.{key}: {tmp_path / 'none.pem'} cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("certificate", "holds no certificate in PEM"),
        ("key", "holds no private key in PEM"),
        ("client_ca", "holds no certificates in PEM"),
    ],
)
def test_a_file_of_something_else_is_told_by_its_key(files, tmp_path, key, words):
    other = tmp_path / "other.pem"
    other.write_text("-----BEGIN NONSENSE-----\nAAAA\n-----END NONSENSE-----\n")
    assert why_not(files(**{key: str(other)})) == f"api.tls.{key}: {other} {words}"


def test_a_key_that_is_encrypted_wants_its_password_and_never_asks_a_terminal_for_it(files):
    config = files()
    plain = load_pem_private_key(Path(config.key).read_bytes(), None)
    Path(config.key).write_bytes(
        plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open"))
    )
    assert "is encrypted: set key_password" in why_not(config)
    assert "its password is another" in why_not(api.Tls(config.certificate, config.key, Secret("shut")))
    assert Certificates(api.Tls(config.certificate, config.key, Secret("open"))).expires > datetime.now(UTC)


def test_a_password_for_a_key_that_has_none_is_told(files):
    assert "take key_password out" in why_not(files(key_password=Secret("open")))


# --- what a client sees


async def test_a_client_that_trusts_it_is_answered(authority, files):
    tls = Certificates(files()).context
    async with serving(Told(), CONFIG, tls=tls) as url, connected(url, trusting(authority)) as client:
        client.ask(b"hi", path="/a")
        assert (await client.answer()).json["body"] == "hi"
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
@pytest.mark.parametrize(("minimum", "most", "well"), [
    ("TLSv1.2", ssl.TLSVersion.TLSv1_2, True),
    ("TLSv1.3", ssl.TLSVersion.TLSv1_2, False),
    ("TLSv1.2", ssl.TLSVersion.TLSv1_1, False),
])  # fmt: skip
async def test_nothing_older_is_spoken_than_is_configured(authority, files, minimum, most, well):
    context = trusting(authority)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = most
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(Told(), CONFIG, tls=Certificates(files(minimum=minimum)).context) as url:
        if well:
            async with connected(url, context) as client:
                client.ask()
                assert (await client.answer()).status == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with connected(url, context):
                    pass


async def test_a_new_certificate_is_taken_up_and_open_connections_go_on(authority, files):
    certificates = Certificates(files())
    told = Told()
    async with serving(told, CONFIG, tls=certificates.context) as url:
        async with connected(url, trusting(authority)) as before:
            before.ask(path="/wait")
            await before.reader.readuntil(b"[")
            other = trustme.CA()
            files(other.issue_cert("127.0.0.1"))
            assert certificates.have_changed
            certificates.renew()
            assert not certificates.have_changed
            async with connected(url, trusting(other)) as after:
                after.ask()
                assert (await after.answer()).status == 200
            with pytest.raises(ssl.SSLCertVerificationError):
                async with connected(url, trusting(authority)):
                    pass
            told.go.set()
            assert (await before.reader.readuntil(b"]")).endswith(b"]"), "what began with the old one ends with it"


async def test_a_bad_certificate_is_not_taken_up_and_the_old_one_stays(authority, files):
    certificates = Certificates(config := files())
    Path(config.certificate).write_text("half a fi")
    with pytest.raises(ConfigError, match="holds no certificate"):
        certificates.renew()
    assert not certificates.have_changed, "it is told once, until the file changes again"
    async with serving(Told(), CONFIG, tls=certificates.context) as url:
        async with connected(url, trusting(authority)) as client:
            client.ask()
            assert (await client.answer()).status == 200
    Path(config.certificate).unlink()
    assert certificates.have_changed


@pytest.mark.parametrize("policy", ["required", "optional"])
async def test_who_must_show_a_certificate_shows_a_good_one_or_does_not_come_in(authority, files, tmp_path, policy):
    clients, strangers = trustme.CA(), trustme.CA()
    ca = tmp_path / "clients.pem"
    ca.write_bytes(clients.cert_pem.bytes())
    tls = Certificates(files(client_ca=str(ca), client_certificate=policy)).context

    async def is_answered(url: str, shown: trustme.LeafCert | None) -> bool:
        """TLS 1.3 tells a client that it is refused with the first answer."""
        try:
            async with connected(url, trusting(authority, shown)) as client:
                client.ask()
                return (await client.answer()).status == 200
        except (ssl.SSLError, asyncio.IncompleteReadError, ConnectionError):
            return False

    async with serving(Told(), CONFIG, tls=tls) as url:
        assert await is_answered(url, clients.issue_cert("me@example.com"))
        assert not await is_answered(url, strangers.issue_cert("me@example.com"))
        assert await is_answered(url, None) == (policy == "optional")


async def test_what_is_refused_is_told_over_tls_too(authority, files):
    async with serving(Told(), CONFIG, tls=Certificates(files()).context) as url:
        async with connected(url, trusting(authority)) as client:
            client.say(b"nonsense\r\n\r\n")
            assert (await client.answer()).error["code"] == "invalid_request"
            assert await client.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["a silent one", "half a greeting"])
async def test_a_handshake_that_does_not_end_is_ended(files, sent):
    async with serving(Told(), CONFIG, tls=Certificates(files()).context) as url, connected(url) as client:
        client.say(sent)
        with pytest.raises(asyncio.IncompleteReadError):
            await client.answer()


async def test_plain_http_on_the_port_of_https_is_not_answered(authority, files):
    told = Told()
    async with serving(told, CONFIG, tls=Certificates(files()).context) as url:
        async with connected(url) as client:
            client.ask(b"hi")
            assert b"HTTP" not in await client.rest()
        await until(lambda: True)
    assert told.begun == 0

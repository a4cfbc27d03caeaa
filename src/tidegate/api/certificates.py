"""By which certificate do we answer? The one in its files, which are read again when they change.

What cannot be served is found before anybody is: a file that cannot be read, a key of another certificate, a
certificate that has expired. A new one is taken up whole or not at all; open connections go on with the old one.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tidegate import api
from tidegate.core.errors import ConfigError

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
WANTED = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}

Stamp = tuple[tuple[int, int, int] | None, ...]


class Renewable(ssl.SSLContext):
    """What a listener is given once and for all: each new connection is made by the context that counts then."""

    now: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.now.wrap_bio(*args, **kwargs)


class Certificates:
    """`context` is for the listener; `expires` is when the certificate that it shows does."""

    def __init__(self, config: api.Tls) -> None:
        """Raises ConfigError, naming the key and the file."""
        assert config.certificate is not None
        self._config = config
        self._certificate = Path(config.certificate)
        self._key = Path(config.key or config.certificate)
        self.context = Renewable(ssl.PROTOCOL_TLS_SERVER)
        self.expires = datetime.min.replace(tzinfo=UTC)
        self._taken: Stamp = ()
        self.renew()

    @property
    def have_changed(self) -> bool:
        return self._stamp() != self._taken

    def renew(self) -> None:
        """Take up what the files hold now. Raises ConfigError; then all is as it was, until they change again."""
        self._taken = self._stamp()
        leaf = self._checked_leaf()
        self.context.now = self._new_context()
        self.expires = leaf.not_valid_after_utc

    def _stamp(self) -> Stamp:
        return tuple(
            _stamp(Path(file)) for file in (self._certificate, self._key, self._config.client_ca) if file is not None
        )

    def _checked_leaf(self) -> x509.Certificate:
        text = _read("certificate", self._certificate)
        try:
            leaf = x509.load_pem_x509_certificates(text)[0]
        except ValueError:
            raise _wrong("certificate", self._certificate, "holds no certificate in PEM") from None
        now = datetime.now(UTC)
        if leaf.not_valid_after_utc <= now:
            raise _wrong(
                "certificate", self._certificate, f"has expired, on {_day(leaf.not_valid_after_utc)}; renew it"
            )
        if leaf.not_valid_before_utc > now:
            said = f"is not valid before {_day(leaf.not_valid_before_utc)}; look at this machine's clock"
            raise _wrong("certificate", self._certificate, said)
        if _public(self._checked_key()) != _public(leaf):
            raise _wrong("key", self._key, f"is not the key of the certificate in {self._certificate}")
        return leaf

    def _checked_key(self) -> PrivateKeyTypes:
        password = self._config.key_password
        try:
            return load_pem_private_key(_read("key", self._key), password.value.encode() if password else None)
        except TypeError:  # a password is needed, or none
            said = "is encrypted: set key_password" if password is None else "is not encrypted: take key_password out"
            raise _wrong("key", self._key, said) from None
        except ValueError:
            said = "holds no private key in PEM" + (", or its password is another" if password else "")
            raise _wrong("key", self._key, said) from None

    def _new_context(self) -> ssl.SSLContext:
        config, context = self._config, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[config.minimum]
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        password = config.key_password
        try:
            context.load_cert_chain(self._certificate, self._key, password.value if password else "")
        except ssl.SSLError as wrong:  # such as a key that is too short for OpenSSL
            raise _wrong("certificate", self._certificate, f"cannot be served: {wrong.reason or wrong}") from None
        if config.client_ca is not None:
            _read("client_ca", Path(config.client_ca))
            try:
                context.load_verify_locations(config.client_ca)
            except ssl.SSLError:
                raise _wrong("client_ca", Path(config.client_ca), "holds no certificates in PEM") from None
            context.verify_mode = WANTED[config.client_certificate]
        return context


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(key: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as wrong:
        raise _wrong(key, file, f"cannot be read: {wrong.strerror}") from None


def _wrong(key: str, file: Path, said: str) -> ConfigError:
    return ConfigError(f"api.tls.{key}: {file} {said}")


def _public(of: x509.Certificate | PrivateKeyTypes) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"

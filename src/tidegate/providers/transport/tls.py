"""Who is at the other end? TLS: always verified, and sessions taken up again."""

from __future__ import annotations

import ssl
from typing import Any

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How its connections are secured, where that is not as for all others.

    ca_file: authorities to trust in place of those of this machine and transport.ca_file, in PEM.
    certificate: a file with a certificate of ours that is shown to it, in PEM.
    key: a file with its private key, in PEM; null: it stands in the certificate's file.
    key_password: of a key that is encrypted, best as env:NAME.
    """

    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: Secret | None = None


class ResumingContext(ssl.SSLContext):
    """A context that offers each server the session it had there last.

    asyncio has no argument for a session; but it asks its context for the object that a session is set on.
    """

    sessions: dict[str | None, ssl.SSLSession]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        tls = super().wrap_bio(*args, **kwargs)
        known = self.sessions.get(tls.server_hostname)
        if known is not None:
            tls.session = known
        return tls

    def remember(self, tls: ssl.SSLObject) -> None:
        """Its handshake is done, and its tickets have come: they come after it, with the first answer."""
        if tls.session is not None:
            self.sessions[tls.server_hostname] = tls.session


def client_context(ca_file: str | None) -> ResumingContext:
    """Trusts what this machine trusts, and the certificates in `ca_file` (PEM) besides. Raises ConfigError."""
    context = _context()
    context.load_default_certs()
    if ca_file is not None:
        _trust(context, ca_file)
    return context


def own_context(config: Tls, path: str) -> ResumingContext | None:
    """For one provider, by the keys at `path`; None where nothing is special. Raises ConfigError, naming the key."""
    if config == Tls():
        return None
    if config.certificate is None and (config.key or config.key_password):
        raise ConfigError(f"{path}.certificate: is needed, for there is a key")
    context = _context()
    try:
        if config.ca_file is None:
            context.load_default_certs()
        else:
            _trust(context, config.ca_file)
    except ConfigError as wrong:
        raise ConfigError(f"{path}.{wrong.message}") from None
    if config.certificate is not None:
        password = config.key_password.value if config.key_password else ""
        try:
            context.load_cert_chain(config.certificate, config.key, password)
        except OSError as error:  # ssl.SSLError is one; a password that is needed and not given is one too
            said = getattr(error, "reason", None) or error.strerror or "the files are not what they should be"
            files = f"{config.certificate} and its key {config.key or 'within it'}"
            raise ConfigError(f"{path}.certificate: {files} cannot be used: {said}") from None
    return context


def _context() -> ResumingContext:
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sessions = {}
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"ca_file {ca_file!r} holds no certificates in PEM that can be read: {error}") from None

"""Who is at the other end? TLS: always verified, and sessions taken up again."""

from __future__ import annotations

import ssl
from typing import Any

from tidegate.core.errors import ConfigError


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
    """Trusts what this machine trusts, and the certificates in `ca_file` (PEM) besides."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.sessions = {}
    context.set_alpn_protocols(["http/1.1"])
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"ca_file {ca_file!r} holds no certificates in PEM that can be read: {error}") from None
    return context

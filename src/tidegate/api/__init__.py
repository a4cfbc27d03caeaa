"""Where do calls come in? Paths, headers and sending, per dialect."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration, Secret, Size


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """HTTPS for clients; without a certificate, plain HTTP.

    certificate: a file with the certificate, and those between it and its authority, in PEM. It is read again when it
        changes, as the other files here are; connections that are open go on.
    key: a file with its private key, in PEM; null: it stands in the certificate's file.
    key_password: of a key that is encrypted, best as env:NAME.
    minimum: the oldest version of TLS that is spoken.
    client_ca: a file with authorities, in PEM; clients show a certificate of theirs, besides their key.
    client_certificate: whether a client without such a certificate is turned away.
    hsts: how long a browser that was here shall use HTTPS only; 0 tells it nothing.
    """

    certificate: str | None = None
    key: str | None = None
    key_password: Secret | None = None
    minimum: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    client_ca: str | None = None
    client_certificate: Literal["required", "optional"] = "required"
    hsts: Duration = Duration(365 * 86_400)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How Tidegate is reached.

    host: the address to listen on; 0.0.0.0 for all.
    port: 0 takes any that is free.
    workers: processes that answer, about one for each core. They count together in `storage.valkey`; without one, they
        start a Valkey of their own, for which the extra `scale` is needed.
    cors: origins of web pages that may call, such as https://app.example.com; `*` for any.
    max_body: the largest request.
    body_timeout: how long a request's body may take.
    head_timeout: how long a request's headers may take.
    max_head: the largest request line and headers together.
    drain: how long calls may go on after SIGTERM.
    send_timeout: how long a client may take to read the next 48 KiB of its answer before it counts as gone.
    max_connections: connections of clients at once; at most half of the files that the process may have open.
    max_per_address: those of one address, or of one /64 of IPv6; trusted proxies may have as many as there are.
    trusted_proxies: networks, such as 10.0.0.0/8, whose proxies are believed when they name a client in
        X-Forwarded-For.
    tls: HTTPS for clients.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, Meta(ge=1)] = 1
    cors: tuple[str, ...] = ()
    max_body: Size = Size(32 * 1024 * 1024)
    body_timeout: Duration = Duration(30)
    head_timeout: Duration = Duration(10)
    max_head: Size = Size(64 * 1024)
    drain: Duration = Duration(30)
    send_timeout: Duration = Duration(60)
    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    max_per_address: Annotated[int, Meta(ge=1)] = 1_000
    trusted_proxies: tuple[str, ...] = ()
    tls: Tls = Tls()


def trouble(config: Config) -> tuple[str, str] | None:
    """The key that cannot be so, and why."""
    for at, network in enumerate(config.trusted_proxies):
        try:
            ip_network(network)
        except ValueError:
            return f"trusted_proxies[{at}]", f"must be an address or a network such as 10.0.0.0/8, not {network!r}"
    tls = config.tls
    for key, given in (("key", tls.key), ("key_password", tls.key_password), ("client_ca", tls.client_ca)):
        if given is not None and tls.certificate is None:
            return f"tls.{key}", "is of no use without api.tls.certificate; set it too"
    return None

"""Where do calls come in? Paths, headers and sending, per dialect."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration, Size


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How Tidegate is reached.

    host: the address to listen on; 0.0.0.0 for all.
    port: 0 takes any that is free.
    workers: processes; more than one needs shared counters, which come with `storage.valkey`.
    cors: origins of web pages that may call, such as https://app.example.com; `*` for any.
    max_body: the largest request.
    body_timeout: how long a request's body may take.
    head_timeout: how long a request's headers may take.
    max_head: the largest request line and headers together.
    drain: how long calls may go on after SIGTERM.
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

"""What does a person look at? The web console: a shell from here, and all it shows by way of the public API."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tidegate.core.values import Duration


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The web console. `console: off` is short for `console: {enabled: false}`.

    enabled: whether there is one.
    port: one of its own, at the address of `api.host`, and then none on `api.port`; 0 takes any that is free.
    session: how long somebody who has logged in stays so.
    """

    enabled: bool = True
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    session: Duration = Duration(12 * 3600)

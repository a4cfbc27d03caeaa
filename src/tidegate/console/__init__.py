"""What does a person look at? The web console: a shell from here, and all it shows by way of the public API."""

from __future__ import annotations

import msgspec

from tidegate.core.values import Duration


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The web console.

    enabled: whether there is one.
    session: how long somebody who has logged in stays so.
    """

    enabled: bool = True
    session: Duration = Duration(12 * 3600)

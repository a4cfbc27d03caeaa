"""What is configured? One value, and who has said so."""

from __future__ import annotations

from typing import Any

import msgspec


class Setting(msgspec.Struct, frozen=True):
    path: str  # as errors name it: routes.fast.targets[0].model
    value: Any  # JSON; of a secret, where it comes from
    source: str  # default | file | env:NAME | file:PATH | found: why

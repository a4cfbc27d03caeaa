"""What is configured here, and where does each value come from? To be read: it is changed where it stands."""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated, Any

import msgspec
from fastapi import Request
from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering
from tidegate.api.admin.shapes import paths

router = paths("/admin/settings", "settings")


class ShownSetting(BaseModel):
    path: Annotated[str, Field(description="As errors name it: routes.fast.targets[0].model")]
    value: Annotated[Any, Field(description="Of a secret, where it comes from.")]
    source: Annotated[str, Field(description="default, file, env:NAME, file:PATH, or found: why")]


class ShownSettings(BaseModel):
    settings: list[ShownSetting]


@router.get("")
async def list_settings(request: Request, principal: Administering) -> ShownSettings:
    """The resolved configuration, defaults filled in, that this process answers by; no secret is in it."""
    found = request.app.state.settings()
    return ShownSettings(settings=[ShownSetting(**msgspec.structs.asdict(one)) for one in found])

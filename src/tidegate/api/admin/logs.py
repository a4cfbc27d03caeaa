"""How much does the log say? It can be changed for a while, in all processes."""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import duration, iso
from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import paths
from tidegate.core.ports import Setting
from tidegate.telemetry.logs import LEVEL

router = paths("/admin/logs", "logs")

LONGEST_S = 7 * 86_400.0


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    level: Literal["debug", "info", "warning", "error"]
    seconds: Annotated[str, Field(alias="for", max_length=20, description="How long: 10m. At most 7 days.")] = "1h"


class ShownLevel(BaseModel):
    level: str
    until: Annotated[str | None, Field(description="null: as it is configured.")]
    by: Annotated[str | None, Field(description="A key's id.")]


@router.get("/level")
async def log_level(principal: Administering, house: House) -> ShownLevel:
    """What the log of the process that answers says now."""
    await house.outlets.settings.look()
    return _shown(house)


@router.put("/level")
async def set_log_level(body: Wanted, principal: Administering, house: House) -> ShownLevel:
    """For so long; other processes follow within seconds."""
    seconds = duration("for", body.seconds, LONGEST_S)
    await house.outlets.settings.put(LEVEL, body.level, seconds, principal.key_id)
    tell(house, principal, "log_level_set", body.level, after={"for_s": seconds})
    return _shown(house)


@router.delete("/level")
async def reset_log_level(principal: Administering, house: House) -> ShownLevel:
    """As it is configured, from now on."""
    await house.outlets.settings.put(LEVEL, "", 0, principal.key_id)
    tell(house, principal, "log_level_reset", "configured")
    return _shown(house)


def _shown(house: House) -> ShownLevel:
    found: Setting | None = house.outlets.settings.get(LEVEL)
    until, by = (None, None) if found is None else (iso(found.until_ms, UTC), found.by)
    return ShownLevel(level=house.outlets.log.level, until=until, by=by)

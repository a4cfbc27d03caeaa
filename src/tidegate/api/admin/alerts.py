"""Who is told when something happens, of what lately, and what is silenced?"""

# No postponed annotations here: FastAPI evaluates them.
from datetime import UTC
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tidegate.api.admin.moments import duration, iso
from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import paths
from tidegate.core.errors import NotFound
from tidegate.core.ports import Setting
from tidegate.telemetry.alerts import ALL, EVENTS, SILENCE

router = paths("/admin/alerts", "alerts")

LONGEST_S = 30 * 86_400.0


class Receiver(BaseModel):
    name: str
    events: list[str]
    sent: int
    dropped: int
    why: Annotated[str, Field(description="The last one was not taken; empty when it was.")]


class Silenced(BaseModel):
    name: Annotated[str, Field(description="Of an alert, or `all`.")]
    until: str
    by: Annotated[str, Field(description="A key's id.")]


class ShownAlert(BaseModel):
    at: str
    event: str
    text: str
    outcome: Annotated[str, Field(description="told; again: it was told, and is counted; silenced")]


class ShownAlerts(BaseModel):
    receivers: list[Receiver]
    silences: list[Silenced]
    lately: Annotated[list[ShownAlert], Field(description="In the process that answers, newest first.")]
    events: Annotated[list[str], Field(description="All that can be told.")]


class Silence(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    seconds: Annotated[str, Field(alias="for", max_length=20, description="How long: 2h. At most 30 days.")] = "1h"


class Tested(BaseModel):
    taken: dict[str, str | None]


@router.get("")
async def list_alerts(principal: Administering, house: House) -> ShownAlerts:
    """Who is told of what, what became of it lately, and what is silenced."""
    alerts, settings = house.outlets.alerts, house.outlets.settings
    return ShownAlerts(
        receivers=[
            Receiver(name=line.name, events=sorted(line.events), sent=line.sent, dropped=line.dropped, why=line.why)
            for line in alerts.lines
        ],
        silences=[_silenced(one) for one in await settings.every(SILENCE)],
        lately=[
            ShownAlert(at=iso(one.at_ms, UTC), event=one.event, text=one.text, outcome=one.outcome)
            for one in alerts.lately
        ],
        events=list(EVENTS),
    )


@router.post("/test")
async def try_alerts(principal: Administering, house: House) -> Tested:
    """Tell everybody who is told of alerts that this is a test: by receiver, null when it was taken, or why not."""
    taken = await house.outlets.alerts.test(principal.name)
    tell(house, principal, "alerts_tested", "alerts")
    return Tested(taken=taken)


@router.put("/{id}/silence")
async def silence(id: str, body: Silence, principal: Administering, house: House) -> Silenced:
    """Tell nobody of this alert, or of `all`, for so long."""
    _known(id)
    seconds = duration("for", body.seconds, LONGEST_S)
    kept = await house.outlets.settings.put(SILENCE + id, "silenced", seconds, principal.key_id)
    tell(house, principal, "alert_silenced", id, after={"until": iso(kept.until_ms, UTC)})
    return _silenced(kept)


@router.delete("/{id}/silence")
async def end_silence(id: str, principal: Administering, house: House) -> Silenced:
    """Tell of it again, from now on."""
    _known(id)
    kept = await house.outlets.settings.put(SILENCE + id, "told", 0, principal.key_id)
    tell(house, principal, "alert_told_again", id)
    return _silenced(kept)


def _known(name: str) -> None:
    if name != ALL and name not in EVENTS:
        raise NotFound(f"there is no alert {name[:40]!r}; there are: {ALL}, {', '.join(EVENTS)}")


def _silenced(one: Setting) -> Silenced:
    return Silenced(name=one.id.removeprefix(SILENCE), until=iso(one.until_ms, UTC), by=one.by)

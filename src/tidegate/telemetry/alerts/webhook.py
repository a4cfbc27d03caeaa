"""Who is told by a POST? Somebody who checks a signature, or a channel of Slack, Mattermost, Rocket.Chat, Discord."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.ports import Headers, Timeouts
from tidegate.core.posting import NOWHERE, post, refusal
from tidegate.core.signed import signature
from tidegate.core.values import Secret
from tidegate.core.world import World
from tidegate.telemetry.alerts.said import Alert, Told

TIMEOUTS = Timeouts(connect=5, first_byte=10, idle=5, total=15)
MENDED_BY_TIME = (408, 425, 429)
MOST_TEXT = 3_000  # characters; Slack takes no more in a section
PLAIN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # as Slack wants it: no mention, no link


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who is told by a POST of JSON.

    url: where, best as env:NAME: often whoever knows it may write there. A private address is allowed where it
        is written as one, or by transport.private_hosts.
    form: `slack` is a message for a channel, as Slack's incoming webhooks and those that follow them take it.
    secret: signs each alert in x-tidegate-signature, best as env:NAME; `slack` needs none.
    events: what is told.
    deadline_s: how long an alert that nobody takes is sent again before it is dropped.
    """

    url: Secret
    form: Literal["tidegate", "slack"] = "tidegate"
    secret: Secret | None = None
    events: Annotated[tuple[Alert, ...], Meta(min_length=1)] = (
        "budget_warning",
        "spending_fast",
        "loop_suspected",
        "loop_stopped",
    )
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0


class Webhook:
    """A Way."""

    def __init__(self, config: Config, world: World) -> None:
        self.name = f"{config.form} webhook {config.url.source}"
        self._config = config
        self._world = world

    async def tell(self, told: Told) -> tuple[str | None, bool]:
        config = self._config
        body = slack(told) if config.form == "slack" else msgspec.json.encode(told, enc_hook=str)
        answer = await post(self._world.transport, config.url.value, self._headers(told, body), body, TIMEOUTS)
        if isinstance(answer, str):
            return answer, answer != NOWHERE
        return refusal(answer), answer >= 500 or answer in MENDED_BY_TIME

    def _headers(self, told: Told, body: bytes) -> Headers:
        headers = [(b"content-type", b"application/json"), (b"user-agent", b"tidegate")]
        if self._config.form == "slack" or self._config.secret is None:
            return headers
        signed = signature(self._config.secret.value, self._world.clock.wall_ns() // 1_000_000_000, body)
        return [
            *headers,
            (b"x-tidegate-event", told.event.encode()),
            (b"x-tidegate-alert", told.id.encode()),  # the same whenever it is sent again
            (b"x-tidegate-signature", signed.encode()),
        ]


def slack(told: Told) -> bytes:
    """`text` is what every imitator shows; `blocks` is what Slack does."""
    sign = ":white_check_mark:" if told.state == "resolved" else ":warning:"
    often = f" × {told.times}" if told.times > 1 else ""
    over = " is over" if told.state == "resolved" else ""
    lines = [f"• {field}: {value}" for field, value in told.fields.items() if value is not None]
    section = "\n".join([f"{sign} *{told.event}*{over}{often}", *lines]).translate(PLAIN)[:MOST_TEXT]
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": section}}]
    return msgspec.json.encode({"text": told.text.translate(PLAIN)[:MOST_TEXT], "blocks": blocks})

"""Who is told by mail? Over SMTP, encrypted unless it is said that it need not be; in a thread, for it takes long."""

from __future__ import annotations

import asyncio
import re
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tidegate.core.values import Secret
from tidegate.telemetry.alerts.said import Alert, Told

TIMEOUT_S = 15.0  # for each step
PORTS = {"starttls": 587, "implicit": 465, "none": 25}
ADDRESS = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"]{1,255}")
FOR_EVER = 500  # an answer from here on is the same tomorrow


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """People who are told by mail.

    to: their addresses.
    server: who takes the mail: a name or an address.
    port: 587 where it is left out; 465 with `implicit`, 25 with `none`.
    tls: `starttls` or `implicit`: nothing is sent unless the server shows a good certificate. `none` sends everything
        in the clear, a password too: for a server on this machine.
    ca: a file with authorities, in PEM, besides those of the system.
    user: as whom to log in; nobody when left out.
    password: best as env:NAME.
    sender: from whom it is.
    events: what is told.
    deadline_s: how long a mail that nobody takes is sent again before it is dropped.
    """

    to: Annotated[tuple[str, ...], Meta(min_length=1)]
    server: str
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca: str | None = None
    user: str | None = None
    password: Secret | None = None
    sender: str = "tidegate@localhost"
    events: Annotated[tuple[Alert, ...], Meta(min_length=1)] = (
        "budget_warning",
        "spending_fast",
        "loop_suspected",
        "loop_stopped",
    )
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0


def trouble(config: Config) -> tuple[str, str] | None:
    """What cannot be, and where."""
    for at, address in enumerate(config.to):
        if not ADDRESS.fullmatch(address):
            return f"to[{at}]", f"must be like ops@example.com, not {address[:60]!r}"
    if not ADDRESS.fullmatch(config.sender):
        return "sender", f"must be like tidegate@example.com, not {config.sender[:60]!r}"
    if not config.server or not config.server.isprintable() or " " in config.server:
        return "server", "must be a name such as smtp.example.com"
    if (config.user is None) != (config.password is None):
        return "password" if config.password is None else "user", "is needed, where there is the other of the two"
    if config.ca is not None:
        try:
            ssl.create_default_context(cafile=config.ca)
        except (OSError, ssl.SSLError) as wrong:
            return "ca", f"{config.ca} cannot be read: {wrong}"
    return None


class Mail:
    """A Way."""

    def __init__(self, config: Config) -> None:
        self.name = f"mail to {', '.join(config.to)}"
        self._config = config

    async def tell(self, told: Told) -> tuple[str | None, bool]:
        return await asyncio.to_thread(self._send, letter(self._config, told))

    def _send(self, message: EmailMessage) -> tuple[str | None, bool]:
        config = self._config
        port = config.port or PORTS[config.tls]
        try:
            with self._connected(port) as server:
                if config.tls == "starttls":
                    server.starttls(context=self._trust())
                if config.user is not None and config.password is not None:
                    server.login(config.user, config.password.value)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as wrong:
            code, said = next(iter(wrong.recipients.values()))
            return f"it answers {code} {_text(said)}", code < FOR_EVER
        except smtplib.SMTPResponseException as wrong:
            return f"it answers {wrong.smtp_code} {_text(wrong.smtp_error)}", wrong.smtp_code < FOR_EVER
        except smtplib.SMTPNotSupportedError as wrong:
            return str(wrong), False
        except ssl.SSLCertVerificationError as wrong:
            return f"its certificate is not good: {wrong.verify_message}", False
        except (OSError, smtplib.SMTPException) as wrong:
            return f"{type(wrong).__name__}: {str(wrong)[:200]}", True
        return None, False

    def _connected(self, port: int) -> smtplib.SMTP:
        config = self._config
        if config.tls == "implicit":
            return smtplib.SMTP_SSL(config.server, port, timeout=TIMEOUT_S, context=self._trust())
        return smtplib.SMTP(config.server, port, timeout=TIMEOUT_S)

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._config.ca is not None:
            context.load_verify_locations(self._config.ca)
        return context


def letter(config: Config, told: Told) -> EmailMessage:
    """Names come from clients: none of them can begin a header of its own."""
    message = EmailMessage()
    often = f" x {told.times}" if told.times > 1 else ""
    whose = next((str(value) for value in told.fields.values() if isinstance(value, str)), "")
    over = "over: " if told.state == "resolved" else ""
    message["subject"] = _line(f"Tidegate: {over}{told.event}{often} {whose}".rstrip())[:150]
    message["from"] = config.sender
    message["to"] = ", ".join(config.to)
    message["date"] = format_datetime(datetime.fromtimestamp(told.at_ms / 1000, UTC))
    message["message-id"] = f"<{told.id}@tidegate>"  # the same whenever it is sent again
    message["auto-submitted"] = "auto-generated"
    lines = [told.text, "", *(f"{field}: {_line(str(value))}" for field, value in told.fields.items())]
    message.set_content("\n".join(_line(line) for line in lines) + "\n")
    return message


def _line(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _text(said: bytes | str) -> str:
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else said)[:200]

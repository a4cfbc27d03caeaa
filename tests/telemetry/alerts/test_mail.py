"""People are told by mail, encrypted, or the log says why not."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from tests.house import TWO_PROVIDERS, until
from tests.telemetry.alerts.postoffice import PostOffice, post_office
from tidegate import config
from tidegate.core.errors import ConfigError
from tidegate.core.values import Secret
from tidegate.telemetry.alerts.mail import Config, Mail, letter
from tidegate.telemetry.alerts.said import Told

TOLD = Told("alert_1", "budget_warning", 1_795_000_000_000, "Tidegate: budget_warning", {"whose": "key 'ci'"})


class Town:
    """An authority, and a server's certificate of it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self.server)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    yield Town(tmp_path)


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with post_office() as found:
        yield found


def to(office: PostOffice, **more: object) -> Mail:
    return Mail(Config(to=("ops@example.com",), server="127.0.0.1", port=office.port, **more))  # type: ignore[arg-type]


async def test_a_mail_goes_encrypted_and_logged_in(town: Town, office: PostOffice) -> None:
    office.trust = town.server
    mail = to(office, ca=town.ca, user="ann", password=Secret("hush"))
    assert await mail.tell(TOLD) == (None, False)
    (found,) = office.mails
    assert (office.encrypted, office.logins) == ([True], ["\0ann\0hush"])
    assert found["subject"] == "Tidegate: budget_warning key 'ci'" and found["to"] == "ops@example.com"
    assert "whose: key 'ci'" in found.get_content() and found["message-id"] == "<alert_1@tidegate>"


async def test_where_tls_is_from_the_first_byte(town: Town) -> None:
    async with post_office(town.server) as office:
        assert await to(office, ca=town.ca, tls="implicit").tell(TOLD) == (None, False)
        assert office.encrypted == [True]


async def test_a_server_that_nobody_vouches_for_is_told_nothing(town: Town, office: PostOffice) -> None:
    office.trust = town.server
    why, again = await to(office).tell(TOLD)
    assert why is not None and "certificate is not good" in why and not again
    assert office.mails == []


async def test_a_server_without_tls_is_told_nothing_unless_one_says_so(office: PostOffice) -> None:
    why, again = await to(office).tell(TOLD)
    assert why is not None and "STARTTLS" in why and not again and office.mails == []
    assert await to(office, tls="none").tell(TOLD) == (None, False)


@pytest.mark.parametrize(
    ("verb", "answer", "again"),
    [
        ("MAIL", "451 later", True),
        ("MAIL", "550 never", False),
        ("RCPT", "450 busy", True),
        ("RCPT", "550 who?", False),
    ],
)
async def test_what_is_refused_for_now_is_sent_again_and_what_is_refused_is_not(
    office: PostOffice, verb: str, answer: str, again: bool
) -> None:
    office.answers[verb] = [answer]
    why, later = await to(office, tls="none").tell(TOLD)
    assert why == f"it answers {answer}" and later is again


async def test_nobody_there_is_tried_again() -> None:
    why, again = await Mail(Config(to=("a@b.c",), server="127.0.0.1", port=9, tls="none")).tell(TOLD)
    assert why is not None and "ConnectionRefusedError" in why and again


def test_a_name_cannot_begin_a_header_of_its_own() -> None:
    nasty = "ci\r\nBcc: eve@example.com"
    message = letter(Config(to=("a@b.c",), server="x"), Told("alert_1", "loop_stopped", 1, nasty, {"key": nasty}))
    assert message["bcc"] is None and "\n" not in message["subject"] and "\nBcc" not in message.get_content()


async def test_a_budget_that_is_nearly_spent_is_told_by_mail(build_house, office: PostOffice) -> None:
    one = f"{{to: [ops@example.com], server: 127.0.0.1, port: {office.port}, tls: none, events: [loop_stopped]}}"
    house = await build_house(f"alerts: {{emails: [{one}]}}\n{TWO_PROVIDERS}")
    office.answers["MAIL"] = ["451 later", "250 well"]
    house.app.world.events.notice("loop_stopped", {"key": "k", "calls": 9})
    await until(lambda: bool(office.mails))
    assert house.app.gateway.outlets.alerts.lines[0].name == "mail to ops@example.com"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{to: [ops], server: s}", r"alerts.emails\[0\].to\[0\]: must be like ops@example.com"),
        ("{to: ['a@b.c x'], server: s}", r"to\[0\]: must be like"),
        ("{to: [], server: s}", "at least one"),
        ("{to: [a@b.c]}", "server"),
        ("{to: [a@b.c], server: ''}", "must be a name"),
        ("{to: [a@b.c], server: s, sender: x}", "sender: must be like"),
        ("{to: [a@b.c], server: s, user: u}", "password: is needed"),
        ("{to: [a@b.c], server: s, tls: tls}", "tls"),
        ("{to: [a@b.c], server: s, port: 0}", "port"),
        ("{to: [a@b.c], server: s, ca: /nowhere.pem}", "ca: /nowhere.pem cannot be read"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config.parse(f"alerts: {{emails: [{said}]}}", {})

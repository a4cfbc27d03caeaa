"""Keys, teams and users from a terminal: the same words as over HTTP, and what is wrong is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_cli import here, run, why_not
from tidegate.cli import main
from tidegate.cli.bounds import budget, budget_text, limit, limit_text
from tidegate.core.errors import BadRequest
from tidegate.core.limits import Budget, Limit

__all__ = ["here"]


def good(*words: str) -> Result:
    done = run(*words)
    assert done.exit_code == 0, done.output
    return done


def made(*words: str) -> tuple[str, str]:
    text = good("keys", "create", *words).stdout.strip()
    return text, text.split("_")[2]


def shown(id: str) -> dict[str, str]:
    lines = good("keys", "show", id).stdout.splitlines()
    return {
        word.strip(): value for word, _, value in (line.partition("  ") for line in lines) for value in [value.strip()]
    }


def test_a_key_says_what_it_is_for_and_how_much():
    good("teams", "create", "search", "--budget", "100/month@Europe/Berlin")
    good("users", "create", "ann", "--team", "search", "--role", "manager")
    _, id = made(
        *(
            "--name",
            "ci",
            "--team",
            "search",
            "--user",
            "ann",
            "--role",
            "member",
            "--route",
            "fast",
            "--route",
            "slow",
        ),
        *("--endpoint", "chat", "--scope", "batch", "--address", "10.0.0.0/8", "--tag", "nightly", "--expires", "90d"),
        *("--limit", "requests=60/1m", "--limit", "at_once=4", "--budget", "5/day"),
    )
    said = shown(id)
    assert (said["name"], said["team"], said["user"], said["role"]) == ("ci", "search", "ann", "member")
    assert (said["routes"], said["endpoints"], said["scopes"]) == ("fast, slow", "chat", "batch")
    assert (said["addresses"], said["tags"]) == ("10.0.0.0/8", "nightly")
    assert (said["limits"], said["budgets"]) == ("requests=60/60s, at_once=4", "5/day")
    assert said["expires"] != "never" and said["last used"] == "never"
    assert "search" in good("keys", "list").stdout


def test_what_is_said_is_changed_and_nothing_else():
    _, id = made("--name", "ci", "--route", "fast", "--expires", "1d", "--limit", "requests=1/1s")
    good("keys", "change", id, "--name", "other", "--route", "", "--expires", "never", "--limit", "")
    said = shown(id)
    assert (said["name"], said["expires"], said["limits"]) == ("other", "never", "-")
    assert said["routes"] == "all but other teams' own"
    assert "nothing to change was said" in why_not("keys", "change", id)


def test_a_key_is_rotated_disabled_enabled_and_revoked():
    text, id = made()
    turned = good("keys", "rotate", id, "--overlap", "1d")
    assert turned.stdout.strip() != text and turned.stdout.split("_")[2] == id
    assert "the one it had is good until" in turned.stderr
    good("keys", "disable", id)
    assert shown(id)["state"] == "disabled"
    good("keys", "enable", id)
    assert shown(id)["state"] == "member"
    good("keys", "revoke", id)
    assert shown(id)["state"] == "revoked"
    for verb in ("rotate", "enable"):
        assert "was revoked, which is for ever" in why_not("keys", verb, id)


@pytest.mark.parametrize("noun", ["teams", "users", "organisations"])
def test_what_keys_belong_to_is_made_changed_and_ended(noun):
    assert good(noun, "create", "one", "--name", "First").stdout == "made one\n"
    good(noun, "change", "one", "--name", "Second", "--budget", "7/week/rolling")
    assert "Second  7/week/rolling\n" in good(noun, "list").stdout
    good(noun, "disable", "one")
    assert "  disabled  " in good(noun, "list").stdout
    good(noun, "enable", "one")
    assert "  disabled  " not in good(noun, "list").stdout
    assert "already; change it, or take another id" in why_not(noun, "create", "one")
    assert "nothing to change was said" in why_not(noun, "change", "one")
    for verb in ("disable", "enable"):
        assert f"there is no {noun.removesuffix('s')} 'two'" in why_not(noun, verb, "two")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--team", "nobodys"), "there is no team 'nobodys'; make it first: tidegate teams create"),
        (("--user", "nobody"), "there is no user 'nobody'"),
        (("--role", "manager"), "a manager needs a team to manage"),
        (("--address", "10.0.0.0/99"), "'10.0.0.0/99' is no address or network"),
        (("--expires", "soon"), "--expires: a duration such as"),
        (("--expires", "0"), "it would have expired already"),
        (("--limit", "requests=60"), "--limit 'requests=60': say it as requests=60/1m"),
        (("--limit", "at_once=4/1m"), "--limit 'at_once=4/1m': say it as"),
        (("--limit", "reqs=4/1m"), "--limit 'reqs=4/1m': say it as"),
        (("--limit", "requests=-1/1m"), "--limit 'requests=-1/1m': say it as"),
        (("--limit", "requests=1/soon"), "--limit 'requests=1/soon': a duration such as"),
        (("--limit", "requests=1/90d"), "a limit of requests needs per_s, from 1 second to 31 days"),
        (("--budget", "5"), "--budget '5': say it as 5/day"),
        (("--budget", "-5/day"), "--budget '-5/day': say it as 5/day"),
        (("--budget", "nan/day"), "--budget 'nan/day': say it as 5/day"),
        (("--budget", "1e400/day"), "--budget '1e400/day': say it as 5/day"),
        (("--budget", "5/day@Mars"), "there is no time zone 'Mars'; say it as Europe/Berlin"),
        (("--budget", "5/day@../../etc/passwd"), "there is no time zone '../../etc/passwd'"),
        (("--name", ""), "a name has 1 to 100 characters"),
        (("--tag", "x" * 257), "at most 16 tags, of 1 to 256 characters"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(words, why):
    assert why in why_not("keys", "create", *words)
    assert good("keys", "list").stdout == ""


def test_every_command_has_help_with_an_example():
    for group in ("keys", "teams", "users", "organisations"):
        assert f"tidegate {group} create" in good(group, "--help").stdout
        for name in main.commands[group].commands:
            assert f"tidegate {group} {name}" in " ".join(good(group, name, "--help").stdout.split())


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("requests=60/60s", Limit("requests", 60, 60)),
        ("tokens=0/86400s", Limit("tokens", 0, 86_400)),
        ("at_once=4", Limit("at_once", 4)),
    ],
)
def test_a_limit_is_said_as_it_is_read(text: str, bound: Limit):
    assert limit(text) == bound and limit_text(bound) == text


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("5/day", Budget(5_000_000_000, "day")),
        ("0.25/total", Budget(250_000_000, "total")),
        ("20/week/rolling", Budget(20_000_000_000, "week", rolling=True)),
        ("100/month@Europe/Berlin", Budget(100_000_000_000, "month", zone="Europe/Berlin")),
    ],
)
def test_a_budget_is_said_as_it_is_read(text: str, bound: Budget):
    assert budget(text) == bound and budget_text(bound) == text


@pytest.mark.parametrize(
    "text", ["", "=", "/", "5/", "/day", "5/day/", "5/day/often", "5/day@", "@UTC", "x/day", "5/year"]
)
def test_any_other_text_is_no_budget(text: str):
    if text == "5/day/":
        assert budget(text) == Budget(5_000_000_000, "day")
        return
    with pytest.raises(BadRequest):
        budget(text)


def test_a_pepper_of_the_configuration_is_for_new_keys_and_old_ones_stay():
    _, old = made()
    Path("tidegate.yaml").write_text("auth: {peppers: [0123456789abcdef0123456789abcdef]}\n")
    _, new = made()
    listed = CliRunner().invoke(main, ["keys", "list"]).stdout
    assert old in listed and new in listed

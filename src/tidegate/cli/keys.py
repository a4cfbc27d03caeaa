"""tidegate keys: who may come in, and what for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import click

from tidegate.cli.bounds import BUDGET, LIMIT, bounds, budget_text, limit_text
from tidegate.cli.chat import Line
from tidegate.cli.desk import at_desk, listed, printable, when
from tidegate.cli.shared import DATA, FILE, KEY, URL
from tidegate.core.errors import BadRequest, ConfigError
from tidegate.core.limits import Role
from tidegate.core.ports import Endpoint, Key, Scope, Store, User
from tidegate.core.values import Duration
from tidegate.stages.auth.desk import Desk

Command = Callable[..., Any]

ALLOWED = (
    click.option("--role", type=click.Choice(get_args(Role)), help="admin, manager of its team, member, viewer."),
    click.option("--team", "team_id", help="The team that it belongs to, by id."),
    click.option("--user", "user_id", help="The user that it belongs to, by id; it is never more than its user."),
    click.option("--expires", help="How long it is good from now on: 90d, 12h; never says it does not end."),
    click.option("--route", "routes", multiple=True, help="A route that it may ask for; several, or '' for all."),
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        type=click.Choice(("", *get_args(Endpoint))),
        help="What it may use: chat, complete, embed, count, models, raw, account; '' is all but account.",
    ),
    click.option(
        "--scope",
        "scopes",
        multiple=True,
        type=click.Choice(("", *get_args(Scope))),
        help="batch: loops are its work; eval: its calls may be an evaluation's.",
    ),
    click.option("--address", "addresses", multiple=True, help="A network that it may come from: 10.0.0.0/8."),
    click.option("--tag", "tags", multiple=True, help="Stands in every row of its calls."),
    LIMIT,
    BUDGET,
)


def allowed(command: Command) -> Command:
    """The options that say what a key may do."""
    for option in reversed(ALLOWED):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Who may come in, and what for.

    \b
    tidegate keys create --name ci
    tidegate keys create --name ops --role admin
    tidegate keys create --name search --team search --route fast --limit requests=60/1m --budget 5/day
    tidegate keys list
    tidegate keys change ID --tag nightly --expires 90d
    tidegate keys rotate ID --overlap 1d
    tidegate keys disable ID
    tidegate keys enable ID
    tidegate keys revoke ID
    """


@keys.command("create")
@FILE
@DATA
@click.option("--name", default="unnamed", help="What it is for.")
@click.option("--env", default="live", help="Part of the key's text, small letters: live, test…")
@click.option("--admin", is_flag=True, help="The same as --role admin.")
@allowed
def create_key(file: Path | None, data_dir: str | None, name: str, env: str, admin: bool, **said: Any) -> None:
    """Make a key and show it, this once.

    \b
    tidegate keys create --name ci
    tidegate keys create --name search --team search --route fast --budget 5/day
    """
    fields = _fields(said) | ({"role": "admin"} if admin else {})

    async def work(store: Store, desk: Desk) -> None:
        text, key = await desk.make_key(name, env, **fields)
        _show_once(text, key)

    at_desk(file, data_dir, work)


@keys.command("list")
@FILE
@DATA
def list_keys(file: Path | None, data_dir: str | None) -> None:
    """All keys, without what makes them work.

    \b
    tidegate keys list
    """

    async def work(store: Store, desk: Desk) -> None:
        teams = {user.id: user.team_id for user in await store.every(User)}
        for key in await store.every(Key):
            team = key.team_id or teams.get(key.user_id or "") or "-"
            line = f"{key.id}  {_state(key):8}  {key.env:5}  {when(key.created_ms)}  {team:10}  {printable(key.name)}"
            click.echo(line)

    at_desk(file, data_dir, work)


@keys.command("show")
@FILE
@DATA
@click.argument("id")
def show_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """What one key may do, and when it was last used.

    \b
    tidegate keys show ID
    """

    async def work(store: Store, desk: Desk) -> None:
        key = await desk.find(Key, id)
        lines = {
            "name": printable(key.name),
            "state": _state(key),
            "role": key.role,
            "team": key.team_id or "-",
            "user": key.user_id or "-",
            "made": when(key.created_ms),
            "last used": when(key.last_used_ms),
            "expires": when(key.expires_ms),
            "routes": ", ".join(key.routes) or "all but other teams' own",
            "endpoints": ", ".join(key.endpoints) or "all but account",
            "scopes": ", ".join(key.scopes) or "-",
            "addresses": ", ".join(key.addresses) or "any",
            "tags": ", ".join(map(printable, key.tags)) or "-",
            "limits": ", ".join(map(limit_text, key.limits)) or "-",
            "budgets": ", ".join(map(budget_text, key.budgets)) or "-",
        }
        for word, value in lines.items():
            click.echo(f"{word:10}  {value}")

    at_desk(file, data_dir, work)


@keys.command("change")
@FILE
@DATA
@click.argument("id")
@click.option("--name", help="What it is for.")
@allowed
def change_key(file: Path | None, data_dir: str | None, id: str, name: str | None, **said: Any) -> None:
    """Change what is said of a key, and nothing else. It holds everywhere within a second.

    \b
    tidegate keys change ID --route fast --route slow
    tidegate keys change ID --route '' --expires never
    """
    fields = _fields(said) | ({"name": name} if name is not None else {})
    if not fields:
        raise BadRequest("nothing to change was said; see: tidegate keys change --help")

    async def work(store: Store, desk: Desk) -> None:
        await desk.change(Key, id, **fields)
        click.echo(f"changed {id}: {', '.join(fields)}")

    at_desk(file, data_dir, work)


@keys.command("rotate")
@FILE
@DATA
@click.argument("id")
@click.option("--overlap", default="1h", help="How long the one it has stays good; 0 ends it at once.")
def rotate_key(file: Path | None, data_dir: str | None, id: str, overlap: str) -> None:
    """Give a key a new secret, and show it, this once.

    \b
    tidegate keys rotate ID
    tidegate keys rotate ID --overlap 7d
    """
    overlap_s = _duration("--overlap", overlap)

    async def work(store: Store, desk: Desk) -> None:
        _show_once(*await desk.rotate(id, overlap_s))

    at_desk(file, data_dir, work)


@keys.command("disable")
@FILE
@DATA
@click.argument("id")
def disable_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """Stop a key until it is enabled; it stops working everywhere within a second.

    \b
    tidegate keys disable ID
    """

    async def work(store: Store, desk: Desk) -> None:
        await desk.disable(Key, id)
        click.echo(f"disabled {id}")

    at_desk(file, data_dir, work)


@keys.command("enable")
@FILE
@DATA
@click.argument("id")
def enable_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """Let a key that was disabled work again.

    \b
    tidegate keys enable ID
    """

    async def work(store: Store, desk: Desk) -> None:
        await desk.enable(Key, id)
        click.echo(f"enabled {id}")

    at_desk(file, data_dir, work)


@keys.command("resume")
@click.argument("id")
@URL
@KEY
def resume_key(id: str, url: str, key: str | None) -> None:
    """Let a key go on whose calls were taken for a loop.

    \b
    tidegate keys resume ID
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --admin")
    Line(url, key).post(f"/admin/keys/{quote(id, safe='')}/resume")
    click.echo(f"resumed {id}")


@keys.command("revoke")
@FILE
@DATA
@click.argument("id")
def revoke_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """End a key for ever; it stops working everywhere within a second.

    \b
    tidegate keys revoke ID
    """

    async def work(store: Store, desk: Desk) -> None:
        await desk.revoke(id)
        click.echo(f"revoked {id}")

    at_desk(file, data_dir, work)


def _show_once(text: str, key: Key) -> None:
    click.echo(text)
    click.echo(f"id {key.id}; keep the line above, it is not shown again", err=True)
    if key.former_until_ms is not None:
        click.echo(f"the one it had is good until {when(key.former_until_ms)} UTC", err=True)


def _state(key: Key) -> str:
    if key.revoked_ms is not None:
        return "revoked"
    if key.disabled_ms is not None:
        return "disabled"
    return "expired" if key.expires_ms is not None and key.expires_ms <= time.time() * 1000 else key.role


def _fields(said: dict[str, Any]) -> dict[str, Any]:
    """What was said, as the desk takes it; what was not, is not in it."""
    fields: dict[str, Any] = {name: said[name] or None for name in ("team_id", "user_id") if said[name] is not None}
    if said["role"] is not None:
        fields["role"] = said["role"]
    if said["expires"] is not None:
        never = said["expires"] == "never"
        ends_ms = None if never else round((time.time() + _duration("--expires", said["expires"])) * 1000)
        fields["expires_ms"] = ends_ms
    for name in ("routes", "endpoints", "scopes", "addresses", "tags"):
        if said[name]:
            fields[name] = listed(said[name])
    return fields | bounds(said["limits"], said["budgets"])


def _duration(option: str, text: str) -> float:
    try:
        return Duration.parse(text)
    except ValueError as wrong:
        raise BadRequest(f"{option}: {wrong}") from None

"""tidegate teams, users, organisations: whom keys belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from tidegate.cli.bounds import BUDGET, LIMIT, bounds, budget_text, limit_text
from tidegate.cli.desk import at_desk, printable
from tidegate.cli.shared import DATA, FILE
from tidegate.core.errors import BadRequest
from tidegate.core.limits import Role
from tidegate.core.ports import Organisation, Store, Team, User
from tidegate.stages.auth.desk import Desk

Command = Callable[..., Any]
Option = Callable[[Command], Command]
Kind = type[Any]  # Organisation, Team or User

NAME = click.option("--name", help="As people will read it; the id when left out.")
ORGANISATION = click.option("--organisation", "organisation_id", help="The organisation that it belongs to, by id.")
TEAM = click.option("--team", "team_id", help="The team that the user belongs to, by id; '' for none.")
ROLE = click.option("--role", type=click.Choice(get_args(Role)), help="Keys of this user are never more than this.")


def _noun(word: str, kind: Kind, about: str, create: str, *options: Option) -> click.Group:
    """create · list · change · disable · enable, for one kind of those that keys belong to."""
    group = click.Group(
        word,
        help=f"{about}\n\n\b\ntidegate {word} create {create}\ntidegate {word} list\n"
        f"tidegate {word} change ID --budget 100/month\ntidegate {word} disable ID\ntidegate {word} enable ID",
    )
    one = f"{'an' if word[0] == 'o' else 'a'} {word.removesuffix('s')}"

    def command(name: str, help: str, work: Command, *more: Option) -> None:
        given: tuple[Option, ...] = (FILE, DATA, *more)
        for option in reversed(given):
            work = option(work)
        group.command(name, help=help)(work)

    said: tuple[Option, ...] = (click.argument("id"), NAME, *options, LIMIT, BUDGET)
    command("create", f"Make {one}: tidegate {word} create {create}", _create(kind), *said)
    command("list", f"All {word}, disabled ones too: tidegate {word} list", _list(kind))
    command("change", f"Change what is said of {one}: tidegate {word} change ID --name NAME", _change(kind), *said)
    command("disable", f"No key of it works: tidegate {word} disable ID", _end(kind, "disable"), click.argument("id"))
    command("enable", f"Its keys work again: tidegate {word} enable ID", _end(kind, "enable"), click.argument("id"))
    return group


def _create(kind: Kind) -> Command:
    def create(file: Path | None, data_dir: str | None, id: str, name: str | None, **said: Any) -> None:
        fields = _fields(said)

        async def work(store: Store, desk: Desk) -> None:
            await desk.add(kind, id, name or id, **fields)
            click.echo(f"made {id}")

        at_desk(file, data_dir, work)

    return create


def _list(kind: Kind) -> Command:
    def list_all(file: Path | None, data_dir: str | None) -> None:
        async def work(store: Store, desk: Desk) -> None:
            for one in await store.every(kind):
                above = getattr(one, "organisation_id", None) or getattr(one, "team_id", None) or "-"
                state = "disabled" if one.disabled_ms is not None else getattr(one, "role", "good")
                bounds = [*map(limit_text, one.limits), *map(budget_text, one.budgets)]
                click.echo(f"{one.id:20}  {state:8}  {above:12}  {printable(one.name)}  {' '.join(bounds)}".rstrip())

        at_desk(file, data_dir, work)

    return list_all


def _change(kind: Kind) -> Command:
    def change(file: Path | None, data_dir: str | None, id: str, name: str | None, **said: Any) -> None:
        fields = _fields(said) | ({"name": name} if name is not None else {})
        if not fields:
            raise BadRequest("nothing to change was said; see --help")

        async def work(store: Store, desk: Desk) -> None:
            await desk.change(kind, id, **fields)
            click.echo(f"changed {id}: {', '.join(fields)}")

        at_desk(file, data_dir, work)

    return change


def _end(kind: Kind, verb: str) -> Command:
    def end(file: Path | None, data_dir: str | None, id: str) -> None:
        async def work(store: Store, desk: Desk) -> None:
            await (desk.disable(kind, id) if verb == "disable" else desk.enable(kind, id))
            click.echo(f"{verb}d {id}")

        at_desk(file, data_dir, work)

    return end


def _fields(said: dict[str, Any]) -> dict[str, Any]:
    """What was said, as the desk takes it; what was not, is not in it."""
    found = bounds(said.pop("limits"), said.pop("budgets"))
    return found | {name: value or None for name, value in said.items() if value is not None}


organisations = _noun("organisations", Organisation, "The top level: limits and budgets of several teams.", "acme")
teams = _noun("teams", Team, "Whom routes and keys belong to.", "search --budget 100/month", ORGANISATION)
users = _noun("users", User, "People and services that keys belong to.", "ann --team search --role manager", TEAM, ROLE)

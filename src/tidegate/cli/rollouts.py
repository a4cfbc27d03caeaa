"""tidegate experiments start, show, advance, promote, rollback, stop, recompute: of a gateway that is running."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click
import msgspec

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.jobs.rollouts.reports import Report, page, screen

WHY = click.option("--why", default="", help="In plain words, for the log of decisions.")


@click.command()
@click.argument("name")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="A page of its own, with charts.")
@click.option("--json", "as_json", is_flag=True, help="Everything.")
@URL
@KEY
def show(name: str, html: Path | None, as_json: bool, url: str, key: str | None) -> None:
    """How an experiment stands: each metric with its interval, what follows, what was decided.

    \b
    tidegate experiments show shorter
    tidegate experiments show shorter --html shorter.html
    """
    text = _line(url, key).get(f"{_path(name)}/report")[0]
    if as_json:
        click.echo(text)
        return
    report = msgspec.json.decode(text, type=Report)
    if html is None:
        for line in screen.written(report):
            click.echo(printable(line))
        return
    try:
        html.write_text(page.written(report), encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"cannot write {html}: {wrong.strerror or wrong}") from None
    click.echo(f"wrote {html}")


@click.command()
@click.argument("name")
@WHY
@URL
@KEY
def start(name: str, why: str, url: str, key: str | None) -> None:
    """Give the first stage its arms; where a gate is named, ask the suite first.

    \b
    tidegate experiments start shorter
    """
    _move(name, "start", {"why": why}, url, key)


@click.command()
@click.argument("name")
@WHY
@URL
@KEY
def advance(name: str, why: str, url: str, key: str | None) -> None:
    """Go on to the next stage, whatever was found.

    \b
    tidegate experiments advance shorter --why "a quiet day"
    """
    _move(name, "advance", {"why": why}, url, key)


@click.command()
@click.argument("name")
@click.option("--arm", default="", help="Which, where there are several.")
@WHY
@URL
@KEY
def promote(name: str, arm: str, why: str, url: str, key: str | None) -> None:
    """Give an arm to everybody.

    \b
    tidegate experiments promote shorter --why "everybody likes it"
    """
    _move(name, "promote", {"why": why, "arm": arm}, url, key)


@click.command()
@click.argument("name")
@WHY
@URL
@KEY
def rollback(name: str, why: str, url: str, key: str | None) -> None:
    """Give everybody the control again, at once.

    \b
    tidegate experiments rollback shorter --why "complaints"
    """
    _move(name, "rollback", {"why": why}, url, key)


@click.command()
@click.argument("name")
@WHY
@URL
@KEY
def stop(name: str, why: str, url: str, key: str | None) -> None:
    """End it without a verdict: everybody has the control.

    \b
    tidegate experiments stop shorter
    """
    _move(name, "stop", {"why": why}, url, key)


@click.command()
@click.argument("name")
@URL
@KEY
@click.pass_context
def recompute(ctx: click.Context, name: str, url: str, key: str | None) -> None:
    """Let each decision follow again from what it was based on; exit code 1 where another one does.

    \b
    tidegate experiments recompute shorter
    """
    found = _line(url, key).post(f"{_path(name)}/recompute")
    for one in found:
        word = {True: "the same", False: "ANOTHER", None: "not computed"}[one["same"]]
        click.echo(f"{one['id']}  {one['did']:<12}  {word:<12}  {printable(one['why'])}")
    if any(one["same"] is False for one in found):
        ctx.exit(1)


COMMANDS = (show, start, advance, promote, rollback, stop, recompute)


def _move(name: str, verb: str, fields: dict[str, str], url: str, key: str | None) -> None:
    moved = _line(url, key).post(f"{_path(name)}/{verb}", fields)
    click.echo(f"{moved['name']}: {moved['state']}, stage {moved['stage'] + 1}")
    if moved["can"]:
        click.echo(f"you can: {', '.join(moved['can'])}")


def _path(name: str) -> str:
    return f"/v1/experiments/{quote(name, safe='')}"


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)

"""tidegate prompts: what calls can name in place of saying it, its versions, and where labels point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable, when
from tidegate.cli.prompts.repository import bring, export, line_of, read_file
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.jobs.prompts.files import found, wording_of, written

JSON = click.option("--json", "as_json", is_flag=True, help="Everything, as the API has it.")


@click.group()
def prompts() -> None:
    """Prompts that calls can name: versions that never change, and labels that point to them.

    \b
    tidegate prompts new greet --text "You greet {{name}}." --label production
    tidegate prompts show greet
    tidegate prompts diff greet production latest
    tidegate prompts label greet production 1      a rollback
    tidegate prompts export --dir prompts          files, for a repository
    tidegate prompts import prompts --dry-run      what a pull request would change
    """


@prompts.command("list")
@JSON
@URL
@KEY
def list_(as_json: bool, url: str, key: str | None) -> None:
    """All of them, with their newest version and their labels.

    \b
    tidegate prompts list
    """
    text = line_of(url, key).get("/v1/prompts")[0]
    if as_json:
        click.echo(text)
        return
    some = json.loads(text)
    for one in some:
        labels = "  ".join(f"{label}: {number}" for label, number in one["labels"].items())
        click.echo(f"{one['id']:<30} {one['latest']:>4}  {labels}")
    if not some:
        click.echo('there is no prompt yet; make one: tidegate prompts new greet --text "You greet {{name}}."')


@prompts.command()
@click.argument("name")
@JSON
@URL
@KEY
def show(name: str, as_json: bool, url: str, key: str | None) -> None:
    """What a version says: NAME, NAME@LABEL or NAME@NUMBER; without either, what `production` points to.

    \b
    tidegate prompts show greet
    tidegate prompts show greet@3
    """
    text = line_of(url, key).get(place(name))[0]
    if as_json:
        click.echo(text)
        return
    one = json.loads(text)
    labels = f"  {', '.join(one['labels'])}" if one["labels"] else ""
    click.echo(f"# {one['id']}@{one['version']}  {one['hash'][:8]}{labels}")
    note = f": {printable(one['note'])}" if one["note"] else ""
    click.echo(f"# {when(one['created_ms'])} by {printable(one['author'])}{note}")
    click.echo(written(wording_of(one)), nl=False)


@prompts.command()
@click.argument("name")
@click.argument("base", default="production")
@click.argument("head", default="latest")
@URL
@KEY
def diff(name: str, base: str, head: str, url: str, key: str | None) -> None:
    """What has changed from BASE to HEAD, numbers or labels: from production to the newest.

    \b
    tidegate prompts diff greet
    tidegate prompts diff greet 3 4
    """
    query = urlencode({"base": base, "head": head})
    shown = json.loads(line_of(url, key).get(f"/v1/prompts/{quote(name, safe='')}/diff?{query}")[0])
    for line in shown["lines"]:
        click.echo(line)
    if not shown["lines"]:
        click.echo(f"{name}@{shown['base']} and {name}@{shown['head']} say the same")


@prompts.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--text", help="What it says, one text, in place of FILE.")
@click.option("--label", "labels", multiple=True, help="Points to it at once; as often as you like.")
@click.option("--note", default="", help="Why it was changed.")
@URL
@KEY
def new(
    name: str, file: Path | None, text: str | None, labels: tuple[str, ...], note: str, url: str, key: str | None
) -> None:
    """A new version of NAME, from FILE or --text. What says the same as the newest one is none.

    \b
    tidegate prompts new greet --text "You greet {{name}}." --label production
    tidegate prompts new support support.md --label staging --note "shorter"
    """
    if (file is None) == (text is None):
        raise ConfigError("say a FILE or --text: one of the two")
    fields: Any = {"template": text} if file is None else found(read_file(file), str(file), name).fields
    asked = {"id": name, **fields, "note": note, "labels": list(labels)}
    line = line_of(url, key)
    made = line.post("/v1/prompts", asked)
    pointed = f", {', '.join(labels)} → {made['version']}" if labels else ""
    click.echo(f"{name}@{made['version']}  {made['hash'][:8]}{pointed}")


@prompts.command()
@click.argument("name")
@click.argument("label")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Take the label away.")
@click.option("--why", default="", help="For its history.")
@click.option("--protected", is_flag=True, help="Move it though it is protected; for administrators.")
@URL
@KEY
def label(
    name: str, label: str, version: str | None, remove: bool, why: str, protected: bool, url: str, key: str | None
) -> None:
    """Point LABEL to VERSION, a number or another label: the same way forward and back.

    \b
    tidegate prompts label greet production 4
    tidegate prompts label greet production staging
    tidegate prompts label greet production 3 --why "4 was worse"
    tidegate prompts label greet old --remove
    """
    line, path = line_of(url, key), f"/v1/prompts/{quote(name, safe='')}/labels/{quote(label, safe='')}"
    if remove:
        move = line.delete(f"{path}?protected={str(protected).lower()}")
        click.echo(f"{name}: {label} is gone; it pointed to {move['was']}")
        return
    if version is None:
        raise ConfigError("say which version; or --remove, to take the label away")
    number = int(version) if version.isdigit() else _pointed(line, name, version)
    move = line.put(path, {"version": number, "why": why, "protected": protected})
    before = f"; before, {move['was']}" if move["was"] is not None else ""
    click.echo(f"{name}: {label} → {move['version']}{before}")


@prompts.command()
@click.argument("name")
@URL
@KEY
def history(name: str, url: str, key: str | None) -> None:
    """How its labels were moved, the newest first.

    \b
    tidegate prompts history greet
    """
    for one in json.loads(line_of(url, key).get(f"/v1/prompts/{quote(name, safe='')}/history")[0]):
        why = f"  {printable(one['why'])}" if one["why"] else ""
        was, now = one["was"] or "nothing", one["version"] or "nothing"
        click.echo(f"{when(one['at_ms'])}  {one['label']}: {was} → {now}  by {one['by']}{why}")


@prompts.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@URL
@KEY
def delete(name: str, version: int, url: str, key: str | None) -> None:
    """Delete what a version says. One that a label, a prompt or an experiment needs cannot be deleted.

    \b
    tidegate prompts delete greet 2
    """
    line_of(url, key).delete(f"/v1/prompts/{quote(name, safe='')}/versions/{version}")
    click.echo(f"{name}@{version} is deleted; its number is not given again")


prompts.add_command(export)
prompts.add_command(bring)


def place(name: str) -> str:
    """Where NAME, NAME@LABEL or NAME@NUMBER is asked for."""
    name, _, which = name.partition("@")
    query = f"?version={which}" if which.isdigit() else f"?{urlencode({'label': which})}" if which else ""
    return f"/v1/prompts/{quote(name, safe='')}{query}"


def _pointed(line: Line, name: str, label: str) -> int:
    return int(json.loads(line.get(place(f"{name}@{label}"))[0])["version"])

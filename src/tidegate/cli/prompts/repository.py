"""tidegate prompts export, tidegate prompts import: files in a repository, and what the gateway has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from tidegate.cli.chat import Line
from tidegate.cli.shared import KEY, URL
from tidegate.core.difference import difference
from tidegate.core.errors import ConfigError
from tidegate.core.prompts import LABEL, Wording
from tidegate.jobs.prompts.files import SUFFIX, Found, found, in_order, wording_of, written
from tidegate.jobs.prompts.imports import FORMS

FILES = "files"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("prompts"), show_default=True)
@click.option("--label", default=LABEL, show_default=True, help="Which version; the newest of those without it.")
@URL
@KEY
def export(names: tuple[str, ...], folder: Path, label: str, url: str, key: str | None) -> None:
    """Write prompts as files, NAME.md, for a repository: all of them, or NAMES.

    \b
    tidegate prompts export --dir prompts
    tidegate prompts export greet support --label staging
    """
    line = line_of(url, key)
    there = {one["id"]: one for one in json.loads(line.get("/v1/prompts")[0])}
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or there:
        number = there[name]["labels"].get(label) or there[name]["latest"] if name in there else 1
        if not number:
            continue
        shown = json.loads(line.get(f"/v1/prompts/{quote(name, safe='')}?version={number}")[0])
        path = folder / f"{name}{SUFFIX}"
        text = written(wording_of(shown))
        is_same = path.exists() and path.read_text(encoding="utf-8") == text
        path.write_text(text, encoding="utf-8")
        click.echo(f"{path}: {name}@{number}{'' if not is_same else ', as it was'}")


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "form", type=click.Choice([FILES, *FORMS]), default=FILES, show_default=True)
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would change.")
@click.option("--label", "labels", multiple=True, help="Points to what is made; as often as you like.")
@click.option("--note", default="", help="Why it was changed, where a file does not say.")
@URL
@KEY
def bring(
    paths: tuple[Path, ...],
    form: str,
    dry_run: bool,
    labels: tuple[str, ...],
    note: str,
    url: str,
    key: str | None,
) -> None:
    """Make versions of what files say, or folders of them; what says the same as before is left alone.

    Everything is looked at before anything is changed. Labels that a file of Langfuse or the guide has are set too.

    \b
    tidegate prompts import prompts --dry-run
    tidegate prompts import prompts --label staging --note "pull request 12"
    tidegate prompts import export.json --from langfuse
    tidegate prompts import promptfooconfig.yaml --from promptfoo
    tidegate prompts import prompts.json --from guide
    """
    line = line_of(url, key)
    some = in_order([_with(one, labels, note) for path in paths for one in _read(path, form)])
    if not some:
        raise ConfigError(f"no file *{SUFFIX} is there")
    changes = _looked(line, some, tells=dry_run)
    if dry_run:
        click.echo(f"{changes} of {len(some)} would be new; nothing was changed")
        return
    made = 0
    for one in some:
        before = _latest(line, one.id)
        shown = line.post("/v1/prompts", one.asked)
        is_new = before is None or before["version"] != shown["version"]
        made += is_new
        pointed = f", {', '.join(one.labels)} → {shown['version']}" if one.labels else ""
        click.echo(f"{one.id}@{shown['version']}{'' if is_new else ', as it was'}{pointed}")
    click.echo(f"{made} of {len(some)} are new")


def _with(one: Found, labels: tuple[str, ...], note: str) -> Found:
    return one._replace(labels=tuple(dict.fromkeys((*one.labels, *labels))), note=one.note or note)


def _read(path: Path, form: str) -> Iterator[Found]:
    if form == FILES:
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        for file in files:
            yield found(read_file(file), str(file), file.stem)
        return
    imported = FORMS[form](read_file(path), str(path))
    for why in imported.left_out:
        click.echo(f"left out: {why}", err=True)
    yield from imported.found


def _looked(line: Line, some: list[Found], *, tells: bool) -> int:
    """How many would be new. Raises ConfigError with all that is wrong, before anything is changed."""
    wrong: list[str] = []
    names = [one.id for one in some]
    changes = 0
    for at, one in enumerate(some):
        try:
            shown = line.post("/v1/prompts?dry_run=true", one.asked)
        except ConfigError as error:
            if any(f"prompt {name!r}" in error.message for name in names[:at]):
                continue  # it includes what comes with it, and is looked at when that is there
            wrong.append(f"{one.where}: {error.message}")
            continue
        before = _latest(line, one.id)
        is_new = before is None or before["hash"] != shown["hash"]
        changes += is_new
        if tells:
            _tell(one, before, shown, is_new=is_new)
    if wrong:
        raise ConfigError("nothing was changed:\n" + "\n".join(wrong))
    return changes


def _tell(one: Found, before: dict[str, Any] | None, shown: dict[str, Any], *, is_new: bool) -> None:
    if not is_new:
        click.echo(f"{one.id}: as it is")
        return
    was = wording_of(before) if before is not None else Wording()
    now = wording_of(shown)
    name = f"{one.id}@{before['version']}" if before is not None else "nothing"
    for text in difference(was, now, name, one.where):
        click.echo(text)
    if was == now:
        click.echo(f"{one.id}: what it includes has changed")


def _latest(line: Line, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = msgspec.json.decode(line.get(f"/v1/prompts/{quote(name, safe='')}?label=latest")[0])
    except ConfigError as wrong:
        if wrong.message.startswith("HTTP 404"):
            return None
        raise
    return found


def read_file(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{file}: cannot be read: {wrong}") from None


def line_of(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)

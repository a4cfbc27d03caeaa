"""tidegate eval import, tidegate eval case: cases that are there already."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import click

from tidegate import plugins
from tidegate.cli.chat import Line
from tidegate.cli.evals.suites import PLUGINS
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError
from tidegate.jobs.evals.imports.stored import added, case_of
from tidegate.jobs.evals.imports.suites import JUDGE, written
from tidegate.jobs.evals.suite import load, ready

FORMS = ("promptfoo", "openai", "langfuse", "csv")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "form", type=click.Choice(FORMS), required=True, help="Whose file it is.")
@click.option("--out", type=click.Path(path_type=Path), help="The suite that is written; FILE's name with .suite.yaml.")
@click.option("--judge", default=JUDGE, show_default=True, help="The route or model that judges where one is asked.")
def bring(file: Path, form: str, out: Path | None, judge: str) -> None:
    """Make a suite of another tool's FILE; what has no counterpart is told.

    \b
    tidegate eval import promptfooconfig.yaml --from promptfoo
    tidegate eval import samples.jsonl --from openai --out suite.yaml
    """
    out = out or file.with_name(f"{file.stem}.suite.yaml")
    if out.exists():
        raise ConfigError(f"{out} is there already; take it away, or name another with --out")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{file}: cannot be read: {wrong}") from None
    suite, left_out = plugins.find("imports", form)(text, str(file), judge)
    for one in left_out:
        click.echo(f"left out: {one}", err=True)
    ready(suite, PLUGINS)
    out.write_text(written(suite), encoding="utf-8")
    click.echo(f"{out}: {len(suite.cases)} cases; ask them with: tidegate eval run {out}")


@click.command("case")
@click.argument("id")
@click.option("--suite", type=click.Path(path_type=Path), required=True, help="The file that it is added to.")
@click.option("--name", help="The id of the case; that of the request.")
@click.option("--good", is_flag=True, help="What was answered is a good answer: it becomes the reference.")
@URL
@KEY
def keep(id: str, suite: Path, name: str | None, good: bool, url: str, key: str | None) -> None:
    """Make a case of a request that was stored, with what was said of its answer.

    Its route must keep what is said (routes.NAME.store). A correction that somebody gave becomes the reference.

    \b
    tidegate eval case req_019b… --suite suite.yaml
    """
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    line, path = Line(url, key), quote(id, safe="")
    body = json.loads(line.get(f"/admin/bodies/{path}")[0])
    row = json.loads(line.get(f"/v1/requests/{path}")[0])
    case = case_of(body, row.get("feedback") or (), name=name, good=good)
    before = suite.read_text(encoding="utf-8") if suite.exists() else ""
    suite.write_text(added(before, case, str(suite)), encoding="utf-8")
    try:
        load(suite, PLUGINS)
    except ConfigError as wrong:
        suite.write_text(before, encoding="utf-8")
        raise ConfigError(f"nothing was added, for the suite would not be one: {wrong.message}") from None
    click.echo(f"{suite}: {case.id} was added")

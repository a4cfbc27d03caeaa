"""tidegate migrate: bring the tables of a database up to date, before a release that needs them starts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from tidegate import config, plugins
from tidegate.app import data_folder, open_home
from tidegate.cli.shared import DATA, FILE, settings
from tidegate.core.errors import ConfigError


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done; exit code 1 when there is something.")
@FILE
@DATA
def migrate(dry_run: bool, file: Path | None, data_dir: str | None) -> None:
    """Bring the tables of PostgreSQL up to date: a step of its own, before the new release starts.

    Processes of the last release go on meanwhile. A SQLite file brings itself up to date when it is opened, and a copy
    of what it was is kept beside it.

    \b
    tidegate migrate --dry-run
    tidegate migrate
    """
    found = settings(file, data_dir=data_dir)
    if found.storage.database is None:
        _file(found, dry_run)
        return
    kept = found.storage
    opened = plugins.find("stores", "postgres_schema")
    with opened(found.storage.database.value, kept.database_timeout, kept.database_prepares) as tables:
        before = tables.look()
        if before.version > before.known and before.trouble:
            raise ConfigError(f"storage.database: {before.trouble}")
        if before.version >= before.known:
            click.echo(f"up to date: schema {before.version}")
            return
        if not dry_run:
            before = tables.run()
    for step in before.steps:
        click.echo(f"{'would take' if dry_run else 'took'} {step}")
    if dry_run:
        raise SystemExit(1)
    click.echo(f"up to date: schema {before.known}, it was {before.version}")


def _file(found: config.Config, dry_run: bool) -> None:
    """What is on one machine: opening it is all."""
    if dry_run:
        click.echo("the database is a file of data_dir, which brings itself up to date when Tidegate starts")
        return

    async def bring_up() -> None:
        await (await open_home(found.storage, data_folder(found.storage.data_dir), lambda name, fields: None)).aclose()

    asyncio.run(bring_up())
    click.echo("up to date: the file of data_dir")

"""What do all commands have in common? Options, and the way from a file to a configuration."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import click

from tidegate import config, plugins
from tidegate.config.reading import ENVIRONMENT_PREFIX
from tidegate.core.errors import TidegateError
from tidegate.providers.discovery import Found, servers, vendors

FILE = click.option("--config", "file", type=click.Path(path_type=Path), help="The configuration; tidegate.yaml here.")
DATA = click.option("--data-dir", help="The folder of the gateway; ./tidegate-data or what is configured.")
URL = click.option(
    "--url",
    envvar="TIDEGATE_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="Where Tidegate answers; or set TIDEGATE_URL.",
)
KEY = click.option("--key", envvar=["TIDEGATE_KEY", "TIDEGATE_ADMIN_KEY"], help="A key; or set TIDEGATE_KEY.")


class Teaching(click.Group):
    """Errors of ours as one line that says what to do, never a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TidegateError as wrong:
            raise click.ClickException(str(wrong)) from None


def settings(file: Path | None, found: Sequence[Found] = (), **given: Any) -> config.Config:
    """The configuration, with what was given on the command line: host, port, data_dir."""
    environment = dict(os.environ)
    for section, field in (("api", "host"), ("api", "port"), ("storage", "data_dir")):
        value = given.get(field)
        if value is not None:
            environment[f"{ENVIRONMENT_PREFIX}{section}_{field}".upper()] = str(value)
    return config.load(file, environment, found)


def found_here() -> list[Found]:
    """Who could answer on this machine: keys in the environment, servers on their usual ports."""
    return [*vendors(os.environ), *asyncio.run(servers())]


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On uvloop where there is one."""
    with asyncio.Runner(loop_factory=plugins.loop_factory()) as runner:
        runner.run(work())

"""tidegate import: from another gateway's configuration to ours, and what became of each thing in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
import yaml

from tidegate import config
from tidegate.cli.imports.litellm import translated
from tidegate.core.errors import ConfigError

ENV = re.compile(r"env:(\w+)")


@click.group("import")
def imports() -> None:
    """From the configuration of another gateway.

    \b
    tidegate import litellm config.yaml --out tidegate.yaml
    """


@imports.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), default=Path(config.DEFAULT_FILE), show_default=True)
def litellm(file: Path, out: Path) -> None:
    """Write a configuration from LiteLLM's config.yaml, and say what became of each key of it.

    \b
    tidegate import litellm config.yaml --out tidegate.yaml
    """
    if out.exists():
        raise ConfigError(f"{out} is there already: take it away, or name another with --out")
    found, report = translated(_read(file))
    text = yaml.safe_dump(found, sort_keys=False)
    # Whatever the variables are going to be: what is written can be read.
    config.parse(text, dict(os.environ) | dict.fromkeys(ENV.findall(text), "set-before-it-is-served"), str(out))
    out.write_text(f"# From {file.name}, by tidegate import litellm\n{text}", encoding="utf-8")
    for line in report:
        click.echo(f"{line.what:<10} {line.path}{': ' if line.said else ''}{line.said}")
    count = sum(line.what == "left out" for line in report)
    click.echo(f"wrote {out}; {count} keys are left out. See what it comes to with: tidegate check --config {out}")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as wrong:
        raise ConfigError(f"{file} cannot be read: {str(wrong).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: keys and values are expected, such as model_list: […]")
    return found

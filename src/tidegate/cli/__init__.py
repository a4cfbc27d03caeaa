"""What can be done from a terminal? serve · check · init · doctor · chat · keys · teams · usage · requests · …"""

from __future__ import annotations

import os
from pathlib import Path

import click
import yaml

from tidegate import __version__, config, plugins
from tidegate.app import check as verify
from tidegate.cli import rollouts
from tidegate.cli.alerts import alerts, logs
from tidegate.cli.audit import audit
from tidegate.cli.batches import batch
from tidegate.cli.cache import cache
from tidegate.cli.canary import canary
from tidegate.cli.chat import chat
from tidegate.cli.doctor import doctor
from tidegate.cli.evals import evaluation
from tidegate.cli.experiments import experiments
from tidegate.cli.feedback import feedback
from tidegate.cli.guard import guard
from tidegate.cli.imports import imports
from tidegate.cli.keys import keys
from tidegate.cli.migrate import migrate
from tidegate.cli.prompts import prompts
from tidegate.cli.recovery import backup, restore
from tidegate.cli.replays import replay, shadow
from tidegate.cli.report import report
from tidegate.cli.requests import requests
from tidegate.cli.route import route
from tidegate.cli.serve import serve
from tidegate.cli.shared import FILE, Teaching, found_here, settings
from tidegate.cli.shrink import shrink
from tidegate.cli.study import case_study
from tidegate.cli.subjects import bodies, subjects
from tidegate.cli.teams import organisations, teams, users
from tidegate.cli.topology import topology
from tidegate.cli.usage import usage
from tidegate.cli.vault import vault
from tidegate.cli.whatif import whatif
from tidegate.core.errors import ConfigError


@click.group(cls=Teaching, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tidegate")
def main() -> None:
    """The production gateway for LLM applications.

    \b
    tidegate serve                     answer calls on http://127.0.0.1:8080
    tidegate chat                      talk to a model in the terminal
    tidegate check                     what the configuration comes to
    tidegate init                      a configuration from what is found here
    tidegate doctor                    what is wrong, and how to mend it
    tidegate keys create --name ci     a key for a client
    tidegate teams create search       a team that keys and routes belong to
    tidegate usage --by team           who used how much, and what it cost
    tidegate report --html month.html  how fast, how good, how dear: a page with charts
    tidegate requests tail             calls as they end
    tidegate feedback REQUEST --up     what its answer was worth
    tidegate batch run FILE --route R  ask every line of a file, at leisure
    tidegate cache purge --route fast  drop the answers that are kept of a route
    tidegate route explain FILE        which tier of a route would answer a question, and why
    tidegate route report ROUTE        how good its answers are, and what choosing has saved and lost
    tidegate prompts list              what calls can name in place of saying it
    tidegate guard try FILE            what the guards would make of a text
    tidegate shrink try FILE           what would go out of a prompt, made shorter
    tidegate eval run suite.yaml       how good the answers are
    tidegate eval compare BASE HEAD    what has become worse, and how sure that is
    tidegate eval calibrate LABELS     how good a judge is, and whether it may gate
    tidegate experiments new FILE      try something on a share of the users
    tidegate experiments show NAME     how it does, how sure that is, and what follows
    tidegate subjects erase ID         make everything of an end user unreadable
    tidegate bodies show ID            what was said in a call, where its route keeps that
    tidegate canary start --share 5%   another configuration, for some first
    tidegate experiments replay …      yesterday's calls, asked of another model
    tidegate alerts silence NAME       tell nobody of an alert for a while
    tidegate logs level debug          a log that says more for a while
    tidegate audit verify FILE         whether the audit log is what was signed
    tidegate backup FILE               all that is kept, in one file, while calls are answered
    tidegate restore FILE              put it back, elsewhere too
    tidegate import litellm FILE       a configuration from another gateway's
    tidegate vault rotate              seal all keys under a new key-encrypting key
    tidegate whatif --log FILE         what each lever would have saved on calls that were made
    tidegate case-study                what all this is worth to a support chatbot, replayed here
    tidegate topology                  who serves, and whether they agree
    tidegate migrate                   bring the tables of PostgreSQL up to date
    tidegate local install             the small model that needs no key
    tidegate semantic install          the embedding model of the semantic cache
    """


COMMANDS = (
    *(serve, keys, teams, users, organisations, usage, report, requests, feedback),
    *(canary, cache, guard, subjects, bodies, audit, vault, alerts, logs, chat, doctor, evaluation, prompts),
    *(batch, experiments, route, shrink, topology, migrate, backup, restore, imports),
    *(case_study, whatif),
)
for command in COMMANDS:
    main.add_command(command)
for command in (*rollouts.COMMANDS, shadow, replay):
    experiments.add_command(command)


@main.command()
@FILE
def check(file: Path | None) -> None:
    """Read the configuration, say what is wrong, print what it comes to.

    \b
    tidegate check
    tidegate check --config tidegate.yaml
    """
    found = settings(file, found_here())
    verify(found)
    click.echo(config.shown(found), nl=False)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path(config.DEFAULT_FILE))
def init(file: Path) -> None:
    """Write a configuration from what is found on this machine; keys stay where they are.

    \b
    tidegate init
    tidegate init other.yaml
    """
    if file.exists():
        raise ConfigError(f"{file} is there already; take it away, or name another: tidegate init other.yaml")
    found = [*found_here(), config.LOCAL]
    text = yaml.safe_dump({"providers": {one.name: one.settings for one in found}}, sort_keys=False)
    config.parse(text, os.environ, str(file))
    reasons = "".join(f"# {one.name}: {one.why or 'the small model that needs no key'}\n" for one in found)
    file.write_text(
        f"# What tidegate init found here. Every key: tidegate.example.yaml\n{reasons}{text}", encoding="utf-8"
    )
    click.echo(f"wrote {file}; see what it comes to with: tidegate check --config {file}")


@main.group()
def local() -> None:
    """The small model that runs on this machine and needs no key."""


@local.command("install")
def install_local() -> None:
    """Fetch the small local model (about 200 MB).

    \b
    tidegate local install
    """
    plugins.find("commands", "install_local")()


@main.group()
def semantic() -> None:
    """The embedding model that the semantic cache finds like questions with."""


@semantic.command("install")
def install_semantic() -> None:
    """Fetch the embedding model and make it smaller: 90 MB to fetch, 23 MB to keep.

    \b
    tidegate semantic install
    """
    plugins.find("commands", "install_semantic")()

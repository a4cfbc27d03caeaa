"""tidegate eval run: go through a suite."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate import plugins
from tidegate.cli.evals.cards import CARDS
from tidegate.cli.evals.house import Reachable, gateway
from tidegate.cli.evals.summary import exit_code, summary
from tidegate.cli.shared import FILE, KEY
from tidegate.cli.shared import run as on_loop
from tidegate.core.errors import ConfigError
from tidegate.core.money import usd_text
from tidegate.core.ports import Vector
from tidegate.jobs.evals import deck
from tidegate.jobs.evals.door import Door
from tidegate.jobs.evals.journal import Journal, begin
from tidegate.jobs.evals.judge import MayGate
from tidegate.jobs.evals.recording import Recording
from tidegate.jobs.evals.results import Answer, Results, Run
from tidegate.jobs.evals.run import Means, go
from tidegate.jobs.evals.subject import Asker, Function, Model, Nobody, Prompted, Subject, read_run, stored
from tidegate.jobs.evals.suite import Plugins, Ready, Suite, load, prompt_of, ready

WHERE = click.option("--url", envvar="TIDEGATE_URL", help="A gateway that is running; left out, one of its own.")

PLUGINS = Plugins(plugins.find, plugins.config_of)


@click.command()
@click.argument("suite")
@click.option(
    "--subject", help="Who answers: route:NAME, model:NAME, prompt:NAME@LABEL:ROUTE, function:MODULE:NAME, stored:FILE."
)
@click.option("--repeats", type=click.IntRange(1, 1000), help="How often each case is asked.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="In dollars; then nothing more is asked.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="How many answers are asked for at the same time.")
@click.option("--out", type=click.Path(path_type=Path), help="The results; a file that is there is gone on with.")
@click.option("--replay", type=click.Path(path_type=Path), help="Nobody is asked: what was said is in this file.")
@CARDS
@WHERE
@KEY
@FILE
@click.pass_context
def run(ctx: click.Context, /, suite: str, out: Path | None, url: str | None, key: str | None, **given: Any) -> None:
    """Ask every case of SUITE, a file of YAML or MODULE:NAME, and score the answers.

    \b
    tidegate eval run suite.yaml
    tidegate eval run suite.yaml --subject route:fast --repeats 3 --max-cost 0.50
    tidegate eval run my_suites:support --out before.jsonl
    tidegate eval run suite.yaml --replay before.jsonl
    """
    file, replay, cards = given.pop("file"), given.pop("replay"), given.pop("cards")
    if url and not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --scope eval")
    recorded = read_run(replay) if replay else None
    found = _replayed(_read(suite), recorded, given) if recorded else _changed(_read(suite), **given)
    may_gate = _permitted(found, cards)
    journal = begin(out or _named(found), _new(found, recorded.run.id if recorded else secrets.token_hex(16)))
    if recorded and journal.run.id != recorded.run.id:
        raise ConfigError(f"{journal.path} is of another run than the one that is replayed; take another --out")
    gone = len(journal.answers)
    click.echo(f"{journal.path}" + (f" is gone on with: {gone} answers are there" if gone else ""), err=True)
    why = "it was interrupted"
    try:
        at = Reachable(url, key or "") if url else None
        if recorded:
            why = _heard_again(found, journal, recorded, may_gate)
        else:
            why = _gone_through(found, journal, at, file, may_gate)
    except KeyboardInterrupt:
        pass
    except ConfigError:
        if not journal.resumed and not journal.answers:  # it never began, and leaves nothing behind
            journal.path.unlink()
        raise
    finally:
        journal.close()
    click.echo("\n".join(summary(journal.results, why)))
    if why:
        click.echo(f"go on with: tidegate eval run {suite} --out {journal.path}", err=True)
    ctx.exit(exit_code(journal.results))


def _gone_through(found: Ready, journal: Journal, at: Reachable | None, file: Path | None, may_gate: MayGate) -> str:
    """Why it ended before its end, or ""."""
    ended, progress = [], Progress(journal)

    async def all_of_it() -> None:
        async with _reached(found, journal.run.id, at, file) as door:
            subject = await asyncio.to_thread(_subject, found.suite, door)
            with progress:
                ended.append(await go(found, journal, Means(subject, door, Embedding(), may_gate, progress.tell)))

    on_loop(all_of_it)
    return ended[0]


def _heard_again(found: Ready, journal: Journal, recorded: Results, may_gate: MayGate) -> str:
    recording, ended = Recording(recorded, found.suite.parameters), []

    async def all_of_it() -> None:
        ended.append(await go(found, journal, Means(recording, recording, Embedding(), may_gate)))

    on_loop(all_of_it)
    return ended[0]


def _permitted(found: Ready, cards: Path) -> MayGate:
    """Which judges may decide: a card that is none is told before anything is paid for. Raises ConfigError."""
    may = deck.may_gate(cards, found.suite.gate)
    judges = {getattr(one.scorer, "judge", "") for lookers in found.lookers.values() for one in lookers}
    permitted = frozenset(judge for judge in judges if judge and may(judge))
    return permitted.__contains__


@asynccontextmanager
async def _reached(found: Ready, run: str, at: Reachable | None, file: Path | None) -> AsyncIterator[Asker]:
    """The gateway that is named, or one of its own; nobody, where nobody is asked anything."""
    if not found.asks:
        yield Nobody()
    elif at is None:
        async with gateway(file) as own, _door(own, run) as door:
            yield door
    else:
        async with _door(at, run) as door:
            yield door


@asynccontextmanager
async def _door(at: Reachable, run: str) -> AsyncIterator[Door]:
    transport = plugins.find("transports", "own")()
    try:
        yield Door(transport, at.url, at.key, run)
    finally:
        await transport.aclose()


def _read(name: str) -> Ready:
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return load(Path(name), PLUGINS)
    if ":" not in name:
        raise ConfigError(f"no suite {name}; name a file of YAML, or MODULE:NAME of one in Python")
    found = plugins.find("suites", name)
    if not isinstance(found, Suite):
        raise ConfigError(f"{name} is no tidegate.jobs.evals.suite.Suite")
    return ready(found if found.name else msgspec.structs.replace(found, name=name.partition(":")[2]), PLUGINS)


def _changed(
    found: Ready, subject: str | None, repeats: int | None, max_cost: float | None, concurrency: int | None
) -> Ready:
    """As the command line says."""
    said = {"subject": subject, "repeats": repeats, "max_cost_usd": max_cost, "concurrency": concurrency}
    suite = msgspec.structs.replace(found.suite, **{name: value for name, value in said.items() if value is not None})
    if suite.answers[0] == "prompt":
        prompt_of(suite.answers[1])
    if not suite.subject:
        raise ConfigError("nobody is named who answers; say so in the suite, or with --subject route:NAME")
    return found._replace(suite=suite)


def _subject(suite: Suite, door: Asker) -> Subject:
    kind, name = suite.answers
    if kind == "prompt" and isinstance(door, Door):
        return Prompted(door, name, suite.parameters, fresh=suite.repeats > 1)
    if kind == "function":
        return Function(plugins.find("functions", name))
    if kind == "stored":
        return stored(Path(name))
    return Model(door, name, suite.parameters, fresh=suite.repeats > 1)


def _replayed(found: Ready, recorded: Results, given: dict[str, Any]) -> Ready:
    """As it was recorded; only how often may be said anew. It costs nothing, so nothing is capped."""
    suite = msgspec.structs.replace(
        found.suite,
        subject=recorded.run.subject,
        repeats=given["repeats"] or recorded.run.repeats,
        max_cost_usd=None,
    )
    return found._replace(suite=suite)


def _new(found: Ready, id: str) -> Run:
    suite = found.suite
    return Run(
        id=id,
        suite=suite.name,
        suite_hash=found.hash,
        subject=":".join(suite.answers),
        cases=tuple(case.id for case in suite.cases),
        repeats=suite.repeats,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _named(found: Ready) -> Path:
    return Path(f"{found.suite.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl")


class Embedding:
    """Loaded when first asked for."""

    def __init__(self) -> None:
        self._loaded: asyncio.Future[Any] | None = None

    async def __call__(self, text: str) -> Vector:
        if self._loaded is None:
            self._loaded = asyncio.ensure_future(asyncio.to_thread(plugins.find("embedders", "minilm")))
        vector: Vector = await (await self._loaded).embed(text)
        return vector


class Progress:
    """How far it is, and what it has cost, while it goes on; on standard error, where that is a terminal."""

    def __init__(self, journal: Journal) -> None:
        run = journal.run
        self._cost_nusd = sum(one.cost_nusd + one.judging_nusd for one in journal.answers)
        self._bar: Any = click.progressbar(
            range(len(run.cases) * run.repeats),
            label=run.suite,
            show_pos=True,
            item_show_func=lambda _: f"${usd_text(self._cost_nusd)[:-5]}",
            file=sys.stderr,
        )
        self._bar.update(len(journal.answers))

    def __enter__(self) -> Progress:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.render_finish()

    def tell(self, answer: Answer, cost_nusd: int) -> None:
        self._cost_nusd = cost_nusd
        self._bar.update(1, 0)

"""tidegate audit: the log of what was done. Read beside a gateway that may be serving, verified without any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import click

from tidegate.app import data_folder, open_home
from tidegate.cli.chat import Line
from tidegate.cli.desk import deaf
from tidegate.cli.shared import DATA, FILE, KEY, URL, settings
from tidegate.core.audit import Broken
from tidegate.core.errors import ConfigError
from tidegate.storage.audit import proof
from tidegate.storage.audit.notes import Verifiers, load_signer

VERIFIER = click.option(
    "--verifier", "verifiers", multiple=True, help="Whose signature counts, as `tidegate audit key` prints it; several."
)


@click.group()
def audit() -> None:
    """The log of what was done, which nobody changes unseen.

    \b
    tidegate audit export --out audit.jsonl
    tidegate audit verify audit.jsonl --heads heads.txt --verifier KEY
    tidegate audit prove req_019b… > proof.json
    tidegate audit check proof.json --verifier KEY
    tidegate audit key
    """


@audit.command("key")
@FILE
@DATA
def show_key(file: Path | None, data_dir: str | None) -> None:
    """The key that checkpoints are checked with. Keep it where the log is not.

    \b
    tidegate audit key
    """
    click.echo(_own(file, data_dir))


@audit.command()
@click.option("--out", type=click.Path(path_type=Path), help="Where to; standard output when left out.")
@FILE
@DATA
def export(out: Path | None, file: Path | None, data_dir: str | None) -> None:
    """Write the whole log: entries, what was signed, and a last line that says how many there are.

    \b
    tidegate audit export --out audit.jsonl
    """
    found = settings(file, data_dir=data_dir)

    async def run() -> int:
        home = await open_home(found.storage, data_folder(found.storage.data_dir), deaf)
        lines = 0
        with click.open_file(str(out) if out else "-", "wb") as to:
            try:
                async for line in proof.rows(home.log):
                    to.write(line)
                    lines += 1
            finally:
                await home.aclose()
        return lines

    lines = asyncio.run(run())
    if out is not None:
        click.echo(f"wrote {lines} lines to {out}", err=True)


@audit.command()
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--heads", type=click.Path(path_type=Path, exists=True), help="Checkpoints, as audit.export sent them.")
@VERIFIER
@FILE
@DATA
def verify(log: Path, heads: Path | None, verifiers: tuple[str, ...], file: Path | None, data_dir: str | None) -> None:
    """Whether an exported log is whole: every entry, chain, root and signature. Needs no gateway and no database.

    Against checkpoints that were exported off the machine it also finds a log that was taken back to an earlier state.

    \b
    tidegate audit verify audit.jsonl --heads heads.txt --verifier tidegate+1f2e3d4c+AX…
    """
    known = Verifiers(list(verifiers) or [_own(file, data_dir)])

    def lines() -> Iterator[bytes]:
        with log.open("rb") as entries:
            yield from entries

    try:
        exported = proof.heads_of(heads.read_text(encoding="utf-8"), known, str(heads)) if heads else []
        found = proof.verify(lines, exported, known)
    except Broken as broken:
        raise ConfigError(f"{log}: {broken}") from None
    for writer, size in found.entries.items():
        signed = found.signed[writer]
        loose = f"; the last {size - signed} are signed by nobody yet" if signed < size else ""
        click.echo(
            f"writer {writer}: {size:,} entries follow each other, {signed:,} of them are as they were signed{loose}"
        )
    if found.deleted:
        click.echo(f"of {found.deleted:,} entries only the hash is kept")
    if heads is None:
        click.echo(
            "not checked against exported checkpoints (--heads): an older copy of the whole log would look the same"
        )


@audit.command()
@click.argument("id")
@URL
@KEY
def prove(id: str, url: str, key: str | None) -> None:
    """The proof that the entry of a call (req_…) or of what was done (act_…) is in the signed log.

    \b
    tidegate audit prove req_019b… > proof.json
    """
    click.echo(_line(url, key).get(f"/admin/audit/proof?{urlencode({'id': id})}")[0])


@audit.command("prove-consistent")
@click.argument("writer")
@click.argument("first", type=click.IntRange(0))
@click.argument("second", type=click.IntRange(0))
@URL
@KEY
def prove_consistent(writer: str, first: int, second: int, url: str, key: str | None) -> None:
    """The proof that the log as it was signed at SECOND entries begins with the one signed at FIRST.

    \b
    tidegate audit prove-consistent WRITER 120 480 > proof.json
    """
    asked = urlencode({"writer": writer, "first": first, "second": second})
    click.echo(_line(url, key).get(f"/admin/audit/consistency?{asked}")[0])


@audit.command()
@click.argument("file", metavar="PROOF", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@VERIFIER
def check(file: Path, verifiers: tuple[str, ...]) -> None:
    """Whether a proof proves what it says. Needs nothing but the verifier key.

    \b
    tidegate audit check proof.json --verifier tidegate+1f2e3d4c+AX…
    """
    if not verifiers:
        raise ConfigError("say whose signature counts: --verifier, as `tidegate audit key` prints it")
    try:
        click.echo(proof.check(json.loads(file.read_text(encoding="utf-8")), Verifiers(list(verifiers))))
    except (Broken, ValueError) as broken:
        raise ConfigError(f"{file}: {broken}") from None


def _own(file: Path | None, data_dir: str | None) -> str:
    found = settings(file, data_dir=data_dir)
    return load_signer(found.audit.key, data_folder(found.storage.data_dir)).verifier


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create --role admin")
    return Line(url, key)

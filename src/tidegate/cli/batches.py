"""tidegate batch: ask everything that stands in a file, and see how far it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tidegate.cli.chat import Line
from tidegate.cli.desk import printable
from tidegate.cli.shared import KEY, URL
from tidegate.core.errors import ConfigError

CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "cancelled", "expired")
LOOK_S = 0.5
BOUNDARY = "tidegate-batch-6f1d"


@click.group()
def batch() -> None:
    """Files of questions that nobody waits for, of a gateway that is running.

    \b
    tidegate batch run questions.jsonl --route fast
    tidegate batch list
    tidegate batch show batch_019b…
    tidegate batch cancel batch_019b…
    """


@batch.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--route", help="Who is asked; without it each line names its model.")
@click.option("--out", type=click.Path(path_type=Path), help="Where results go; FILE with .results.jsonl.")
@click.option("--window", default="24h", show_default=True, help="How long it may take.")
@click.option("--detach", is_flag=True, help="Begin it, and do not wait.")
@URL
@KEY
def run(file: Path, route: str | None, out: Path | None, window: str, detach: bool, url: str, key: str | None) -> None:
    """Ask every line of FILE, and write what came of each.

    A line is what OpenAI's batches have, or {"messages": […]} with whatever else a call says, or plain text.

    \b
    tidegate batch run questions.jsonl --route fast
    tidegate batch run batch.jsonl --out results.jsonl
    """
    line = _line(url, key)
    id = _begin(line, file, route, window)
    if detach:
        click.echo(id)
        return
    try:
        found = _wait(line, id)
    except KeyboardInterrupt:
        click.echo(f"\n{id} goes on; look with: tidegate batch show {id}", err=True)
        raise click.Abort from None
    out = out or file.with_name(f"{file.stem}.results.jsonl")
    with out.open("wb") as into:
        for name in (found["output_file_id"], found["error_file_id"]):
            for piece in line.pieces(f"/v1/files/{name}/content") if name else ():
                into.write(piece)
    click.echo(f"{_told(found)}; results are in {out}")
    for one in ((found["errors"] or {}).get("data") or ())[:10]:
        where = f"line {one['line']}: " if one["line"] else ""
        click.echo(f"  {where}{printable(one['message'])}", err=True)
    if found["status"] != "completed" or found["request_counts"]["failed"]:
        raise click.exceptions.Exit(1)


def _begin(line: Line, file: Path, route: str | None, window: str) -> str:
    content = b"".join(
        json.dumps(_asked(text, number, route)).encode() + b"\n"
        for number, text in enumerate(file.read_bytes().splitlines(), 1)
        if text.strip()
    )
    if not content:
        raise ConfigError(f"{file}: there is no line in it")
    form = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n'
        f'content-disposition: form-data; name="file"; filename="batch.jsonl"\r\n\r\n'
    ).encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    uploaded = line.send("/v1/files", form + content + f"\r\n--{BOUNDARY}--\r\n".encode(), kind)
    asked = {"input_file_id": uploaded["id"], "endpoint": CHAT, "completion_window": window}
    return str(line.post("/v1/batches", asked)["id"])


def _asked(text: bytes, number: int, route: str | None) -> dict[str, Any]:
    """A line as OpenAI has it. Raises ConfigError."""
    said = text.decode("utf-8", "replace")
    try:
        found = json.loads(said)
    except ValueError:
        found = {"messages": [{"role": "user", "content": said}]}
    if not isinstance(found, dict):
        found = {"messages": [{"role": "user", "content": said}]}
    if "body" not in found:
        id = found.pop("custom_id", f"line-{number}")
        found = {"custom_id": id, "method": "POST", "url": CHAT, "body": found}
    if route is not None and isinstance(found["body"], dict):
        found["body"]["model"] = route
    if isinstance(found["body"], dict) and "model" not in found["body"]:
        raise ConfigError(f"line {number} names no model; say who is asked: --route NAME")
    return found


def _wait(line: Line, id: str) -> dict[str, Any]:
    """With a bar, where somebody looks."""
    found = _found(line, id)
    while found["status"] == "validating":
        time.sleep(LOOK_S)
        found = _found(line, id)
    with click.progressbar(length=found["request_counts"]["total"], label=id) as bar:
        while True:
            counts = found["request_counts"]
            bar.update(counts["completed"] + counts["failed"] - bar.pos)
            if found["status"] in OVER:
                return found
            time.sleep(LOOK_S)
            found = _found(line, id)


@batch.command("list")
@click.option("--most", type=click.IntRange(1, 100), default=20, show_default=True, help="So many.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@URL
@KEY
def list_(most: int, as_json: bool, url: str, key: str | None) -> None:
    """Batches of this key, newest first.

    \b
    tidegate batch list
    """
    for one in json.loads(_line(url, key).get(f"/v1/batches?limit={most}")[0])["data"]:
        click.echo(json.dumps(one) if as_json else f"{one['id']}  {_at(one['created_at'])}  {_told(one)}")


@batch.command()
@click.argument("id")
@URL
@KEY
def show(id: str, url: str, key: str | None) -> None:
    """How far one is.

    \b
    tidegate batch show batch_019b…
    """
    click.echo(json.dumps(_found(_line(url, key), id), indent=2))


@batch.command()
@click.argument("id")
@URL
@KEY
def cancel(id: str, url: str, key: str | None) -> None:
    """Ask nothing more; what was answered stays.

    \b
    tidegate batch cancel batch_019b…
    """
    found = _line(url, key).post(f"/v1/batches/{quote(id, safe='')}/cancel")
    click.echo(f"{id}: {_told(found)}")


def _found(line: Line, id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.get(f"/v1/batches/{quote(id, safe='')}")[0])
    return found


def _told(found: dict[str, Any]) -> str:
    counts = found["request_counts"]
    failed = f", {counts['failed']} without an answer" if counts["failed"] else ""
    return f"{found['status']}: {counts['completed']} of {counts['total']} answered{failed}"


def _at(at_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_s))


def _line(url: str, key: str | None) -> Line:
    if not key:
        raise ConfigError("a key is needed: set TIDEGATE_KEY, or make one with: tidegate keys create")
    return Line(url, key)

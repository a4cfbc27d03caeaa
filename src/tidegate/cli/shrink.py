"""What would go out of this prompt, if its route had it made shorter?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from tidegate import plugins
from tidegate.core.errors import BadRequest, ConfigError
from tidegate.core.values import Share
from tidegate.upstream.shrink import shrunk

Without = Literal["lossless", "relevant"]  # nobody else's compressor is needed


@click.group()
def shrink() -> None:
    """Try how prompts are made shorter."""


@shrink.command("try")
@click.argument("prompt", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--level", type=click.Choice(["lossless", "relevant"]), default="lossless", show_default=True)
@click.option("--target", default="35%", show_default=True, help="Of `relevant`: the share of long context that goes.")
def attempt(prompt: Path, level: Without, target: str) -> None:
    """Show what would go out of FILE, a prompt or a request to /v1/chat/completions as JSON; - reads standard input.

    \b
    tidegate shrink try prompt.txt --level relevant --target 50%
    tidegate shrink try request.json
    """
    try:
        said = sys.stdin.read() if str(prompt) == "-" else prompt.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{prompt}: cannot be read: {wrong}") from None
    try:
        share = Share.parse(target)
    except ValueError as wrong:
        raise ConfigError(f"--target: {wrong}") from None
    codec = plugins.find("codecs", "openai.chat")()
    asked = _request(codec, said) or codec.parse_request(_body(said))
    found = shrunk(asked, level, share, keeps=True)
    for path, text in codec.texts(found.asked):
        click.echo(f"--- {path}\n{text}")
    saved = 1 - found.after / found.before if found.before else 0.0
    click.echo(f"--- {found.before} tokens before, {found.after} after ({saved:.0%} saved)", err=True)


def _body(said: str) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": said}]})


def _request(codec: Any, said: str) -> Any:
    """None: it is no request, but what a user says."""
    if not said.lstrip().startswith("{"):
        return None
    try:
        return codec.parse_request(said.encode())
    except BadRequest:
        return None

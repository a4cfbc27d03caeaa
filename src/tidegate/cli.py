"""What can be done from a terminal? tidegate serve · check · keys · local."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate import __version__, config, plugins
from tidegate.api.server import Server, listen
from tidegate.app import App, SystemClock, build
from tidegate.app import check as verify
from tidegate.core.errors import ConfigError, TidegateError
from tidegate.stages.auth import KeyAuth
from tidegate.storage.pepper import load_or_create_pepper
from tidegate.storage.sqlite import SqliteStore

FOLLOW_S = 1.0  # how often the configuration's file is looked at

FILE = click.option("--config", "file", type=click.Path(path_type=Path), help="The configuration; tidegate.yaml here.")


class Teaching(click.Group):
    """Errors of ours as one line that says what to do, never a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TidegateError as wrong:
            raise click.ClickException(str(wrong)) from None


@click.group(cls=Teaching, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tidegate")
def main() -> None:
    """The production gateway for LLM applications.

    \b
    tidegate serve                     answer calls on http://127.0.0.1:8080
    tidegate check                     what the configuration comes to
    tidegate keys create --name ci     a key for a client
    tidegate local install             the small model that needs no key
    """


@main.command()
@FILE
@click.option("--host", help="The address to listen on; 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 8080, and 0 takes any that is free.")
@click.option("--data-dir", help="Where keys and ledger are kept; ./tidegate-data.")
def serve(file: Path | None, host: str | None, port: int | None, data_dir: str | None) -> None:
    """Answer calls until SIGTERM or Ctrl-C.

    \b
    tidegate serve
    tidegate serve --config tidegate.yaml --port 9000
    """
    settings = _settings(file, host=host, port=port, data_dir=data_dir)
    socket = listen(settings.api)

    def again() -> config.Config:
        return _settings(file, host=host, port=port, data_dir=data_dir)

    try:
        _run(lambda: _serve(settings, socket, config.where(file, os.environ), again))
    finally:
        socket.close()


async def _serve(settings: config.Config, socket: Any, file: Path, again: Callable[[], config.Config]) -> None:
    app = await build(settings, os.environ)
    following = app.world.loop.create_task(_follow(app, file, again), name="follow the configuration")
    try:
        key = None if os.environ.get("TIDEGATE_ADMIN_KEY") else await app.first_key()
        server = Server(app, settings.api, app.leave)
        _greet(app, socket.getsockname(), key)
        gc.collect()
        gc.freeze()  # what start-up made lives for ever; looking through it again and again costs tens of milliseconds
        sys.setswitchinterval(0.0005)  # the writer's thread must not keep the loop waiting for 5 ms
        await server.serve(sockets=[socket])
    finally:
        following.cancel()
        await app.aclose()


async def _follow(app: App, file: Path, again: Callable[[], config.Config]) -> None:
    """Take up the configuration when its file changes or SIGHUP comes; a bad one changes nothing and says why."""
    asked = asyncio.Event()
    if hasattr(signal, "SIGHUP"):
        app.world.loop.add_signal_handler(signal.SIGHUP, asked.set)
    before = config.stamp(file)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_S):
                await asked.wait()
        now = config.stamp(file)
        if not asked.is_set() and now == before:
            continue
        before = now
        asked.clear()
        try:
            await app.reload(again())
        except ConfigError as wrong:
            app.world.events.notice("reload_refused", {"error": wrong.message, "now": "as before"})


def _greet(app: App, address: tuple[Any, ...], key: str | None) -> None:
    """Where it is, who may come in, what it serves and why, and a line to paste."""
    host, port = address[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = ["", f"  Tidegate {__version__} answers on {url}", ""]
    if key:
        lines += [f"  Your admin key, shown this once:  {key}", ""]
    elif os.environ.get("TIDEGATE_ADMIN_KEY"):
        lines += ["  The admin key is the one in TIDEGATE_ADMIN_KEY.", ""]
    else:
        lines += ["  There are admin keys already; make another with:  tidegate keys create --admin", ""]
    names = app.gateway.routes.names
    lines.append("  It serves:" if names else "  It serves no model yet; ask for provider/model, or configure routes.")
    for name in names:
        route = app.gateway.routes.find(name)
        lines.append(f"    {name}  ({', then '.join(_why(target) for target in route.targets)})")
    for name, provider in app.gateway.providers.items():
        trouble = provider.trouble()
        if trouble:
            lines.append(f"    {name}: {trouble}")
    if names:
        body = msgspec.json.encode(
            {"model": names[0], "messages": [{"role": "user", "content": "Say hello."}]}
        ).decode()
        lines += [
            "",
            "  Ask it:",
            "",
            f"    curl {url}/v1/chat/completions -H 'Authorization: Bearer {key or '$TIDEGATE_KEY'}' \\",
            f"      -H 'Content-Type: application/json' -d '{body}'",
        ]
    click.echo("\n".join(lines) + "\n")


def _why(target: Any) -> str:
    price = target.price
    cost = "price unknown" if price is None else f"price: {price.source}"
    return f"{target.name}, {target.provider.why}; {cost}"


@main.command()
@FILE
def check(file: Path | None) -> None:
    """Read the configuration, say what is wrong, print what it comes to.

    \b
    tidegate check
    tidegate check --config tidegate.yaml
    """
    settings = config.load(file, os.environ)
    verify(settings)
    click.echo(config.shown(settings), nl=False)


@main.group()
def keys() -> None:
    """Who may come in.

    \b
    tidegate keys create --name ci
    tidegate keys create --name ops --admin
    tidegate keys list
    tidegate keys revoke ID
    """


DATA = click.option("--data-dir", help="The folder of the gateway; ./tidegate-data or what is configured.")


@keys.command("create")
@FILE
@DATA
@click.option("--name", default="unnamed", help="What it is for.")
@click.option("--env", default="live", help="Part of the key's text, small letters: live, test…")
@click.option("--admin", is_flag=True, help="May administer too.")
def create_key(file: Path | None, data_dir: str | None, name: str, env: str, admin: bool) -> None:
    """Make a key and show it, this once."""

    async def work(store: SqliteStore, auth: KeyAuth) -> None:
        text, key = await auth.create(name, env, admin=admin)
        click.echo(text)
        click.echo(f"id {key.id}; keep the line above, it is not shown again", err=True)

    _with_store(file, data_dir, work)


@keys.command("list")
@FILE
@DATA
def list_keys(file: Path | None, data_dir: str | None) -> None:
    """All keys, without what makes them work."""

    async def work(store: SqliteStore, auth: KeyAuth) -> None:
        for key in await store.keys():
            made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.created_ms / 1000))
            state = "revoked" if key.revoked_ms is not None else "admin" if key.admin else "key"
            click.echo(f"{key.id}  {state:8}  {key.env:5}  {made}  {key.name}")

    _with_store(file, data_dir, work)


@keys.command("revoke")
@FILE
@DATA
@click.argument("id")
def revoke_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """End a key; it stops working everywhere within a second."""

    async def work(store: SqliteStore, auth: KeyAuth) -> None:
        if not await store.revoke_key(id, time.time_ns() // 1_000_000):
            raise ConfigError(f"there is no key {id!r} that is not revoked; see: tidegate keys list")
        click.echo(f"revoked {id}")

    _with_store(file, data_dir, work)


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


def _settings(file: Path | None, **given: Any) -> config.Config:
    """The configuration, with what was given on the command line."""
    environment = dict(os.environ)
    for (section, field), value in zip(
        (("api", "host"), ("api", "port"), ("storage", "data_dir")),
        (given.get("host"), given.get("port"), given.get("data_dir")),
        strict=True,
    ):
        if value is not None:
            environment[f"TIDEGATE_{section}_{field}".upper()] = str(value)
    return config.load(file, environment)


def _with_store(
    file: Path | None, data_dir: str | None, work: Callable[[SqliteStore, KeyAuth], Coroutine[Any, Any, None]]
) -> None:
    """Run `work` on the store of the data folder, beside a gateway that may be serving."""
    folder = Path(_settings(file, data_dir=data_dir).storage.data_dir).expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pepper = load_or_create_pepper(folder)

    async def run() -> None:
        store = await SqliteStore.open(folder / "tidegate.sqlite")
        try:
            await work(store, KeyAuth(store, pepper, SystemClock()))
        finally:
            await store.aclose()

    asyncio.run(run())


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """On uvloop where there is one."""
    with asyncio.Runner(loop_factory=plugins.loop_factory()) as runner:
        runner.run(work())


if __name__ == "__main__":
    main()

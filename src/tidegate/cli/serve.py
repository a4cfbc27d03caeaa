"""tidegate serve: answer calls."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate import __version__, config, plugins
from tidegate.api.crowd import descriptors
from tidegate.api.server import Server, inherited, listen
from tidegate.app import App, Files, build
from tidegate.app.place import Place, place_in
from tidegate.cli.shared import FILE, found_here, run
from tidegate.cli.shared import settings as settings_of
from tidegate.cli.workers import lead
from tidegate.core.call import Target
from tidegate.core.errors import ConfigError

if sys.platform != "win32":
    import resource

GARBAGE_AT = 5_000  # objects: a call leaves none, so looking for it after every 700 finds nothing, at 5 µs a call
FOLLOW_S = 1.0  # how often the configuration's file is looked at


@click.command()
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
    # Before numpy is loaded: on a busy machine two threads of BLAS cost thrice the CPU of one, waiting for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    descriptors(more=True)
    write_no_core()
    found = found_here()  # before we listen: 8080 is a usual port of others too
    settings = settings_of(file, found, host=host, port=port, data_dir=data_dir)
    certificates = plugins.find("listeners", "tls")(settings.api.tls) if settings.api.tls.certificate else None
    place = place_in(os.environ)
    sockets = _sockets(settings, place)
    try:
        if settings.api.workers > place.of:
            raise SystemExit(lead(settings, _command(file, host, port, data_dir), sockets))

        def again() -> config.Config:
            return settings_of(file, found, host=host, port=port, data_dir=data_dir)

        def read(other: Path) -> config.Config:
            return settings_of(other, found, host=host, port=port, data_dir=data_dir)

        files = Files(config.where(file, os.environ), read)
        run(lambda: _serve(settings, sockets, certificates, files, again, place))
    finally:
        for one in sockets:
            one.close()


def _sockets(settings: config.Config, place: Place) -> list[socket.socket]:
    """Of the API, and of the console when it has one of its own. Raises ConfigError."""
    if place.socket is not None:
        return [inherited(one) for one in (place.socket, place.console) if one is not None]
    sockets = [listen(settings.api)]
    if settings.console.enabled and settings.console.port is not None:
        with ExitStack() as undo:
            undo.callback(sockets[0].close)
            sockets.append(listen(msgspec.structs.replace(settings.api, port=settings.console.port), "console.port"))
            undo.pop_all()
    return sockets


def _command(file: Path | None, host: str | None, port: int | None, data_dir: str | None) -> list[str]:
    """This one again, for a worker."""
    given = {"--config": file, "--host": host, "--port": port, "--data-dir": data_dir}
    options = [str(part) for name, value in given.items() if value is not None for part in (name, value)]
    return [sys.executable, "-m", "tidegate.cli", "serve", *options]


def write_no_core() -> None:
    """What crashes leaves its memory on no disk: keys and prompts are in it."""
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


async def _serve(
    settings: config.Config, sockets: list[socket.socket], certificates: Any, files: Files,
    again: Callable[[], config.Config], place: Place,
) -> None:  # fmt: skip
    app = await build(settings, os.environ, files=files)
    following = app.world.loop.create_task(
        _follow(app, files.file, again, certificates), name="follow the configuration"
    )
    try:
        key = await app.first_key() if place.greets and not os.environ.get("TIDEGATE_ADMIN_KEY") else None
        server = Server(
            app.edge,
            settings.api,
            app.leave,
            app.crowd,
            certificates and certificates.context,
            shares=place.of > 1,
            beside=app.console,
        )
        if place.greets:
            _greet(app, [one.getsockname() for one in sockets], key)
        gc.collect()
        gc.freeze()  # what start-up made lives for ever; looking through it again and again costs tens of milliseconds
        gc.set_threshold(GARBAGE_AT)
        sys.setswitchinterval(0.0005)  # the writer's thread must not keep the loop waiting for 5 ms
        app.pulse.start()
        if place.line is not None:
            _hold(place.line, app.world.loop)
        await server.serve(sockets=sockets)
    finally:
        following.cancel()
        await app.aclose()


def _hold(line: int, loop: asyncio.AbstractEventLoop) -> None:
    """Tell who started us that we serve, and end in order when there is nobody any more."""
    os.write(line, b"1")

    def heard() -> None:
        loop.remove_reader(line)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(line, heard)


async def _follow(app: App, file: Path, again: Callable[[], config.Config], certificates: Any) -> None:
    """Take up the configuration when its file changes or SIGHUP comes; a bad one changes nothing and says why.

    And certificates when theirs do.
    """
    asked = asyncio.Event()
    if hasattr(signal, "SIGHUP"):
        app.world.loop.add_signal_handler(signal.SIGHUP, asked.set)
    before = config.stamp(file)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_S):
                await asked.wait()
        if certificates is not None and certificates.have_changed:
            await _renew(app, certificates)
        now = config.stamp(file)
        if not asked.is_set() and now == before:
            continue
        before = now
        asked.clear()
        try:
            # Reading YAML takes milliseconds for each screen of it: not on the loop, which calls wait for.
            await app.reload(await asyncio.to_thread(again))
        except ConfigError as wrong:
            app.world.events.notice("reload_refused", {"error": wrong.message, "now": "as before"})


async def _renew(app: App, certificates: Any) -> None:
    try:
        await asyncio.to_thread(certificates.renew)
    except ConfigError as wrong:
        app.world.events.notice("certificate_refused", {"error": wrong.message, "now": "as before"})
    else:
        app.world.events.notice("certificate_renewed", {"good until": f"{certificates.expires:%Y-%m-%d}"})


def _greet(app: App, addresses: Sequence[tuple[Any, ...]], key: str | None) -> None:
    """Where it is, who may come in, what it serves and why, and a line to paste."""
    scheme = "https" if app.config.api.tls.certificate else "http"
    urls = [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host, port, *_ in addresses]
    url = urls[0]
    variable = "$TIDEGATE_ADMIN_KEY" if os.environ.get("TIDEGATE_ADMIN_KEY") else "$TIDEGATE_KEY"
    lines = ["", f"  Tidegate {__version__} answers on {url}", ""]
    if key:
        lines += [f"  Your admin key, shown this once:  {key}", ""]
    elif os.environ.get("TIDEGATE_ADMIN_KEY"):
        lines += ["  The admin key is the one in TIDEGATE_ADMIN_KEY.", ""]
    else:
        lines += ["  There are admin keys already; make another with:  tidegate keys create --admin", ""]
    if app.config.console.enabled:
        lines += [f"  Look at it in a browser:  {urls[-1]}/console", ""]
    names = app.gateway.routes.names
    lines.append("  It serves:" if names else "  It serves no model yet; ask for provider/model, or configure routes.")
    for name in names:
        route = app.gateway.routes.find(name)
        lines.append(f"    {name}  ({', then '.join(_why(target) for target in route.targets)})")
    for name, provider in app.gateway.providers.items():
        trouble = provider.trouble()
        if trouble:
            lines.append(f"    {name}: {trouble}")
        elif not provider.models and not app.config.routes:
            lines.append(f"    {name}/MODEL for any of its models  ({provider.why})")
    if app.config.budgets.default_day:
        day = f"${app.config.budgets.default_day:g}"
        lines += ["", f"  A key without a budget of its own may spend {day} a day (budgets.default_day)."]
    if names:
        body = msgspec.json.encode(
            {"model": names[0], "messages": [{"role": "user", "content": "Say hello."}]}
        ).decode()
        lines += [
            "",
            "  Ask it:",
            "",
            f'    curl {url}/v1/chat/completions -H "Authorization: Bearer {key or variable}" \\',
            f"      -H 'Content-Type: application/json' -d '{body}'",
        ]
    click.echo("\n".join(lines) + "\n")


def _why(target: Target) -> str:
    price = target.price
    cost = "price unknown" if price is None else f"price: {price.source}"
    return f"{target.name}, {target.provider.why}; {cost}"

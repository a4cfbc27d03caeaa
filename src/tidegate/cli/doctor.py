"""tidegate doctor: what is wrong with machine, configuration, keys or providers, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from tidegate import config, plugins
from tidegate.app import SystemClock, codecs, make_providers, open_home, open_vault
from tidegate.cli import stores
from tidegate.cli.shared import FILE, found_here, run, settings
from tidegate.cli.stores import Finding
from tidegate.core.call import Call, Target
from tidegate.core.errors import ConfigError, TidegateError
from tidegate.core.ports import Codec, Provider, Team, Timeouts, Transport, TransportError
from tidegate.plugins import loop_factory
from tidegate.stages.routes import Routes

PATIENCE = Timeouts(connect=3.0, first_byte=5.0, idle=5.0, total=8.0)
LOW_DISK = 1024**3
EXPIRES_SOON_DAYS = 14


@click.command()
@FILE
def doctor(file: Path | None) -> None:
    """Look at everything, say what is wrong and how to mend it. Exit code 1 when something is.

    \b
    tidegate doctor
    tidegate doctor --config tidegate.yaml
    """
    ill = False

    def tell(finding: Finding) -> None:
        nonlocal ill
        ill = ill or not finding.well
        mark = click.style("ok  ", fg="green") if finding.well else click.style("ILL ", fg="red")
        click.echo(f"{mark} {finding.what}" + (f"\n     mend: {finding.mend}" if finding.mend else ""))

    for finding in _machine():
        tell(finding)
    try:
        found = settings(file, found_here())
        providers = make_providers(found, {})
        Routes(found.routes, providers)
    except TidegateError as wrong:
        tell(Finding(False, "the configuration cannot be used", wrong.message))
    else:
        where = config.where(file, os.environ)
        tell(Finding(True, f"configuration: {where if where.exists() else 'none, so what is found here is served'}"))
        ground = (_data_dir(found.storage.data_dir), *stores.findings(found), *_vault(found), *_owners(found))
        for finding in (*ground, _port(found), *_certificate(found)):
            tell(finding)
        run(lambda: _providers(found, providers, tell))
    if ill:
        raise SystemExit(1)


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 11), f"Python {version}", "" if sys.version_info >= (3, 11) else "use 3.11")
    fast = loop_factory() is not asyncio.new_event_loop
    yield Finding(True, "event loop: uvloop" if fast else "event loop: asyncio's own; uvloop would be faster")


def _data_dir(name: str) -> Finding:
    path = Path(name).expanduser()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x")
    except OSError as wrong:
        return Finding(False, f"data folder {path}: {wrong.strerror}", "choose another: storage.data_dir or --data-dir")
    free = shutil.disk_usage(path).free
    if free < LOW_DISK:
        return Finding(
            False, f"data folder {path}: {free // 1024**2} MiB are free", "make room, or choose another disk"
        )
    return Finding(True, f"data folder {path}: can be written, {free // 1024**3} GiB are free")


def _vault(found: config.Config) -> Iterator[Finding]:
    """Keys of what is encrypted, and whether what proves the audit log goes anywhere."""
    data_dir = Path(found.storage.data_dir).expanduser()
    try:
        _, keyring, keks = open_vault(found.vault, found.storage, data_dir)
    except TidegateError as wrong:
        yield Finding(False, "vault: what is stored cannot be read", wrong.message)
        return
    if keyring is not None and keks is not None:
        count = keyring.count()
        keyring.close()
        older = sum(number for kek, number in count.items() if kek != keks.last.fingerprint)
        rest = f", {older:,} of them under an older one: tidegate vault rotate" if older else ""
        yield Finding(True, f"vault: {sum(count.values()):,} keys, sealed under {keks.last.fingerprint}{rest}")
    if found.audit.enabled and not found.audit.export:
        yield Finding(
            False,
            "audit: its state is exported nowhere, so that the log could be taken back to an earlier one unseen",
            "set audit.export to a place off this machine",
        )


def _owners(found: config.Config) -> Iterator[Finding]:
    """Routes that belong to a team which is not there: nobody but administrators may ask for them."""
    owners = {name: route.owner for name, route in found.routes.items() if route.owner is not None}
    data_dir = Path(found.storage.data_dir).expanduser()
    if not owners:
        return

    async def teams() -> dict[str, bool]:
        if found.storage.database is None and not (data_dir / "tidegate.sqlite").exists():
            return {}
        home = await open_home(found.storage, data_dir, lambda name, fields: None)
        try:
            return {team.id: team.disabled_ms is None for team in await home.every(Team)}
        finally:
            await home.aclose()

    try:
        there = asyncio.run(teams())
    except TidegateError:
        return  # what is wrong with the database was said
    for name, owner in owners.items():
        if there.get(owner):
            continue
        why = "is disabled" if owner in there else "is not there"
        mend = f"tidegate teams {'enable' if owner in there else 'create'} {owner}, or set another routes.{name}.owner"
        yield Finding(
            False, f"route {name}: its owner, team {owner!r}, {why}, so that only administrators reach it", mend
        )
    if all(there.get(owner) for owner in owners.values()):
        yield Finding(True, "routes: each team that owns one is there")


def _port(found: config.Config) -> Finding:
    where = f"{found.api.host}:{found.api.port}"
    try:
        with socket.create_server((found.api.host, found.api.port)):
            return Finding(True, f"{where} is free")
    except OSError as wrong:
        return Finding(
            False,
            f"cannot listen on {where}: {wrong.strerror}",
            f"if that is your Tidegate, all is well; else end it (ss -ltnp | grep :{found.api.port}) or set api.port",
        )


def _certificate(found: config.Config) -> Iterator[Finding]:
    """The one that clients see, where one is configured."""
    tls = found.api.tls
    if tls.certificate is None:
        return
    try:
        expires = plugins.find("listeners", "tls")(tls).expires
    except ConfigError as wrong:
        yield Finding(False, "certificate for clients", wrong.message)
        return
    days = (expires - datetime.now(UTC)).days
    mend = "renew it; it is taken up while serving" if days < EXPIRES_SOON_DAYS else ""
    yield Finding(not mend, f"certificate for clients: good until {expires:%Y-%m-%d}, for {days} days", mend)


async def _providers(found: config.Config, providers: dict[str, Provider], tell: Callable[[Finding], None]) -> None:
    """Ask each for its models: that it can be reached, and that it takes our key."""
    transport = plugins.find("transports", found.transport.kind)(found.transport)
    words = codecs()
    try:
        for name, provider in providers.items():
            tell(await _provider(transport, words[(provider.dialect, "raw")], name, provider))
    finally:
        await transport.aclose()


async def _provider(transport: Transport, codec: Codec, name: str, provider: Provider) -> Finding:
    try:
        await provider.start()
        trouble = provider.trouble()
        if trouble:
            return Finding(False, f"provider {name}", trouble)
        key = next(iter(provider.keys), None)
        request = provider.request(_question(provider), Target(provider, ""), codec, b"", PATIENCE, key)
        exchange = transport.send(request)
        try:
            head = await exchange.head()
        finally:
            exchange.close()
    except TransportError as wrong:
        mend = f"check providers.{name}.base_url, and that it runs"
        if wrong.kind == "tls":
            mend = f"have its certificate renewed; one of your own authority wants providers.{name}.tls.ca_file"
        return Finding(False, f"provider {name}: {wrong}", mend)
    except (TidegateError, ValueError) as wrong:
        return Finding(False, f"provider {name}", str(wrong))
    finally:
        await provider.aclose()
    if head.status in (401, 403):
        mend = f"put a valid key into providers.{name}.keys"
        return Finding(False, f"provider {name}: it does not accept the key (HTTP {head.status})", mend)
    if head.status >= 500:
        return Finding(False, f"provider {name}: HTTP {head.status}", "it is ill itself; try again later")
    return Finding(True, f"provider {name}: answers (HTTP {head.status} for its models)")


def _question(provider: Provider) -> Call:
    async def nothing() -> bytes:
        return b""

    clock = SystemClock()
    return Call(
        id="doctor",
        dialect=provider.dialect,
        operation="raw",
        at_ms=0,
        arrived_ns=clock.now_ns(),
        method="GET",
        path="/v1/models",
        intake=nothing,
    )

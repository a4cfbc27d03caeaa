"""tidegate keys: who may come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from tidegate.app import SystemClock, data_folder, open_home
from tidegate.cli.shared import DATA, FILE, settings
from tidegate.core.ports import Key, Store
from tidegate.stages.auth import KeyAuth
from tidegate.storage.pepper import load_peppers


@click.group()
def keys() -> None:
    """Who may come in.

    \b
    tidegate keys create --name ci
    tidegate keys create --name ops --admin
    tidegate keys list
    tidegate keys revoke ID
    """


@keys.command("create")
@FILE
@DATA
@click.option("--name", default="unnamed", help="What it is for.")
@click.option("--env", default="live", help="Part of the key's text, small letters: live, test…")
@click.option("--admin", is_flag=True, help="May administer too.")
def create_key(file: Path | None, data_dir: str | None, name: str, env: str, admin: bool) -> None:
    """Make a key and show it, this once."""

    async def work(store: Store, auth: KeyAuth) -> None:
        text, key = await auth.create(name, env, admin=admin)
        click.echo(text)
        click.echo(f"id {key.id}; keep the line above, it is not shown again", err=True)

    _with_store(file, data_dir, work)


@keys.command("list")
@FILE
@DATA
def list_keys(file: Path | None, data_dir: str | None) -> None:
    """All keys, without what makes them work."""

    async def work(store: Store, auth: KeyAuth) -> None:
        for key in await store.every(Key):
            made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.created_ms / 1000))
            state = "revoked" if key.revoked_ms is not None else key.role
            name = key.name if key.name.isprintable() else repr(key.name)
            click.echo(f"{key.id}  {state:8}  {key.env:5}  {made}  {name}")

    _with_store(file, data_dir, work)


@keys.command("revoke")
@FILE
@DATA
@click.argument("id")
def revoke_key(file: Path | None, data_dir: str | None, id: str) -> None:
    """End a key; it stops working everywhere within a second."""

    async def work(store: Store, auth: KeyAuth) -> None:
        await auth.desk.revoke(id)
        click.echo(f"revoked {id}")

    _with_store(file, data_dir, work)


def _with_store(
    file: Path | None, data_dir: str | None, work: Callable[[Store, KeyAuth], Coroutine[Any, Any, None]]
) -> None:
    """Run `work` on the store, beside a gateway that may be serving."""
    found = settings(file, data_dir=data_dir)
    folder = data_folder(found.storage.data_dir)
    peppers = load_peppers(folder, found.auth.peppers)

    async def run() -> None:
        store = await open_home(found.storage, folder, lambda name, fields: None)
        try:
            await work(store, KeyAuth(store, peppers, SystemClock()))
        finally:
            await store.aclose()

    asyncio.run(run())

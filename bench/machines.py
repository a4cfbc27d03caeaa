"""Where do several machines come from on one? Network namespaces on a bridge: each has addresses and ports of its own.

Servers that all of them share listen on the bridge. A machine can be parted from one of these: what goes there, or
comes from there, is dropped without a word. It needs root on Linux, with `ip` and `iptables`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.procs import Unavailable


class Host:
    """One machine. `enter` comes before the words of a command that shall run on it."""

    def __init__(self, name: str, address: str, shared: str) -> None:
        self.name = name
        self.address = address
        self.shared = shared  # the address of all that the machines share
        self.enter = ("ip", "netns", "exec", name)

    def part(self, port: int, *ways: str) -> None:
        """From a shared server: `out` is what goes there, `in` what comes from there."""
        self._rules("-I", port, ways)

    def join(self, port: int, *ways: str) -> None:
        self._rules("-D", port, ways)

    def _rules(self, what: str, port: int, ways: Sequence[str]) -> None:
        for way in ways:
            chain, whose, where = ("OUTPUT", "-d", "--dport") if way == "out" else ("INPUT", "-s", "--sport")
            rule = (chain, whose, self.shared, "-p", "tcp", where, str(port), "-j", "DROP")
            _run(*self.enter, "iptables", "-w", what, *rule)


@contextmanager
def machines(count: int) -> Iterator[list[Host]]:
    """Raises Unavailable where there can be none."""
    if os.getuid() or not (shutil.which("ip") and shutil.which("iptables")):
        raise Unavailable("machines of their own need root, ip and iptables")
    number = os.getpid()
    bridge, net = f"tg{number}", f"10.{200 + number % 50}.{number // 50 % 250}"
    shared = f"{net}.1"
    with ExitStack() as undo:
        _run("ip", "link", "add", bridge, "type", "bridge")
        undo.callback(_run, "ip", "link", "del", bridge)
        _run("ip", "addr", "add", f"{shared}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        hosts = [Host(f"{bridge}-{at}", f"{net}.{at + 2}", shared) for at in range(count)]
        for at, host in enumerate(hosts):
            _run("ip", "netns", "add", host.name)
            undo.callback(_run, "ip", "netns", "del", host.name)
            _connect(host, bridge, f"{bridge}v{at}")
        yield hosts


def _connect(host: Host, bridge: str, veth: str) -> None:
    _run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    _run("ip", "link", "set", veth, "master", bridge, "up")
    _run(*host.enter, "ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _run(*host.enter, "ip", "link", "set", link, "up")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")

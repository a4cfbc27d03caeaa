"""What does an answer cost that is given again? A hit beside a proxied call, and beside nginx with a static body.

Answers per second are as 16 connections of one load generator see them, which for nginx is as fast as the generator
is; what a core could do of each stands beside it, by the CPU of the server.
"""

from __future__ import annotations

import getpass
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import environments, load, mock
from bench.gateways import PATH, Place, Running, start_tidegate
from bench.load import Job
from bench.overhead import SMALL
from bench.procs import Child, Meter, Unavailable, free_port

NGINX = """
%(user)sdaemon off; master_process off; pid %(folder)s/nginx.pid; error_log stderr crit;
events { worker_connections 256; }
http { access_log off; client_body_temp_path %(folder)s/b; proxy_temp_path %(folder)s/p; fastcgi_temp_path %(folder)s/f;
  uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  server { listen 127.0.0.1:%(port)d; root %(folder)s; error_page 405 =200 $uri; default_type application/json; } }
"""


class Hits(NamedTuple):
    """By round. `why_no_nginx` is "" where it was measured."""

    cpu_us: list[float]
    proxied_cpu_us: list[float]
    per_second: list[float]
    nginx_cpu_us: list[float]
    nginx_per_second: list[float]
    why_no_nginx: str


def measured(rounds: int, seconds: float) -> Hits:
    """Raises Unavailable."""
    found = Hits([], [], [], [], [], "nginx is not installed: apt-get install nginx-light")
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "bench.mock", "--chunks", "1", "--every-ms", "0"]
        provider = Child("mock", command, folder / "mock", environments.importing_ours())
        undo.callback(provider.stop)
        port = provider.until(lambda: provider.said().strip() or None)
        place = Place(f"http://127.0.0.1:{port}/v1", folder, undo)
        settings = {
            "type": "openai",
            "base_url": place.provider,
            "keys": ["sk-mock"],
            "price": {"input": 1, "output": 2},
        }
        gateway = start_tidegate(place, "tidegate", free_port(), settings, cache={"exact": True, "single_flight": True})
        nginx = _nginx(place) if shutil.which("nginx") else None
        if nginx is not None:
            found = found._replace(why_no_nginx="")
        for _ in range(rounds):
            hit, cpu_us = _asked(gateway, "kept", provider, seconds)
            found.per_second.append(hit.per_second)
            found.cpu_us.append(cpu_us)
            found.proxied_cpu_us.append(_asked(gateway, "fast", provider, seconds)[1])
            if nginx is not None:
                static, cpu_us = _asked(nginx, "kept", provider, seconds)
                found.nginx_per_second.append(static.per_second)
                found.nginx_cpu_us.append(cpu_us)
    return found


def _asked(running: Running, route: str, provider: Child, seconds: float) -> tuple[load.Result, float]:
    """What 16 connections were answered, and the CPU of one call."""
    body = msgspec.json.encode({"model": route, "messages": [{"role": "user", "content": SMALL}], "max_tokens": 64})
    headers = {"content-type": "application/json", **running.headers}
    load.run(Job(running.url, headers, body, 16, (mock.whole(),), True, calls=200))
    meter = Meter(running.child, provider)
    result = load.run(Job(running.url, headers, body, 16, (mock.whole(),), True, seconds=seconds))
    if result.errors or not result.calls:
        raise Unavailable(f"{result.errors} of {result.calls + result.errors} calls failed: {result.said}")
    return result, meter.read()[0] / 1e3 / result.calls


def _nginx(place: Place) -> Running:
    """The same bytes as a file; a POST to a file is 405, which is answered with the file."""
    port = free_port()
    folder = place.folder / "nginx"
    (folder / PATH[1:]).parent.mkdir(parents=True)
    (folder / PATH[1:]).write_bytes(mock.whole())
    # For root it would become nobody, who may not read our folder.
    user = f"user {getpass.getuser()}; " if os.getuid() == 0 else ""
    config = place.write("nginx", "nginx.conf", NGINX % {"folder": folder, "port": port, "user": user})
    child = place.child("nginx", ["nginx", "-e", "stderr", "-c", config, "-p", folder])
    return Running("nginx", f"http://127.0.0.1:{port}{PATH}", "kept", child=child, keeps_bytes=True)

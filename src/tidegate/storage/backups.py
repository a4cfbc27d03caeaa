"""What does a backup look like? One file: the database, what waited for it in the spool, a manifest; and no key."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal, NamedTuple

import msgspec

from tidegate.core.errors import ConfigError
from tidegate.core.ports import Acted, Closed, Opened
from tidegate.storage.copies import Tell
from tidegate.storage.segments import MAGIC, framed, scan

FORMAT = 1
MANIFEST = "manifest.json"
MOST_MANIFEST = 1 << 20
CHUNK = 1 << 20
ASIDE = ("before_restore_", "restoring-")
_NAME = re.compile(r"(?!manifest\.json$)(?:\w[\w.-]*/)*\w[\w.-]*", re.ASCII)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, KeyError, ValueError)


class Needs(msgspec.Struct, frozen=True):
    """The keys without which a backup is worth nothing, by what they can be told by."""

    peppers: dict[str, str] = {}  # version → fingerprint, of those that keys were made with
    keyring: str | None = None  # the house's own key in it
    keks: tuple[str, ...] = ()  # that the keyring was sealed under then; another may be since
    audit: str | None = None  # the verifier key


class Piece(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What is in a backup, written last: without it a file is none."""

    format: int
    tidegate: str
    made_ms: int
    home: Literal["sqlite", "postgres"]
    schema: int
    counts: dict[str, int]
    cost_nusd: int
    spools: dict[str, tuple[int, int]]  # how far each was read
    needs: Needs
    pieces: dict[str, Piece]


class Draft:
    """A backup being written: under its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        self.pieces: dict[str, Piece] = {}
        self._path = path
        self.part = path.with_name(f"{path.name}.part")

    @contextmanager
    def written(self) -> Iterator[Draft]:
        """Raises ConfigError when it cannot be."""
        try:
            handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as self._zip:
                    yield self
                file.flush()
                os.fsync(handle)
            self.part.replace(self._path)
        except OSError as wrong:
            raise ConfigError(
                f"cannot write {self._path}: {wrong.strerror or wrong}; choose another place, or make room"
            ) from None
        finally:
            self.part.unlink(missing_ok=True)

    def add(self, name: str, source: Path | bytes, tell: Tell) -> None:
        sha, size = hashlib.sha256(), 0
        whole = len(source) if isinstance(source, bytes) else source.stat().st_size
        with self._zip.open(name, "w", force_zip64=True) as to:
            for chunk in [source] if isinstance(source, bytes) else _chunks(source):
                sha.update(chunk)
                size += len(chunk)
                to.write(chunk)
                tell(size, whole)
        self.pieces[name] = Piece(size, sha.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


@contextmanager
def _created(path: Path | None) -> Iterator[IO[bytes] | None]:
    """A file that is on the disk afterwards; None makes none."""
    if path is None:
        yield None
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def spools(data_dir: Path) -> list[Path]:
    """The folders of all who write here; not those that a restore has moved aside."""
    found = (path.parent for path in data_dir.glob("**/spool*/id"))
    return sorted(one for one in found if not one.relative_to(data_dir).parts[0].startswith(ASIDE))


class Waiting(NamedTuple):
    """A record that ended, and where it stands in a spool."""

    segment: int
    start: int
    payload: bytes


def waiting(spool: Path, decode: Callable[[bytes], Opened | Closed | Acted]) -> list[Waiting]:
    """What has ended, and no database may have yet. Read before the database is: what leaves meanwhile is there.

    Not what was only begun: nobody was told of an end, and a name that stands there would come back with it.
    """
    found: list[Waiting] = []
    for path in sorted(spool.glob("*.seg")):
        with suppress(FileNotFoundError):
            for frame in scan(path.read_bytes()).frames:
                with suppress(ValueError):
                    if not isinstance(decode(frame.payload), Opened):
                        found.append(Waiting(int(path.stem), frame.start, frame.payload))
    return found


def segment_of(records: Iterable[Waiting], read: tuple[int, int]) -> tuple[str, bytes] | None:
    """Name and bytes of one segment with what stands behind what was `read`; None, where that is nothing."""
    left = [one.payload for one in records if (one.segment, one.start) >= read]
    return (f"{read[0] + 1:010}.seg", MAGIC + b"".join(map(framed, left))) if left else None


class Backup:
    """A backup that is there. Whatever is wrong with it is a ConfigError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading() as archive:
            if archive.getinfo(MANIFEST).file_size > MOST_MANIFEST:
                raise ValueError("its manifest is too long")
            text = archive.read(MANIFEST)
            names = [one.filename for one in archive.infolist()]
        try:
            form = msgspec.json.decode(text, type=dict)["format"]
            if isinstance(form, int) and form > FORMAT:
                raise ConfigError(f"{path} was made by a newer Tidegate: restore it with that version or a later one")
            self.manifest = msgspec.json.decode(text, type=Manifest)
        except (ValueError, KeyError) as wrong:
            raise self._broken(f"its manifest cannot be read: {wrong}") from None
        pieces = self.manifest.pieces
        if sorted(names) != sorted([*pieces, MANIFEST]) or not all(_NAME.fullmatch(name) for name in pieces):
            raise self._broken("what is in it is not what its manifest says")

    def unpack(self, folder: Path | None, tell: Tell) -> None:
        """Verify every byte, and write it there where a folder is named."""
        whole, done = sum(piece.bytes for piece in self.manifest.pieces.values()), 0
        with self._reading() as archive:
            for name, piece in self.manifest.pieces.items():
                sha, size = hashlib.sha256(), 0
                with archive.open(name) as source, _created(folder and folder / name) as to:
                    while size <= piece.bytes and (chunk := source.read(CHUNK)):
                        sha.update(chunk)
                        size += len(chunk)
                        done += len(chunk)
                        if to is not None:
                            to.write(chunk)
                        tell(done, whole)
                if Piece(size, sha.hexdigest()) != piece:
                    raise ValueError(f"{name} is not what was written")

    @contextmanager
    def _reading(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except _BROKEN as wrong:
            raise self._broken(str(wrong)) from None
        except OSError as wrong:
            if wrong.errno == errno.EINVAL:  # an offset that leads nowhere
                raise self._broken(str(wrong)) from None
            raise ConfigError(f"cannot read {self.path} or write what is in it: {wrong.strerror or wrong}") from None

    def _broken(self, why: str) -> ConfigError:
        return ConfigError(f"{self.path} is no whole backup of Tidegate's: {why.strip(chr(39))}; take another one")

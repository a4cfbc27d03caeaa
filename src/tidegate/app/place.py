"""Which of the processes that serve together is this one? The only one, or one of `api.workers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

VARIABLE = "TIDEGATE_WORKER"  # what whoever started this process says of its place


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """number: from 1 on.

    of: how many there are.
    socket: the file descriptor of the socket on which all of them listen.
    console: that of the console's, when it has one of its own.
    line: that of a line to who started this one: a byte says that it serves, and its end that nobody is there any more.
    greets: it says where Tidegate answers, for the others.
    """

    number: int = 1
    of: int = 1
    socket: int | None = None
    console: int | None = None
    line: int | None = None
    greets: bool = True

    @property
    def spool(self) -> str:
        """The folder of its own; that of the first is there for one alone, too."""
        return "spool" if self.number == 1 else f"spool-{self.number}"

    def left_in(self, data_dir: Path) -> list[str]:
        """The spools of workers that are no more: the first brings into the books what is in them."""
        if self.number > 1:
            return []
        found = {path.name: re.fullmatch(r"spool-(\d+)", path.name) for path in data_dir.glob("spool-*")}
        return sorted(name for name, number in found.items() if number and int(number[1]) > self.of)


def place_in(environment: Mapping[str, str]) -> Place:
    said = environment.get(VARIABLE)
    return msgspec.json.decode(said, type=Place) if said else Place()

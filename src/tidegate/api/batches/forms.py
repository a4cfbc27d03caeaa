"""What is in a form? The parts of a multipart/form-data body that has come whole."""

from __future__ import annotations

import re
from typing import NamedTuple

from tidegate.core.errors import BadRequest, UnsupportedMedia

MOST_PARTS = 32
_BOUNDARY = re.compile(r'\bboundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.ASCII | re.IGNORECASE)
_PARAMETER = re.compile(r'\b(filename|name)="((?:[^"\\\r\n]|\\.)*)"', re.ASCII)


class Part(NamedTuple):
    content: bytes
    filename: str | None


def parts(content_type: bytes, body: bytes) -> dict[str, Part]:
    """By name; of two alike the first. Raises BadRequest, UnsupportedMedia."""
    kind = content_type.decode("latin-1")
    found = _BOUNDARY.search(kind)
    if not kind.lower().startswith("multipart/form-data") or found is None:
        raise UnsupportedMedia(
            f"a file comes as multipart/form-data with the fields purpose and file; this says {kind[:60]!r}"
        )
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    there: dict[str, Part] = {}
    at = body.find(mark)
    while at >= 0 and not body.startswith(b"--", at + len(mark)):
        begin = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n" + mark, begin)
        if begin < 0 or end < 0 or len(there) >= MOST_PARTS:
            raise BadRequest("the form ends in the middle of a part, or has too many; see that it was sent whole")
        name, filename = _names(body[at + len(mark) : begin])
        there.setdefault(name, Part(body[begin + 4 : end], filename))
        at = end + 2
    if at < 0:
        raise BadRequest("the form does not end as its content-type says; see that it was sent whole")
    return there


def _names(head: bytes) -> tuple[str, str | None]:
    said = dict(_PARAMETER.findall(head.decode("utf-8", "replace")))
    filename = said.get("filename")
    return said.get("name", ""), filename.replace('\\"', '"') if filename is not None else None

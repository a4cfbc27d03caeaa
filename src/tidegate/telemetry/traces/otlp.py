"""What do spans look like on the wire? OTLP's protobuf, written by hand: a dozen fields of three kinds.

Field numbers are those of opentelemetry-proto 1.x: trace/v1/trace.proto, common/v1/common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from tidegate import __version__
from tidegate.telemetry.traces.spans import SCHEMA, Span

CONTENT_TYPE = b"application/x-protobuf"
FAILED = 2  # a status code
MOST_TEXT = 4096  # characters of one attribute


def export(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """An ExportTraceServiceRequest."""
    scope = _text(1, "tidegate") + _text(2, __version__)
    scoped = _bytes(1, scope) + b"".join(_bytes(2, _span(span)) for span in spans) + _text(3, SCHEMA)
    attributes = {"service.name": "tidegate", "service.version": __version__, **resource}
    return _bytes(1, _bytes(1, _pairs(1, attributes)) + _bytes(2, scoped) + _text(3, SCHEMA))


def _span(span: Span) -> bytes:
    status = _text(2, span.error[:MOST_TEXT]) + _number(3, FAILED) if span.error is not None else b""
    return b"".join(
        (
            _bytes(1, bytes.fromhex(span.trace_id)),
            _bytes(2, bytes.fromhex(span.id)),
            _bytes(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
            _text(5, span.name),
            _number(6, span.kind),
            _fixed(7, span.start_ns),
            _fixed(8, max(span.end_ns, span.start_ns)),
            _pairs(9, span.attributes),
            _bytes(11, _fixed(1, span.start_ns) + _text(2, span.event) + _pairs(3, span.attributes))
            if span.event
            else b"",
            _bytes(15, status) if status else b"",
        )
    )


def _pairs(field: int, attributes: Mapping[str, Any]) -> bytes:
    return b"".join(_bytes(field, _text(1, name) + _bytes(2, _value(value))) for name, value in attributes.items())


def _value(value: Any) -> bytes:
    """An AnyValue. A bool is an int, too: it is asked first. Bytes are text that is bounded elsewhere."""
    if isinstance(value, bool):
        return _number(2, int(value))
    if isinstance(value, int):
        return _number(3, value)
    if isinstance(value, float):
        return _tag(4, 1) + struct.pack("<d", value)
    if isinstance(value, list):
        return _bytes(5, b"".join(_bytes(1, _value(one)) for one in value))
    if isinstance(value, bytes):
        return _bytes(1, value)
    return _text(1, str(value)[:MOST_TEXT])


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    number &= 2**64 - 1  # a negative one is its two's complement
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, number: int) -> bytes:
    return _tag(field, 0) + _varint(number)


def _fixed(field: int, number: int) -> bytes:
    return _tag(field, 1) + struct.pack("<Q", number)


def _bytes(field: int, data: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode("utf-8", "replace"))

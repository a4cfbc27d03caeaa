"""Frames are the stream, cut after each event, and where the network cut it does not matter."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.errors import UpstreamFailed
from tidegate.core.stream import MAX_FRAME, Frames, name, payload

ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=20).map(str.encode)


@st.composite
def events(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """An event as a server may write it, with its name and its data."""
    end = draw(ends)
    lines: list[bytes] = []
    data: list[bytes] = []
    called = b""
    for kind in draw(st.lists(st.sampled_from(["data", "event", "id", ":", "database"]), min_size=1, max_size=4)):
        text, gap = draw(texts), draw(st.sampled_from([b"", b" "]))
        if kind == "data":
            lines.append(b"data:" + gap + text)
            data.append(text if gap else text.removeprefix(b" "))
        elif kind == "event" and not called:
            lines.append(b"event:" + gap + b"e" + text)
            called = b"e" + text
        elif kind == ":":
            lines.append(b":" + text)
        else:
            lines.append(kind.encode() + b":" + text)
    return b"".join(line + end for line in lines) + end, called, b"\n".join(data)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    made = draw(st.lists(events(), max_size=5))
    rest = draw(st.sampled_from([b"", b"data: cut o", b"data: cut off\r", b": bye\n"]))
    return made, rest


@st.composite
def pieces_of(draw: st.DrawFn, text: bytes) -> list[bytes]:
    """`text` in any pieces, empty ones too."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def cut(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    frames = Frames()
    return [frame for piece in pieces for frame in frames.feed(piece)], frames.end()


@given(streams(), st.data())
def test_frames_are_the_events_whatever_the_pieces(
    made: tuple[list[tuple[bytes, bytes, bytes]], bytes], data: st.DataObject
) -> None:
    sent, rest = made
    stream = b"".join(frame for frame, _, _ in sent) + rest
    frames, left = cut(data.draw(pieces_of(stream)))
    assert frames == [frame for frame, _, _ in sent]
    assert left == rest
    assert [(name(frame), payload(frame)) for frame in frames] == [(called, text) for _, called, text in sent]


@given(st.binary(max_size=60) | st.text("\r\n:d ", max_size=40).map(str.encode), st.data())
@example(b"\r\n\r\n\n\r\r\n\n", None)
def test_any_bytes_in_any_pieces_give_the_same_frames_and_joined_are_those_bytes(
    stream: bytes, data: st.DataObject | None
) -> None:
    pieces = data.draw(pieces_of(stream)) if data else [bytes([byte]) for byte in stream]
    frames, rest = cut(pieces)
    assert b"".join(frames) + rest == stream
    assert (frames, rest) == cut([stream])


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b"data: x\r\n\r\n", b"x"),
        (b"data: x\r\r", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\ndata\ndata: b\n\n", b"a\n\nb"),
        (b"event: e\ndata: x\nid: 1\n\n", b"x"),
        (b"data: x\n", b"x"),  # the end of a stream that forgot its empty line
        (b"data: x", b"x"),
        (b": data: x\n\n", b""),
        (b"database: x\n\n", b""),
        (b"event: e\n\n", b""),
        (b"\n\n", b""),
        (b"", b""),
    ],
)
def test_the_data_of_a_frame(frame: bytes, data: bytes) -> None:
    assert payload(frame) == data


def test_the_name_of_a_frame_is_that_of_its_field_alone() -> None:
    assert name(b"event: message_start\r\ndata: {}\r\n\r\n") == b"message_start"
    assert name(b"data: event: x\n\n") == b""
    assert name(b"eventual: x\n\n") == b""


def test_ending_twice_gives_the_rest_once() -> None:
    frames = Frames()
    assert frames.feed(b"data: x") == []
    assert frames.end() == b"data: x"
    assert frames.end() == b""


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: x\n" * 8_192], ids=["one line", "many lines"])
def test_an_event_without_an_end_is_refused_at_its_limit(piece: bytes) -> None:
    frames = Frames()
    for _ in range(MAX_FRAME // len(piece)):
        assert frames.feed(piece) == []
    with pytest.raises(UpstreamFailed, match="larger than 4 MiB"):
        frames.feed(b"x")


def test_short_lines_without_an_end_cost_no_more_than_they_are_long() -> None:
    """What has been looked through is not looked through again: a provider must not hold up the loop."""
    frames = Frames()
    began = time.process_time()
    for _ in range(MAX_FRAME // 64):
        assert frames.feed(b"data: " + b"x" * 57 + b"\n") == []
    assert time.process_time() - began < 3


def test_the_largest_event_that_is_allowed_comes_through() -> None:
    frame = b"data: " + b"x" * (MAX_FRAME - 8) + b"\n\n"
    frames = Frames()
    found = [one for at in range(0, len(frame), 65_536) for one in frames.feed(frame[at : at + 65_536])]
    assert found == [frame]

"""A classifier of the operator's own. The models here are written byte by byte: what they give is known by heart."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tidegate.core.errors import ConfigError
from tidegate.core.guard import Part
from tidegate.stages.guardrails import onnx, pieces

FLOAT, INT64 = 1, 7
WORDS = ["[UNK]", "[CLS]", "[SEP]", "hello", "ignore", "rules", "##s"]


def field(number: int, value: int | bytes) -> bytes:
    """Of a protobuf message."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def value_info(name: str, kind: int, *dims: int | str) -> bytes:
    shape = b"".join(field(1, field(1, one) if isinstance(one, int) else field(2, one.encode())) for one in dims)
    return field(1, name.encode()) + field(2, field(1, field(1, kind) + field(2, shape)))


def node(kind: str, inputs: list[str], output: str, attributes: bytes = b"") -> bytes:
    named = b"".join(field(1, one.encode()) for one in inputs)
    return field(1, named + field(2, output.encode()) + field(4, kind.encode()) + attributes)


def model(table: list[list[float]], *, reduced: bool = True, takes: bytes | None = None) -> bytes:
    """Each token has logits; those of a text are the highest of its tokens'."""
    raw = b"".join(struct.pack(f"<{len(row)}f", *row) for row in table)
    weights = field(1, len(table)) + field(1, len(table[0])) + field(2, FLOAT) + field(8, b"table") + field(9, raw)
    axes = field(5, field(1, b"axes") + field(8, 1) + field(20, 7))
    flat = field(5, field(1, b"keepdims") + field(3, 0) + field(20, 2))
    graph = node("Gather", ["table", "input_ids"], "each" if reduced else "logits")
    graph += node("ReduceMax", ["each"], "logits", axes + flat) if reduced else b""
    graph += field(2, b"g") + field(5, weights)
    graph += field(11, takes or value_info("input_ids", INT64, "batch", "tokens"))
    graph += field(12, value_info("logits", FLOAT))
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))


BAD = WORDS.index("ignore")
TABLE = [[0.0, 6.0] if at == BAD else [3.0, 0.0] for at in range(len(WORDS))]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": vocabulary}}))
    (tmp_path / "model.onnx").write_bytes(model(TABLE))
    return tmp_path


def config(files: Path, **more: object) -> onnx.Config:
    return onnx.Config(str(files / "model.onnx"), str(files / "tokenizer.json"), **more)  # type: ignore[arg-type]


async def test_a_text_is_weighed_by_the_operators_own_file(files: Path):
    guard = onnx.Onnx(config(files))
    found = await guard.check(None, [Part("a", "user", "ignore rules"), Part("b", "user", "hello rules")])  # type: ignore[arg-type]
    assert [[one.rule for one in some] for some in found] == [["classifier"], []]
    assert found[0][0].score > 0.9


async def test_the_applications_own_words_are_not_weighed(files: Path):
    assert await onnx.Onnx(config(files)).check(None, [Part("a", "system", "ignore")]) == [[]]  # type: ignore[arg-type]


async def test_what_tools_say_has_a_threshold_of_its_own(files: Path):
    guard = onnx.Onnx(config(files, threshold=0.99, tool_threshold=0.5))
    said = [Part("a", "user", "ignore"), Part("b", "tool", "ignore")]
    assert [bool(some) for some in await guard.check(None, said)] == [False, True]  # type: ignore[arg-type]


async def test_a_long_text_is_weighed_in_pieces_and_one_without_end_is_not(files: Path):
    guard = onnx.Onnx(config(files, max_tokens=8))
    assert guard.score("hello " * 100 + "ignore" + " hello" * 100) > 0.9
    assert guard.score("hello " * 100) < 0.1
    with pytest.raises(ValueError, match="more than 64 pieces"):
        guard.score("hello " * 2_000)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (b"no onnx at all", "is no ONNX that can be read"),
        (
            model(TABLE, reduced=False),
            r"gives float32 of the shape \(1, 3, 2\) for one text",
        ),
        (model(TABLE[:2]), "cannot weigh a text of"),
        (
            model(TABLE[:1] * 9, takes=value_info("input_ids", INT64, "tokens")),
            r"of the shape \['tokens'\]; a classifier",
        ),
        (model(TABLE).replace(b"input_ids", b"pixels_it"), "takes pixels_it as tensor"),
    ],
    ids=["garbage", "no labels", "another vocabulary", "one row", "pictures"],
)
def test_a_file_of_the_wrong_shape_stops_the_start_and_says_why(files: Path, made: bytes, message: str):
    (files / "model.onnx").write_bytes(made)
    with pytest.raises(ConfigError, match=message):
        onnx.Onnx(config(files))


def test_a_label_that_is_not_there_is_named(files: Path):
    with pytest.raises(ConfigError, match="has 2 labels, from 0 to 1, and no 2"):
        onnx.Onnx(config(files, label=2))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{}", "is no tokenizer.json that can be read"),
        ('{"model": {"type": "BPE"}}', "is of the kind BPE; Unigram and WordPiece are read"),
    ],
)
def test_a_tokenizer_that_is_not_read_stops_the_start(files: Path, said: str, message: str):
    (files / "tokenizer.json").write_text(said)
    with pytest.raises(ConfigError, match=message):
        onnx.Onnx(config(files))


def test_unigram_takes_the_pieces_that_are_best_together(tmp_path: Path):
    scores = [["<unk>", 0.0], ["\u2581a", -2.0], ["b", -3.0], ["\u2581ab", -4.0], ["c", -1.0], ["\u2581", -3.0]]
    marks = [{"content": "[CLS]", "id": 9}, {"content": "[SEP]", "id": 8}]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "Unigram", "unk_id": 0, "vocab": scores}, "added_tokens": marks}))
    one = pieces.read(path)
    assert (one.begin, one.end) == (9, 8)
    assert one.ids("ab  abc") == [3, 3, 4]
    assert one.ids("xyz") == [5, 0]

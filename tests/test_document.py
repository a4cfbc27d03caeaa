"""Where it stands is told for each value: whoever wrote the file finds it."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.errors import ConfigError
from tidegate.core.values import Duration
from tidegate.document import Document, read

TEXT = """\
name: walks
cases:
  - id: one
    tags: [a, b]
  - {id: two,
     wait: 2s}
"""


class Case(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    tags: tuple[str, ...] = ()
    wait: Duration = Duration(0)


class Walks(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    cases: tuple[Case, ...]


def told(text: str) -> str:
    with pytest.raises(ConfigError) as wrong:
        document = read(text, "f.yaml")
        document.into(Walks, document.tree, "")
    return wrong.value.message


def test_a_file_becomes_what_it_describes() -> None:
    document = read(TEXT, "f.yaml")
    assert document.into(Walks, document.tree, "").cases[1] == Case("two", wait=Duration(2))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("name", "f.yaml:1: name: x"),
        ("cases", "f.yaml:2: cases: x"),
        ("cases[0].tags[1]", "f.yaml:4: cases[0].tags[1] (one): x"),
        ("cases[1].wait", "f.yaml:6: cases[1].wait (two): x"),
        ("cases[1].nothing.of[3].that", "f.yaml:5: cases[1].nothing.of[3].that (two): x"),
        ("nothing", "f.yaml: nothing: x"),
        ("", "f.yaml: x"),
    ],
)
def test_an_error_has_the_line_of_the_value_or_of_the_nearest_above_it(path: str, line: str) -> None:
    assert read(TEXT, "f.yaml").wrong(path, "x").message == line


@pytest.mark.parametrize(
    ("was", "instead", "message"),
    [
        ("wait: 2s", "wit: 2s", "f.yaml:6: cases[1].wit (two): no such key; did you mean 'wait'?"),
        ("wait: 2s", "wait: soon", "f.yaml:6: cases[1].wait (two): "),
        ("[a, b]", "[a, 2]", "f.yaml:4: cases[0].tags[1] (one): expected 'str', got 'int'"),
        ("name: walks", "name: walks\nname: again", "f.yaml:1: name: stands twice, again in line 2"),
        ("[a, b]", "[a, b", "look at the indentation and colons there"),
        ("[a, b]", "&all [*all]", "f.yaml:4: cases[0].tags[0]: refers to itself"),
        ("[a, b]", "2020-13-40", "f.yaml:4: cases[0].tags: cannot be read as timestamp"),
        ("[a, b]", "!!python/object:os.system x", "cannot be read as "),
        ("[a, b]", "[" * 9_000 + "]" * 9_000, "f.yaml: is nested too deeply"),
        ("walks", "w\x00lks", "f.yaml: is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(was: str, instead: str, message: str) -> None:
    assert message in told(TEXT.replace(was, instead, 1))


def test_a_text_may_stand_for_another_and_whoever_says_so_is_told_where_it_stands() -> None:
    document = Document("f.yaml", said=lambda text, path: f"{path}={text}")
    assert document.take("a: {b: [x, 1]}") == {"a": {"b": ["a.b[0]=x", 1]}} and document.take("# a") == {}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{3,9}", fullmatch=True), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_it_reads_what_yaml_reads(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert read(text, "f").tree == yaml.safe_load(text) == value


def test_an_empty_file_lacks_what_is_needed() -> None:
    assert told("# nothing yet") == "f.yaml: object missing required field 'name'"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text, "f")
    except ConfigError as wrong:
        assert wrong.message.startswith("f")

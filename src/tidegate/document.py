"""What does a file of YAML say, and where does each value stand? So that whoever wrote it is told the line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest
from tidegate.core.values import Duration, Share

T = TypeVar("T")
Said = Callable[[str, str], str]  # a text and its path → the text that it stands for

_AT = re.compile(r"(?P<said>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_ITEM = re.compile(r"(\w+)\[(\d+)\]")


class Document:
    """A file and what it says. `wrong` makes the error for the value at a path: cases[3].input"""

    def __init__(self, file: str, tree: Any = None, said: Said | None = None) -> None:
        """`tree` for what came in no file; `said` is asked for each text that is taken."""
        self.file = file
        self.tree = tree
        self._said = said
        self._lines: dict[str, int] = {}

    def take(self, text: str) -> Any:
        """The tree that `text` says: no keys when it says nothing. Raises ConfigError."""
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as wrong:
            mark = wrong.problem_mark or wrong.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigError(
                f"{self.file}{line}: {wrong.problem or wrong.context}; look at the indentation and colons there"
            ) from None
        except yaml.YAMLError as wrong:
            raise ConfigError(f"{self.file}: is not YAML: {str(wrong).splitlines()[0]}") from None
        except RecursionError:
            raise ConfigError(f"{self.file}: is nested too deeply") from None
        self.tree = self._value(node, "", ()) if node is not None else {}
        return self.tree

    def wrong(self, path: str, message: str) -> ConfigError:
        """The error for the value at `path`, or for the nearest one above it that stands in the file."""
        at = path
        while at and at not in self._lines:
            at = at.rpartition("[")[0] if at.endswith("]") else at.rpartition(".")[0]
        line = f":{self._lines[at]}" if at else ""
        item = self._item(path)
        return ConfigError(f"{self.file}{line}: {path}{item}: {message}" if path else f"{self.file}: {message}")

    def into(self, kind: type[T], value: Any, path: str) -> T:
        """`value`, which stands at `path`, as `kind`. Raises ConfigError with line and nearest name."""
        try:
            return msgspec.convert(value, kind, dec_hook=_read, str_keys=True)
        except msgspec.ValidationError as wrong:
            found = _AT.fullmatch(str(wrong))
            inner, said = (found["path"] or "", found["said"]) if found else ("", str(wrong))
            unknown = _UNKNOWN.fullmatch(said)
            if unknown is not None:
                hint = nearest(unknown[1], get_type_hints(_kind_at(kind, inner)))
                inner, said = f"{inner}.{unknown[1]}", f"no such key; {hint}"
            where = (path + inner).removeprefix(".")
            raise self.wrong(where, said[:1].lower() + said[1:].replace("`", "'")) from None

    def _item(self, path: str) -> str:
        """Of which one in a list, by its id: a number is hard to find in a long file."""
        found = _ITEM.match(path)
        try:
            id = self.tree[found[1]][int(found[2])]["id"] if found else ""
        except (KeyError, IndexError, TypeError):
            return ""
        return f" ({id})" if isinstance(id, str) and id else ""

    def _value(self, node: yaml.Node, path: str, above: tuple[yaml.Node, ...]) -> Any:
        if node in above:
            raise self.wrong(path, "refers to itself")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{at}]", (*above, node)) for at, item in enumerate(node.value)]
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, AttributeError, KeyError):  # the last two: what PyYAML does not expect
            raise self.wrong(path, f"cannot be read as {node.tag.rpartition(':')[2]}") from None
        return self._said(value, path) if self._said is not None and isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, path: str, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            if key in found:
                raise self.wrong(inner, f"stands twice, again in line {key_node.start_mark.line + 1}")
            self._lines[inner] = key_node.start_mark.line + 1
            found[key] = self._value(value_node, inner, above)
        return found


def read(text: str, file: str) -> Document:
    """Raises ConfigError."""
    document = Document(file)
    document.take(text)
    return document


def _read(kind: type, value: object) -> Any:
    parse: Callable[[object], Any] | None = getattr(kind, "parse", None)
    if kind not in (Duration, Share) or parse is None:
        raise TypeError(f"nobody reads {kind.__name__} here")
    return parse(value)


def _kind_at(kind: Any, path: str) -> Any:
    """Of the struct that stands at `path` within one of `kind`."""
    for name in re.findall(r"\.(\w+)", path):
        kind = get_type_hints(kind).get(name, kind)
        while not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            inner = [one for one in getattr(kind, "__args__", ()) if one not in (type(None), Ellipsis)]
            if not inner:
                return kind
            kind = inner[-1]
    return kind

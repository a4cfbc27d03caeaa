"""Where in a file of YAML does each value stand? So that whoever wrote it is told the line, and the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_type_hints

import msgspec
import yaml

from tidegate.core.errors import ConfigError
from tidegate.core.values import Duration, Share

T = TypeVar("T")

_AT = re.compile(r"(?P<said>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")


class Document:
    """A file and what it says. `wrong` makes the error for the value at a path: cases[3].input"""

    def __init__(self, file: str, tree: Any, lines: dict[str, int]) -> None:
        self.file = file
        self.tree = tree
        self._lines = lines

    def wrong(self, path: str, message: str) -> ConfigError:
        at = path
        while at and at not in self._lines:
            at = at.rpartition("[")[0] if at.endswith("]") else at.rpartition(".")[0]
        line = f":{self._lines[at]}" if at else ""
        case = self._case(path)
        return ConfigError(f"{self.file}{line}: {path}{case}: {message}" if path else f"{self.file}: {message}")

    def into(self, kind: type[T], value: Any, path: str) -> T:
        """`value`, which stands at `path`, as `kind`. Raises ConfigError with line and nearest name."""
        try:
            return msgspec.convert(value, kind, dec_hook=_read, str_keys=True)
        except msgspec.ValidationError as wrong:
            found = _AT.fullmatch(str(wrong))
            inner, said = (found["path"] or "", found["said"]) if found else ("", str(wrong))
            unknown = _UNKNOWN.fullmatch(said)
            if unknown is not None:
                hint = near(unknown[1], get_type_hints(_kind_at(kind, inner)))
                inner, said = f"{inner}.{unknown[1]}", f"no such key; {hint}"
            where = (path + inner).removeprefix(".")
            raise self.wrong(where, said[:1].lower() + said[1:].replace("`", "'")) from None

    def _case(self, path: str) -> str:
        """Of which case, by its id: a number is hard to find in a long file."""
        found = re.match(r"cases\[(\d+)\]", path)
        try:
            id = self.tree["cases"][int(found[1])]["id"] if found else ""
        except (KeyError, IndexError, TypeError):
            return ""
        return f" ({id})" if isinstance(id, str) and id else ""


def read(text: str, file: str) -> Document:
    """Raises ConfigError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: {wrong.problem or wrong.context}") from None
    except (yaml.YAMLError, RecursionError) as wrong:
        raise ConfigError(f"{file}: is not YAML: {(str(wrong) or 'nested too deeply').splitlines()[0]}") from None
    lines: dict[str, int] = {}
    document = Document(file, None, lines)
    document.tree = _value(node, "", (), document, lines) if node is not None else {}
    return document


def _value(node: yaml.Node, path: str, above: tuple[yaml.Node, ...], document: Document, lines: dict[str, int]) -> Any:
    if node in above:
        raise document.wrong(path, "refers to itself")
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        inner = (*above, node)
        return [_value(one, f"{path}[{at}]", inner, document, lines) for at, one in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, AttributeError, KeyError):  # the last two: what PyYAML does not expect
            raise document.wrong(path, f"cannot be read as {node.tag.rpartition(':')[2]}") from None
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        inner_path = f"{path}.{key}" if path else key
        if key in found:
            raise document.wrong(inner_path, f"stands twice, again in line {key_node.start_mark.line + 1}")
        lines[inner_path] = key_node.start_mark.line + 1
        found[key] = _value(value_node, inner_path, (*above, node), document, lines)
    return found


def near(name: str, names: Iterable[str]) -> str:
    there = list(names)
    found = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"there are: {', '.join(there) or 'none'}"


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

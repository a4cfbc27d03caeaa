"""How short can JSON be said, so that it can be read back exactly? Without blanks, or as the smallest table of several.

An array of objects with the same keys says each key once. Three forms are tried, and the shortest is taken: JSON with
the keys in front (`{"#":["id","name"],"rows":[[1,"Ann"],[2,"Bob"]]}`), and lines whose cells are split by a comma, a
tab or a bar. A column that has one value everywhere is said in the head alone (`country=DE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tidegate.upstream.shrink.trees import Node, NoTree, parsed, value_end, written

SHORTEST = 64  # characters of JSON that are worth a look
FEWEST = 2  # rows of a table
MOST_FAILURES = 16  # lines that begin like JSON and are none; each may have been read to its end
SEPARATORS = {"comma": ",", "tab": "\t", "bar": "|"}
KEYS, ROWS = '"#"', '"rows"'
_HEAD = re.compile(r"(?:#(\d+): )?(\d+) rows, split by (comma|tab|bar):")
_PLACE = re.compile(r'"#\d*"')  # what stands where a table was, and the key of one: no text that has it is made one
_LITERAL = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")


class Table(NamedTuple):
    """Rows of the same keys. `shared`: the value that all rows have, by key."""

    keys: tuple[str, ...]
    shared: dict[str, Node]
    rows: list[dict[str, Node]]

    @property
    def columns(self) -> list[str]:
        return [key for key in self.keys if key not in self.shared]


def compact(text: str) -> str:
    """The shortest form of a JSON text that `restored` reads back; the same text where it is none, or no shorter."""
    if len(text) < SHORTEST:
        return text
    try:
        tree = parsed(text)
    except NoTree:
        return text
    plain = written(tree)
    best = plain
    if "[" in plain and not _PLACE.search(plain):
        for form in _forms(tree):
            if len(form) < len(best) and _reads_back(form, plain):
                best = form
    return best if len(best) < len(text) else text


def restored(text: str) -> str:
    """What `compact` was given, as JSON without blanks. Raises NoTree."""
    lines = text.split("\n")
    at = 0
    outer: Node = '"#1"'
    if not _HEAD.fullmatch(lines[0]):
        outer, at = parsed(lines[0]), 1
    tables: dict[str, Node] = {}
    while at < len(lines):
        head = _HEAD.fullmatch(lines[at])
        if head is None:
            raise NoTree(f"line {at + 1} is no head of a table")
        count = int(head[2])
        if len(lines) < at + 2 + count:
            raise NoTree(f"the table of line {at + 1} has fewer than {count} rows")
        tables[f'"#{head[1] or 1}"'] = _table_read(lines[at + 1 : at + 2 + count], SEPARATORS[head[3]])
        at += 2 + count
    return written(_put_back(outer, tables))


def values(text: str) -> Iterator[tuple[int, int]]:
    """Where JSON objects and arrays stand in `text` that begin a line and end one."""
    at = failures = 0
    while at < len(text) and failures < MOST_FAILURES:
        if text[at] in "{[":
            end = value_end(text, at)
            if end is not None and (end == len(text) or text[end] in "\r\n"):
                yield at, end
                at = end
            failures += end is None
        at = text.find("\n", at) + 1
        if at == 0:
            return


# --- tables within JSON


def _table(node: Node) -> Table | None:
    """None: it is no array of objects that have the same keys in the same order."""
    if not isinstance(node, list) or len(node) < FEWEST or not isinstance(node[0], dict):
        return None
    keys = tuple(node[0])
    rows = [row for row in node if isinstance(row, dict) and tuple(row) == keys]
    if not keys or len(rows) != len(node):
        return None
    shared = {key: rows[0][key] for key in keys if all(row[key] == rows[0][key] for row in rows)}
    if len(shared) == len(keys):
        del shared[keys[0]]  # a row has one cell at least
    return Table(keys, shared, rows)


def _forms(tree: Node) -> Iterator[str]:
    yield written(_within(tree))
    for name, separator in SEPARATORS.items():
        tables: list[Table] = []
        outer = written(_taken_out(tree, tables))
        if not tables:
            return
        lines = [] if outer == '"#1"' else [outer]
        for number, table in enumerate(tables, 1):
            mark = "" if outer == '"#1"' else f"#{number}: "
            lines.append(f"{mark}{len(table.rows)} rows, split by {name}:")
            lines += _lines(table, separator)
        yield "\n".join(lines)


def _within(node: Node) -> Node:
    """The same tree with every table as JSON that has its keys in front."""
    table = _table(node)
    if table is not None:
        heads: list[Node] = [[key, table.shared[key]] if key in table.shared else key for key in table.keys]
        rows: list[Node] = [[_within(row[key]) for key in table.columns] for row in table.rows]
        return {KEYS: heads, ROWS: rows}
    if isinstance(node, list):
        return [_within(one) for one in node]
    if isinstance(node, dict):
        return {key: _within(one) for key, one in node.items()}
    return node


def _taken_out(node: Node, tables: list[Table]) -> Node:
    """The same tree with a number in the place of every table that is in no other."""
    table = _table(node)
    if table is not None:
        tables.append(table)
        return f'"#{len(tables)}"'
    if isinstance(node, list):
        return [_taken_out(one, tables) for one in node]
    if isinstance(node, dict):
        return {key: _taken_out(one, tables) for key, one in node.items()}
    return node


def _put_back(node: Node, tables: dict[str, Node]) -> Node:
    if isinstance(node, str):
        return tables.get(node, node)
    if isinstance(node, list):
        return [_put_back(one, tables) for one in node]
    if list(node) == [KEYS, ROWS]:
        return _unrolled(node)
    return {key: _put_back(one, tables) for key, one in node.items()}


def _unrolled(node: dict[str, Node]) -> Node:
    heads, rows = node[KEYS], node[ROWS]
    assert isinstance(heads, list) and isinstance(rows, list)
    return [_row(heads, [_put_back(cell, {}) for cell in row]) for row in rows]


def _row(heads: list[Node], cells: list[Node]) -> Node:
    """An object of a head, where each is a key or a key with the value that all rows have."""
    left = iter(cells)
    return {
        str(head[0] if isinstance(head, list) else head): head[1] if isinstance(head, list) else next(left)
        for head in heads
    }


def _reads_back(form: str, plain: str) -> bool:
    """Looked at each time: what cannot be read back is never sent."""
    try:
        return restored(form) == plain
    except (NoTree, StopIteration, IndexError, AssertionError):
        return False


# --- tables as lines


def _lines(table: Table, separator: str) -> Iterator[str]:
    yield separator.join(
        _bare(key, separator + "=")
        + (f"={_bare(written(table.shared[key]), separator)}" if key in table.shared else "")
        for key in table.keys
    )
    for row in table.rows:
        yield separator.join([_bare(written(row[key]), separator) for key in table.columns])


def _bare(token: str, separators: str) -> str:
    """A string without its quotes, where nobody could take it for something else."""
    inner = token[1:-1]
    if token[0] != '"' or not inner or not inner.isprintable() or inner != inner.strip() or "\\" in inner:
        return token
    if inner[0] in '"{[' or any(one in inner for one in separators) or _LITERAL.fullmatch(inner):
        return token
    return inner


def _table_read(lines: list[str], separator: str) -> Node:
    """Back again: the head, then one object for each line."""
    heads: list[Node] = []
    for key, value in _cells(lines[0], separator, keyed=True):
        heads.append(key if value is None else [key, parsed_cell(value)])
    return [_row(heads, [parsed_cell(cell) for cell, _ in _cells(line, separator)]) for line in lines[1:]]


def parsed_cell(cell: str) -> Node:
    return parsed(cell) if cell[0] in "{[" else cell


def _cells(line: str, separator: str, *, keyed: bool = False) -> Iterator[tuple[str, str | None]]:
    """The tokens of a line; in a head, `keyed`, with what stands after `=`."""
    at = 0
    while True:
        cell, at = _cell(line, at, separator + "=" if keyed else separator)
        value = None
        if line[at : at + 1] == "=":
            value, at = _cell(line, at + 1, separator)
        yield cell, value
        if at >= len(line):
            return
        at += 1


def _cell(line: str, at: int, separators: str) -> tuple[str, int]:
    """The token at `at`, and where it ends."""
    if line[at] in '"{[':
        end = value_end(line, at)
        if end is None:
            raise NoTree("a cell has no end")
        return line[at:end], end
    end = min((found for one in separators if (found := line.find(one, at)) >= 0), default=len(line))
    bare = line[at:end]
    return (bare if _LITERAL.fullmatch(bare) else f'"{bare}"'), end

"""What is in a JSON text, to the byte? Its values as they are written, without the blanks between them.

Numbers and strings are never read: 1.10 stays 1.10, and an escape stays that escape. So what is made of a tree can be
compared with the text that it came from.
"""

from __future__ import annotations

import json
import re

Node = str | list["Node"] | dict[str, "Node"]  # a token, an array, an object by its keys as they are written

DEEPEST = 64  # levels; what is deeper is left as it is
_TOKEN = re.compile(r'[ \t\r\n]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++)', re.DOTALL)
_SCAN = json.JSONDecoder()


class NoTree(ValueError):
    """It is no JSON, too deep, or has a key twice."""


def parsed(text: str) -> Node:
    """The tree of a text that is one JSON object or array. Raises NoTree."""
    end = value_end(text, 0)
    if end is None or text[end:].strip():
        raise NoTree("it is not one JSON value")
    return _read(_TOKEN.findall(text))


def value_end(text: str, start: int) -> int | None:
    """Where the JSON value that begins at `start` ends; None: there is none."""
    try:
        return _SCAN.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _read(tokens: list[str]) -> Node:
    """Of tokens that are known to be JSON."""
    above: list[tuple[list[Node] | dict[str, Node], str]] = []  # each value around this one, and the key it has there
    key = ""
    for at, token in enumerate(tokens):
        if token in ",:":
            continue
        node: Node
        if token in "{[":
            if len(above) >= DEEPEST:
                raise NoTree(f"it is deeper than {DEEPEST} levels")
            above.append(({} if token == "{" else [], key))
            continue
        if token in "}]":
            node, key = above.pop()
        elif at + 1 < len(tokens) and tokens[at + 1] == ":":
            key = token
            continue
        else:
            node = token
        if not above:
            return node
        around = above[-1][0]
        if isinstance(around, list):
            around.append(node)
        elif key in around:
            raise NoTree(f"the key {key} stands twice")
        else:
            around[key] = node
    raise NoTree("it has no end")


def written(node: Node) -> str:
    """As JSON without blanks."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return f"[{','.join([written(one) for one in node])}]"
    members = ",".join([f"{key}:{written(one)}" for key, one in node.items()])
    return f"{{{members}}}"

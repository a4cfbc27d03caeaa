"""Does docs/security.md tell the truth? Each test that it names is there, and each of this folder is named."""

from __future__ import annotations

import ast
import re

from tests.parts import ROOT

PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
HERE = ("test_incidents", "test_owasp_api", "test_owasp_llm", "test_ssrf", "test_http", "test_headers", "test_told")
# A word of where it is tested, in place of a test.
POINTERS = re.compile(r"In (tests/|test_)")


def functions_of(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_test_that_the_page_names_is_there() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 60
    assert [f"{file}::{name}" for file, name in named if name not in functions_of(file)] == []


def test_every_row_of_both_lists_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (API\d+|LLM\d\d) [^|]+\| ([^|]+) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [
        *(f"API{n}" for n in range(1, 11)),
        *(f"LLM{n:02}" for n in range(1, 11)),
    ]
    assert all(NAMED.search(told) or "out of scope" in told for _, told in rows)


def test_what_is_tested_elsewhere_is_where_it_is_said_to_be() -> None:
    for file in HERE:
        for name, node in functions_of(f"tests/security/{file}.py").items():
            told = ast.get_docstring(node) or ""
            if not POINTERS.match(told):
                continue
            files = re.findall(r"(?:tests/[\w/]+/)?test_\w+\.py", told)
            assert files, name
            for one in files:
                assert (ROOT / one).exists() or (ROOT / "tests" / "security" / one).exists(), f"{name}: {one}"

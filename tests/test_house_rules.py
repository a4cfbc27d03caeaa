"""The house keeps its own rules: what must be easy to see stays easy to see."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tidegate"
MODULES = sorted(SOURCE.rglob("*.py"))

# Longer than MAX_LINES, and why they are better whole.
LONG: dict[str, str] = {}
# Imported only in a process of their own, which has what they need.
PROGRAMS = {
    "cli/__main__.py",
    "providers/scripted/__main__.py",
    "providers/local/server.py",
    "providers/embedder/quantise.py",
}
MAX_LINES = 60

MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MAKERS = {"list", "dict", "set", "bytearray", "defaultdict", "OrderedDict", "deque", "Counter", "WeakValueDictionary"}
MUTATORS = {
    *("append", "extend", "insert", "remove", "pop", "popitem", "clear", "sort", "reverse", "update", "setdefault"),
    *("add", "discard", "appendleft", "popleft", "move_to_end", "difference_update", "intersection_update"),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def functions(tree: ast.AST, path: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its name: Class.method, outer.inner."""
    for node in ast.iter_child_nodes(tree):
        inner = f"{path}.{node.name}".strip(".") if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else path
        if isinstance(node, FUNCTIONS):
            yield inner, node
        yield from functions(node, inner)


def own(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function itself, and not in functions within it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield node
            yield from own(node)


def called(node: ast.expr) -> str:
    """The last word of what is called or named: defaultdict of collections.defaultdict(list)."""
    if isinstance(node, ast.Call):
        return called(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def where(module: Path, node: ast.AST) -> str:
    return f"{name_of(module)}:{getattr(node, 'lineno', 0)}"


def test_the_tree_is_read() -> None:
    assert len(MODULES) > 30
    assert SOURCE / "gateway.py" in MODULES


def test_a_module_answers_a_question_in_its_first_line() -> None:
    for module in MODULES:
        said = ast.get_docstring(tree_of(module))
        assert said, f"{name_of(module)} has no docstring"
        assert said.splitlines()[0][-1] in ".?:…", f"{name_of(module)}: {said.splitlines()[0]!r} is no sentence"


def test_a_module_is_a_noun_and_says_which() -> None:
    vague = re.compile(r"utils?|helpers?|models?|managers?|common|misc|base|stuff|types|tools|lib|constants")
    assert [name_of(module) for module in MODULES if vague.fullmatch(module.stem)] == []
    assert [name_of(module) for module in MODULES if vague.fullmatch(module.parent.name)] == []


def test_nothing_is_imported_inside_a_function() -> None:
    """What is heavy or optional is a dotted name in the table of plugins.py, and is loaded there only."""
    found = [
        where(module, node)
        for module in MODULES
        if module != SOURCE / "plugins.py"
        for _, function in functions(tree_of(module))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) or called_import(node)
    ]
    assert found == []


def called_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and called(node) in ("import_module", "__import__")


def test_nothing_is_global() -> None:
    found = [
        where(module, node) for module in MODULES for node in ast.walk(tree_of(module)) if isinstance(node, ast.Global)
    ]
    assert found == []


def module_names(tree: ast.Module) -> Iterator[tuple[str, ast.expr, ast.stmt]]:
    """Every name that a module binds to a value, within `if` and `try` too."""
    for node in own(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value, node


def mutable_constants(module: Path) -> dict[str, ast.stmt]:
    return {
        name: node
        for name, value, node in module_names(tree_of(module))
        if name != "__all__"
        and (isinstance(value, MUTABLE) or (isinstance(value, ast.Call) and called(value) in MAKERS))
    }


def test_what_could_change_at_the_top_of_a_module_is_written_as_a_constant() -> None:
    found = [
        f"{where(module, node)} {name}"
        for module in MODULES
        for name, node in mutable_constants(module).items()
        if not (name.isupper() or name.startswith("_"))
    ]
    assert found == []


def test_what_could_change_at_the_top_of_a_module_never_does() -> None:
    """In its own module by its name, elsewhere as an attribute of the module."""
    constants = {name for module in MODULES for name in mutable_constants(module) if name.isupper()}
    found = []
    for module in MODULES:
        mine = set(mutable_constants(module))
        here = mine | imported(module) & constants
        found += [
            f"{where(module, node)} {name}"
            for node in ast.walk(tree_of(module))
            for changed in changes(node)
            for name in [called(changed)]
            if name in (constants if isinstance(changed, ast.Attribute) else here)
        ]
    assert found == []


def changes(node: ast.AST) -> Iterator[ast.expr]:
    """What `node` changes in place: x of x.append(…), x[…] = …, del x[…], x += …"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        yield node.func.value
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
        if isinstance(node.target, ast.Name | ast.Attribute):
            yield node.target
    yield from (target.value for target in targets if isinstance(target, ast.Subscript))


def imported(module: Path) -> set[str]:
    return {
        alias.asname or alias.name
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_no_function_remembers_between_calls() -> None:
    """A cache on a function is state of the module in disguise; what is kept is kept in the World."""
    found = [
        f"{where(module, function)} {name}"
        for module in MODULES
        for name, function in functions(tree_of(module))
        if any(called(decorator) in ("cache", "lru_cache") for decorator in function.decorator_list)
    ]
    assert found == []


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{name_of(module)}:{name}": function.end_lineno - function.lineno + 1
        for module in MODULES
        for name, function in functions(tree_of(module))
        if function.end_lineno is not None and function.end_lineno - function.lineno >= MAX_LINES
    }
    assert {name: lines for name, lines in long.items() if name not in LONG} == {}
    assert [name for name in LONG if name not in long] == [], "these have become short; take them out of the list"


def test_nothing_is_only_promised() -> None:
    found = []
    for module in MODULES:
        found += [where(module, node) for node in ast.walk(tree_of(module)) if called_or_named(node)]
        lines = enumerate(module.read_text(encoding="utf-8").splitlines(), 1)
        found += [
            f"{name_of(module)}:{number}" for number, line in lines if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
        ]
    assert found == []


def called_or_named(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and called(node) == "NotImplementedError"


def test_nothing_is_shielded() -> None:
    """With `asyncio.shield`, a second cancel leaves before the first has settled."""
    found = [
        where(module, node)
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.shield")
        or (isinstance(node, ast.ImportFrom) and node.module == "asyncio" and "shield" in [a.name for a in node.names])
    ]
    assert found == []


def test_leaving_waits_for_nothing() -> None:
    """`__aexit__` and `close()`: what must be awaited is handed to the nursery."""
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [
        f"{where(module, function)} {name}"
        for module in MODULES
        for name, function in functions(tree_of(module))
        if (function.name == "__aexit__" and any(isinstance(node, waits) for node in ast.walk(function)))
        or (function.name == "close" and isinstance(function, ast.AsyncFunctionDef))
    ]
    assert found == []


def test_no_async_generator_stands_on_the_way_of_a_reply() -> None:
    """A cancelled one is finished, and its next read is a clean, short end. Context managers and exports may be."""
    managers = ("asynccontextmanager",)
    found = [
        f"{where(module, function)} {name}"
        for module in MODULES
        for name, function in functions(tree_of(module))
        if isinstance(function, ast.AsyncFunctionDef)
        and any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own(function))
        and not any(called(decorator) in managers for decorator in function.decorator_list)
        and function.name != "rows"
    ]
    assert found == []


# --- at import

WATCH = """
import json, sys, time

events = []

def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")):
        events.append([event, str(args)[:200]])
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"):
        events.append([event, str(args)[:200]])
    elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        events.append([event, str(args)[:200]])
    elif event == "open" and isinstance(args[2], int) and args[2] & 0o3:
        events.append([event, str(args)[:200]])
    elif event in ("sqlite3.connect", "urllib.Request"):
        events.append([event, str(args)[:200]])
    elif event == "ctypes.dlopen" and args[0] is not None:  # None: Python itself, as ctypes does when it is imported
        events.append([event, str(args)[:200]])

sys.addaudithook(watch)
took = {}
for name in sys.argv[1:]:
    began = time.perf_counter()
    __import__(name)
    took[name] = round((time.perf_counter() - began) * 1000)
print(json.dumps({"events": events, "took_ms": took}))
"""


def watched(*names: str, path: Path | None = None) -> tuple[list[list[str]], dict[str, int]]:
    """Import these in a new process: what it did to the world, and how long each took."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    ended = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, *names], capture_output=True, text=True, timeout=60, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    return told["events"], told["took_ms"]


def test_the_watch_sees_what_it_is_there_to_see(tmp_path: Path) -> None:
    module = tmp_path / "rude.py"
    module.write_text(
        f"import socket\nsocket.socket().close()\nopen({str(tmp_path / 'a')!r}, 'w').close()\n", encoding="utf-8"
    )
    events, _ = watched("rude", path=tmp_path)
    assert [event for event, _ in events] == ["socket.__new__", "open"]


def test_importing_tidegate_opens_no_socket_and_writes_no_file() -> None:
    names = ["tidegate", "tidegate.app", "tidegate.cli", "tidegate.api.admin"]
    events, took_ms = watched(*names)
    assert events == []
    print("\nimported in ms, one after the other:", took_ms)


@pytest.mark.parametrize("name", ["tidegate", "tidegate.app"])
def test_how_long_an_import_takes(name: str) -> None:
    """Printed, never failing a test."""
    _, took_ms = watched(name)
    print(f"\nimport {name}: {took_ms[name]} ms")


def test_importing_any_module_of_ours_opens_no_socket_and_writes_no_file() -> None:
    names = [
        ".".join(("tidegate", *module.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for module in MODULES
        if name_of(module) not in PROGRAMS
    ]
    events, _ = watched(*names)
    assert events == []

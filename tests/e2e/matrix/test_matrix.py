"""Does every client find behind Tidegate what it finds at the model server itself? The same calls there and here.

TIDEGATE_MATRIX=1 ./run test tests/e2e/matrix                      four minutes, most of them the small model's
TIDEGATE_MATRIX=1 WRITE_CLIENTS=1 ./run test tests/e2e/matrix      the same, and docs/reference/clients.json is written
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.matrix.conftest import Where
from tests.e2e.matrix.places import Dialect, Place
from tests.parts import ROOT, client, client_python, local_model, node, npm_packages

pytestmark = [pytest.mark.timeout(400), local_model()]

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "reference" / "clients.json"
PATIENCE_S = 300  # for all calls of one client; on a quiet machine 20


class Client(NamedTuple):
    name: str  # as its script says it, too
    environment: str
    script: str
    dialect: Dialect

    @property
    def command(self) -> list[str]:
        program = node() if self.environment == "node" else client_python(self.environment)
        folder = HERE / ("npm" if self.environment == "node" else "python")
        return [str(program), str(folder / self.script), self.dialect]


CLIENTS = [
    Client("openai (Python)", "openai", "openai_sdk.py", "openai"),
    Client("openai (npm)", "node", "openai.mjs", "openai"),
    Client("ai (openai)", "node", "ai.mjs", "openai"),
    Client("pydantic-ai (openai)", "pydantic-ai", "pydantic_ai_sdk.py", "openai"),
    Client("instructor (openai)", "instructor", "instructor_sdk.py", "openai"),
    Client("langchain (openai)", "langchain", "langchain_sdk.py", "openai"),
    Client("anthropic (Python)", "anthropic", "anthropic_sdk.py", "anthropic"),
    Client("anthropic (npm)", "node", "anthropic.mjs", "anthropic"),
    Client("ai (anthropic)", "node", "ai.mjs", "anthropic"),
    Client("pydantic-ai (anthropic)", "pydantic-ai", "pydantic_ai_sdk.py", "anthropic"),
    Client("instructor (anthropic)", "instructor", "instructor_sdk.py", "anthropic"),
    Client("langchain (anthropic)", "langchain", "langchain_sdk.py", "anthropic"),
]

# Errors of Tidegate's own, and the status they have. The bare server knows no model by name and answers to any.
OWN = {"unknown_model": 404, "bad_key": 401}
RIGHT_CLASS = {
    404: ("NotFoundError", "ModelNotFoundError", "OpenAIModelNotFoundError", "AnthropicModelNotFoundError"),
    401: (
        "AuthenticationError",
        "ModelAuthenticationError",
        "OpenAIAuthenticationError",
        "AnthropicAuthenticationError",
    ),
}
ONE_CLASS = {"instructor": "InstructorRetryException", "ai": "APICallError"}  # these raise one for all statuses

# What only the client's own dialect can say: through the other one a 400 that says so.
ONE_DIALECT = {
    "logprobs", "several_answers", "unknown_fields", "responses", "responses_streamed", "completions",
}  # fmt: skip
# Where the other dialect's answer may be another: the bare server's messages take no schema and its streams of them do
# not say what was heard, its chat takes one; and tokens are counted by Anthropic's dialect alone, else estimated.
OTHER = {
    "json_schema", "structured_by_schema", "count_tokens",
    "langchain (anthropic)/streamed",
}  # fmt: skip

Told = dict[str, dict[str, dict[str, Any]]]  # call → place → what came of it


@pytest.fixture(scope="package")
def told() -> dict[str, Told]:
    return {}


def ask(asking: Client, places: list[Place]) -> Told:
    """Everything that the client asks, at each place."""
    environment = {"PATH": os.environ["PATH"], "TARGETS": json.dumps([place._asdict() for place in places])}
    done = subprocess.run(asking.command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found: Told = {}
    for line in map(json.loads, done.stdout.splitlines()):
        assert line["client"] == asking.name
        found.setdefault(line["call"], {})[line["target"]] = line
    return found


@pytest.mark.parametrize(
    "asking",
    [
        pytest.param(
            one,
            id=one.name,
            marks=[client(one.environment), *([npm_packages()] if one.environment == "node" else [])],
        )
        for one in CLIENTS
    ],
)
def test_what_a_client_passes_on_the_bare_server_it_passes_through_tidegate(
    asking: Client, where: Where, told: dict[str, Told]
) -> None:
    found = told[asking.name] = ask(asking, where[asking.dialect])
    wrong = [
        f"{call} by {name}: {complaint}\n    bare {places['bare']}\n    {name} {places[name]}"
        for call, places in found.items()
        for name, check in (("same", same), ("other", other))
        for complaint in check(asking, call, places["bare"], places[name])
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(places["bare"]["ok"] for places in found.values()) > len(found) // 2


def same(asking: Client, call: str, bare: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What is wrong with what a provider of the client's own dialect gave through Tidegate."""
    if call in OWN:
        return refused(asking, here, OWN[call])
    if bare["ok"]:
        return [] if here["ok"] and here["told"] == bare["told"] else ["not what the bare server gave"]
    if here["ok"] or here["error"] != bare["error"]:
        return ["not the error of the bare server"]
    return [] if family(here) == family(bare) else ["a status of another family"]


def other(asking: Client, call: str, bare: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The same for a provider of the other dialect."""
    if call in OWN:
        return refused(asking, here, OWN[call])
    if call in ONE_DIALECT:
        return [] if here.get("status") == 400 else ["the other dialect cannot say it, and Tidegate did not say so"]
    if call in OTHER or f"{asking.name}/{call}" in OTHER:
        return ["an error of Tidegate's own"] if family(here) == 5 else []
    if bare["ok"]:
        return [] if here["ok"] and here["told"] == bare["told"] else ["not what the bare server gave"]
    return ["the bare server refuses it"] if here["ok"] and bare["status"] else []


def refused(asking: Client, here: dict[str, Any], status: int) -> list[str]:
    classes = (ONE_CLASS.get(asking.name.split()[0]), *RIGHT_CLASS[status])
    right = not here["ok"] and here["status"] == status and here["error"] in classes
    return [] if right else [f"not the client's error for {status}"]


def family(line: dict[str, Any]) -> int:
    return (line.get("status") or 0) // 100


# --- LangChain's own tests of a chat model ---------------------------------------------------------------------------


# These take more wit than the small model has. They fail on the bare server, so they would be asked for nothing.
TOO_HARD = "tool_calling or bind_runnables or tool_choice or unicode_tool_call or pydantic_2_v1 or optional_param"


def suite(dialect: Dialect, place: Place, only: set[str]) -> set[str]:
    """Which of them pass; `only` these are run, when it names any."""
    file = HERE / "python" / "langchain_suite.py"
    options = ["-q", "-rA", "--tb=line", "-p", "no:cacheprovider", "-c", os.devnull, "-k", f"not ({TOO_HARD})"]
    options += ["--confcutdir", str(file.parent), "--rootdir", str(file.parent), "-o", "asyncio_mode=auto"]
    # One loop for all of them, since they share a pool of connections.
    options += [f"-oasyncio_default_{kind}_loop_scope=session" for kind in ("fixture", "test")]
    name = "TestOpenAI" if dialect == "openai" else "TestAnthropic"
    environment = {
        **{"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        **{"DIALECT": dialect, "TARGET": json.dumps(place._asdict())},
    }
    tests = sorted(f"{file}::{name}::{test}" for test in only) or [f"{file}::{name}"]
    command = [str(client_python("langchain")), "-m", "pytest", *options, *tests]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("PASSED ")]
    return {line.partition(f"::{name}::")[2] for line in lines}


@client("langchain")
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_what_passes_of_langchains_tests_on_the_bare_server_passes_through_tidegate(
    dialect: Dialect, where: Where
) -> None:
    bare, here, _ = where[dialect]
    passed = suite(dialect, bare, set())
    assert len(passed) >= 15, passed
    print(f"\nlangchain-tests, {dialect}: {len(passed)} pass on the bare server", end="")
    lost = passed - suite(dialect, here, passed)
    # Should a test have passed by luck, it will hardly have the same luck again.
    assert not lost or not lost & suite(dialect, bare, lost)


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_of_clients_names_what_was_asked(told: dict[str, Told]) -> None:
    if os.environ.get("WRITE_CLIENTS"):
        PAGE.write_text(json.dumps([page(one, told[one.name]) for one in CLIENTS], indent=1) + "\n", encoding="utf-8")
    written = {one["name"]: one for one in json.loads(PAGE.read_text(encoding="utf-8"))}
    assert list(written) == [one.name for one in CLIENTS]
    for one in CLIENTS:
        if one.name in told:  # others were skipped, or not asked for
            found, kept = page(one, told[one.name]), written[one.name]
            advice = f"{one.name}: write docs/reference/clients.json anew (see the head of this file), then ./run docs"
            assert (found["version"], list(found["calls"])) == (kept["version"], list(kept["calls"])), advice


def page(asking: Client, found: Told) -> dict[str, Any]:
    """Of each call and place: ok, or the class of the error."""
    calls = {
        call: {name: "ok" if line["ok"] else line["error"] for name, line in places.items()}
        for call, places in found.items()
    }
    version = next(iter(next(iter(found.values())).values()))["version"]
    return {"name": asking.name, "version": version, "dialect": asking.dialect, "calls": calls}

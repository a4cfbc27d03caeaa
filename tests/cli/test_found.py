"""init, doctor and chat: what a person does who has just arrived."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
import yaml
from click.testing import CliRunner

from tidegate import config
from tidegate.cli import main
from tidegate.providers.discovery import VENDORS

SCRIPTED = "providers: {{demo: {{type: scripted, script: {{text: {text}}}}}}}\nstorage: {{data_dir: {data}}}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, and an environment without anybody's keys."""
    monkeypatch.chdir(tmp_path)
    for vendor in VENDORS:
        for name in vendor.keys:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEGATE_API_PORT", "0")
    return tmp_path


def run(*words: str, **options: str):
    return CliRunner().invoke(main, list(words), **options)


def test_init_writes_what_is_found_and_no_key(here, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    done = run("init")
    assert done.exit_code == 0, done.output
    text = (here / "tidegate.yaml").read_text()
    assert "sk-ant-secret" not in text and "ANTHROPIC_API_KEY is set" in text
    assert yaml.safe_load(text)["providers"]["anthropic"] == {"type": "anthropic", "keys": ["env:ANTHROPIC_API_KEY"]}
    assert run("check").exit_code == 0


def test_init_never_writes_over_a_file(here):
    (here / "tidegate.yaml").write_text("api: {port: 1}\n")
    done = run("init")
    assert done.exit_code == 1 and "is there already" in done.output
    assert (here / "tidegate.yaml").read_text() == "api: {port: 1}\n"


def test_doctor_finds_nothing_where_all_is_well(here):
    (here / "tidegate.yaml").write_text(SCRIPTED.format(text="well", data=here / "data"))
    done = run("doctor")
    assert done.exit_code == 0, done.output
    assert "ILL" not in done.output and "provider demo: answers" in done.output


def test_doctor_says_what_is_wrong_and_how_to_mend_it(here):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()[1]
        unused.close()
        (here / "tidegate.yaml").write_text(
            f"api: {{port: {taken.getsockname()[1]}}}\n"
            f"storage: {{data_dir: {here / 'file' / 'data'}}}\n"
            f"providers: {{away: {{type: openai, base_url: 'http://127.0.0.1:{closed}/v1', keys: [sk-secret]}}}}\n"
        )
        (here / "file").write_text("not a folder")
        done = CliRunner(env={"TIDEGATE_API_PORT": None}).invoke(main, ["doctor"])
    assert done.exit_code == 1
    for word in ("cannot listen on", "data folder", "provider away", "mend: check providers.away.base_url"):
        assert word in done.output, done.output
    assert "sk-secret" not in done.output and "Traceback" not in done.output


def test_doctor_knows_a_route_whose_owner_is_not_there(here):
    text = SCRIPTED.format(text="well", data=here / "data")
    (here / "tidegate.yaml").write_text(
        f"{text}\nroutes: {{fast: {{owner: search, targets: [{{provider: demo, model: m}}]}}}}\n"
    )
    done = run("doctor")
    assert done.exit_code == 1 and "its owner, team 'search', is not there" in done.output, done.output
    assert "mend: tidegate teams create search" in done.output
    assert run("teams", "create", "search").exit_code == 0
    assert "each team that owns one is there" in run("doctor").output


def test_doctor_knows_until_when_the_certificate_is_good(here, tmp_path):
    soon = trustme.CA().issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=3, minutes=1))
    soon.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    data = f"storage: {{data_dir: {here / 'data'}}}\n"
    text = "api: {tls: {certificate: FILE}}\nproviders: {main: {type: scripted}}\n" + data
    (here / "tidegate.yaml").write_text(text.replace("FILE", str(tmp_path / "cert.pem")))
    done = run("doctor")
    assert done.exit_code == 1 and "for 3 days\n     mend: renew it; it is taken up while serving" in done.output
    (here / "tidegate.yaml").write_text(text.replace("FILE", "none.pem"))
    assert "api.tls.certificate: none.pem cannot be read" in run("doctor").output


def test_doctor_names_the_line_of_a_configuration_that_cannot_be_used(here):
    (here / "tidegate.yaml").write_text("api:\n  prot: 1\n")
    done = run("doctor")
    assert done.exit_code == 1 and "tidegate.yaml:2: api.prot: no such key; did you mean 'port'?" in done.output


class Strict(BaseHTTPRequestHandler):
    """A provider that accepts no key."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        """Nobody is to read this."""


def test_doctor_knows_a_key_that_is_not_accepted(here):
    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as strict:
        threading.Thread(target=strict.serve_forever).start()
        (here / "tidegate.yaml").write_text(
            f"storage: {{data_dir: {here / 'data'}}}\n"
            "providers: {strict: {type: openai, keys: [sk-old], "
            f"base_url: 'http://127.0.0.1:{strict.server_port}/v1'}}}}\n"
        )
        done = run("doctor")
        strict.shutdown()
    assert done.exit_code == 1
    assert "provider strict: it does not accept the key (HTTP 401)" in done.output
    assert "mend: put a valid key into providers.strict.keys" in done.output


async def test_chat_asks_once_and_says_what_came(house, monkeypatch):
    house.provider("main").says("hello there")
    async with house.serve() as url:
        done = await asyncio.to_thread(run, "chat", "--url", url, "--key", house.key, "Say", "hello.")
    assert done.exit_code == 0, done.output
    assert done.output == "hello there\n"


async def test_chat_keeps_what_was_said_before(house):
    house.provider("main").always("aha")
    async with house.serve() as url:
        words = ("chat", "--url", url, "--key", house.key, "--model", "fast")
        done = await asyncio.to_thread(run, *words, input="one\ntwo\n")
    assert "talking to fast" in done.output
    second = json.loads(house.provider("main").requests[-1].body)
    assert [message["content"] for message in second["messages"]] == ["one", "aha", "two"]


async def test_chat_says_what_is_wrong(house):
    async with house.serve() as url:
        for words, said in (
            (("--url", url, "--key", "tg_wrong", "hi"), "HTTP 401"),
            (("--url", url, "--key", house.key, "--model", "fsat", "hi"), "did you mean 'fast'?"),
            (("--url", "http://127.0.0.1:9", "--key", "k", "hi"), "is it running? tidegate serve"),
            (("--url", "nonsense", "--key", "k", "hi"), "--url must be like"),
            (("hi",), "a key is needed"),
        ):
            done = await asyncio.to_thread(CliRunner(env={"TIDEGATE_KEY": ""}).invoke, main, ["chat", *words])
            assert done.exit_code == 1 and said in done.output, done.output
            assert "Traceback" not in done.output


def test_what_is_found_can_be_configured(here):
    assert "local" in config.parse("", {}).providers

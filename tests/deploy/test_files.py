"""Is what lies in deploy/ fit to be taken as it is? Every version pinned, no secret in clear, our paths and keys."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_chart import SECRETS, SETS, rendered
from tests.parts import ROOT, client_python, optional, optional_debian
from tidegate.config import parse

DEPLOY = ROOT / "deploy"
FILES = [one for one in DEPLOY.rglob("*") if one.is_file() and one.suffix in (".yaml", ".service", ".conf", ".sh", "")]
CLOSE_S = 7.0  # two for last events, five for connections (app.LAST_EVENTS_S, server.UNFINISHED_S)
CONFIGURATIONS = sorted(
    one for one in DEPLOY.rglob("*tidegate.yaml") if "helm" not in one.parts and one.name != "envoy.yaml"
)
COMPOSED = sorted(DEPLOY.glob("compose/*.yaml"))


def name(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def composed(file: str) -> Any:
    return yaml.safe_load((DEPLOY / "compose" / file).read_text())


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=name)
def test_every_configuration_is_read_by_our_own_parser(file: Path) -> None:
    parse(file.read_text(), SECRETS, str(file))


def test_every_image_names_its_version() -> None:
    found = re.compile(r"^\s*(?:- )?(?:image: |FROM |ARG BASE=)(\S+)$", re.MULTILINE)
    images = [(name(file), image) for file in FILES for image in found.findall(file.read_text())]
    floating = [one for one in images if "{" not in one[1] and not re.search(r":[\w.-]*\d+\.\d+|@sha256:", one[1])]
    assert len(images) >= 8 and floating == []


def test_no_secret_stands_in_clear() -> None:
    said = re.compile(r"(?i)^\s*[\w-]*(?:password|api_?key|peppers?|admin_key|token)\s*[:=]\s*(\S.*)$", re.MULTILINE)
    elsewhere = re.compile(r"^\$\{|^\"?\$|^env:|^!Sub|^\{|^\[?\"?env:")
    found = [(name(one), text) for one in FILES for text in said.findall(one.read_text()) if not elsewhere.match(text)]
    assert found == []


@pytest.mark.parametrize("file", ["one.yaml", "scaled.yaml"])
def test_composed_services_have_what_they_name_and_time_to_leave(file: str) -> None:
    whole = composed(file)
    services = whole["services"]
    for one in services.values():
        assert {each["source"] for each in one.get("configs", [])} <= set(whole["configs"])
        assert set(one.get("depends_on", {})) <= set(services)
        assert "no-new-privileges:true" in one["security_opt"]
    for each in whole["configs"].values():
        assert (DEPLOY / "compose" / each["file"]).exists()
    tidegate = services["tidegate"]
    assert tidegate["read_only"] and tidegate["cap_drop"] == ["ALL"]
    drain = parse((DEPLOY / "compose" / whole["configs"]["tidegate"]["file"]).read_text(), SECRETS).api.drain
    assert float(tidegate["stop_grace_period"].rstrip("s")) >= drain + CLOSE_S


@optional_debian("TIDEGATE_DEPLOY", "docker-compose")
@pytest.mark.parametrize("file", ["one.yaml", "scaled.yaml"])
def test_compose_itself_reads_them_and_wants_each_secret_to_be_said(file: str, tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / file).read_text()
    (tmp_path / file).write_text(re.sub(r"^name: .*$", "", text, flags=re.MULTILINE))  # Debian's 1.29 is older than it
    command = ["docker-compose", "--file", str(tmp_path / file), "config", "--quiet"]
    wanted = dict.fromkeys(re.findall(r"\$\{(\w+):\?", text), "/said")
    for left_out in (None, *wanted):
        said = {name: value for name, value in wanted.items() if name != left_out}
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]} | said)
        assert (done.returncode == 0) == (left_out is None), done.stderr


def test_the_nginx_of_the_composed_is_the_one_that_is_tested() -> None:
    def lines(path: str) -> list[str]:
        return [line for line in (DEPLOY / path).read_text().splitlines() if not line.startswith("#")]

    ours = [line.replace("127.0.0.1:8080", "tidegate:8080") for line in lines("proxy/nginx.conf")]
    assert ours == lines("compose/nginx.conf")


def test_the_service_of_a_machine_is_nobody_and_has_time_to_leave() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "tidegate.service")
    service = unit["Service"]
    assert service["DynamicUser"] == "yes" and service["ProtectSystem"] == "strict"
    assert float(service["TimeoutStopSec"]) >= parse("", {}).api.drain + CLOSE_S


def test_cloud_run_asks_our_paths_and_is_gone_before_it_is_killed() -> None:
    (one,) = yaml.safe_load(_cloud_run("service.yaml"))["spec"]["template"]["spec"]["containers"]
    assert one["livenessProbe"]["httpGet"]["path"] == "/health" and one["startupProbe"]["httpGet"]["path"] == "/ready"
    variables = {each["name"]: each.get("value") for each in one["env"]}
    assert float(str(variables["TIDEGATE_API_DRAIN"]).rstrip("s")) + CLOSE_S <= 10
    assert set(re.findall(r"env:(\w+)", _cloud_run("tidegate.yaml"))) <= set(variables)


def _cloud_run(file: str) -> str:
    return (DEPLOY / "cloudrun" / file).read_text()


def test_the_page_on_cloud_run_makes_each_secret_that_the_service_names() -> None:
    named = set(re.findall(r"(?:secretKeyRef: \{name|secretName): (tidegate-[\w-]+)", _cloud_run("service.yaml")))
    page = (ROOT / "docs" / "deploy" / "containers.md").read_text()
    loop = re.search(r"for name in ([\w -]+); do gcloud secrets create tidegate-\$name", page)
    assert loop is not None and "gcloud secrets create tidegate-config " in page
    assert named == {"tidegate-config"} | {f"tidegate-{name}" for name in loop[1].split()}


def test_all_that_the_image_is_made_of_is_sent_to_who_builds_it() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    wanted = {one for words in copied for one in words.split()}
    assert sent == wanted and all((ROOT / one).exists() for one in sent)


@optional("TIDEGATE_DEPLOY", "checkov")
def test_checkov_finds_nothing_but_what_is_skipped_with_a_reason(tmp_path: Path) -> None:
    for file, one in zip(SETS, rendered(*(yaml.safe_load(each.read_text()) for each in SETS)), strict=True):
        (tmp_path / file.name).write_text(yaml.safe_dump_all(one["manifests"]))
    shutil.copy(DEPLOY / "docker" / "Dockerfile", tmp_path)
    command = [client_python("checkov").with_name("checkov"), "--config-file", DEPLOY / "checkov.yaml"]
    done = subprocess.run([*command, "--directory", tmp_path, "--output", "json"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    passed = {one["check_type"]: one["summary"]["passed"] for one in json.loads(done.stdout)}
    assert passed["kubernetes"] > 500 and passed["dockerfile"] > 50


@optional("TIDEGATE_DEPLOY", "deploy")
def test_tools_of_others_find_nothing(tmp_path: Path) -> None:
    tools = client_python("deploy").parent
    unit = (DEPLOY / "systemd" / "tidegate.service").read_text().replace("/opt/tidegate/bin/tidegate", "/bin/true")
    (tmp_path / "tidegate.service").write_text(unit)
    for command in (
        [tools / "cfn-lint", DEPLOY / "lambda" / "template.yaml"],
        [tools / "hadolint", "--failure-threshold", "warning", DEPLOY / "docker" / "Dockerfile"],
        ["systemd-analyze", "verify", tmp_path / "tidegate.service"],
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", tmp_path / "tidegate.service"],
    ):
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"}
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

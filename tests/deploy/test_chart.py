"""What does the chart come to, what does it refuse? The schema here; with TIDEGATE_DEPLOY=1 Helm, Kubernetes too."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.parts import ROOT, client_python, optional
from tidegate.config import parse

CHART = ROOT / "deploy" / "helm" / "tidegate"
SETS = sorted((ROOT / "deploy" / "helm" / "values").glob("*.yaml"))
SECRETS = {name: f"{name.lower()}-of-thirty-two-characters-at-least" for name in ("TIDEGATE_PEPPER", "OPENAI_API_KEY")}
SECRETS |= {"DATABASE_URL": "postgresql://u@127.0.0.1:9/n", "VALKEY_URL": "valkey://127.0.0.1:9/0"}

IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a key that nobody knows": {"replica": 3},
    "a floating tag": {"image": {"tag": "latest"}},
    "nobody": {"replicas": 0},
    "workers without shared counters": {"config": {"storage": {"valkey": ""}}},
    "a password in clear": {"config": {"storage": {"database": "postgresql://user:secret@host/name"}}},
    "a password of Valkey in clear": {"config": {"storage": {"valkey": "valkey://:secret@host:6379/0"}}},
    "a provider's key in clear": {"config": {"providers": {"main": {"keys": ["sk-in-clear"]}}}},
    "a policy that lets everybody in": {"networkPolicy": {"from": []}},
    "no room for rows": {"spoolSize": "0Gi"},
    "a moment that is none": {"serviceMonitor": {"enabled": True, "interval": "often"}},
    "an address that no probe finds": {"config": {"api": {"port": 9000}}},
    "a drain that cannot be added up": {"config": {"api": {"drain": "half a minute"}}},
    "no secret": {"secretName": ""},
    "an ingress without a name": {"ingress": {"enabled": True, "tlsSecret": "t"}},
    "a canary without a version": {"canary": {"enabled": True}},
    "a canary that is more than all": {"canary": {"weight": 101}},
}
# What only the templates can see.
CONTRADICTING: dict[str, dict[str, Any]] = {
    "fewer at most than at least": {"autoscaling": {"enabled": True, "min": 5, "max": 2}},
    "a canary that nothing weighs": {"canary": {"enabled": True, "tag": "0.1.1"}},
    "more rows than there is room for": {"config": {"storage": {"max_spool": "2GiB"}}},
    "nodes that can never be drained": {"replicas": 2, "minAvailable": 2},
}


def over(base: Any, more: Any) -> Any:
    """As Helm lays values over a chart's own."""
    if not (isinstance(base, dict) and isinstance(more, dict)):
        return more
    return base | {key: over(base.get(key), value) for key, value in more.items()}


def values(more: Any) -> Any:
    return over(yaml.safe_load((CHART / "values.yaml").read_text()), more or {})


@pytest.fixture(scope="module")
def schema() -> Any:
    return jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))


@pytest.mark.parametrize("file", SETS, ids=lambda file: str(file.stem))
def test_values_that_are_possible_are_taken_and_their_configuration_is_ours(file: Any, schema: Any) -> None:
    merged = values(yaml.safe_load(file.read_text()))
    schema.validate(merged)
    parse(yaml.safe_dump(merged["config"]), SECRETS)


@pytest.mark.parametrize("why", IMPOSSIBLE)
def test_values_that_are_impossible_are_refused(why: str, schema: Any) -> None:
    assert not schema.is_valid(values(IMPOSSIBLE[why]))


def rendered(*sets: Any) -> list[dict[str, Any]]:
    command = [str(client_python("deploy")), str(ROOT / "tests" / "deploy" / "render.py"), str(CHART)]
    asked = "".join(json.dumps(one or {}) + "\n" for one in sets)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@optional("TIDEGATE_DEPLOY", "deploy")
def test_each_set_of_values_renders_to_what_kubernetes_knows() -> None:
    made = dict(
        zip([file.stem for file in SETS], rendered(*(yaml.safe_load(one.read_text()) for one in SETS)), strict=True)
    )
    assert len(made) == 6
    for name, one in made.items():
        assert one.get("wrong") == [], (name, one)
        judge({f"{part['kind']}/{part['metadata']['name']}": part for part in one["manifests"]})
    kinds = {name: {part["kind"] for part in one["manifests"]} for name, one in made.items()}
    assert {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "Job"} <= kinds[
        "grows"
    ]
    canary = [one for one in made["canary"]["manifests"] if one["metadata"]["name"] == "gate-canary"]
    assert {one["kind"] for one in canary} == {"Deployment", "Service", "Ingress"}
    weights = [one["metadata"]["annotations"].get("nginx.ingress.kubernetes.io/canary-weight") for one in canary[2:]]
    assert weights == ["5"]


def judge(parts: dict[str, Any]) -> None:
    """What holds of every release: nobody's rights, our paths, and time enough to leave."""
    pod = parts["Deployment/gate"]["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and one["securityContext"]["readOnlyRootFilesystem"]
    assert one["readinessProbe"]["httpGet"]["path"] == "/ready" and one["livenessProbe"]["httpGet"]["path"] == "/health"
    settings = parse(parts["ConfigMap/gate"]["data"]["tidegate.yaml"], SECRETS)
    slept = one["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= slept + float(settings.api.drain) + 7
    assert not one["image"].endswith(":latest") and ":" in one["image"]


@optional("TIDEGATE_DEPLOY", "deploy")
def test_helm_refuses_what_is_impossible_or_contradicts_itself_and_says_why() -> None:
    for why, one in zip(
        [*IMPOSSIBLE, *CONTRADICTING], rendered(*IMPOSSIBLE.values(), *CONTRADICTING.values()), strict=True
    ):
        assert one.get("refused"), why
        assert "secret@" not in one["refused"] and "sk-in-clear" not in one["refused"], why

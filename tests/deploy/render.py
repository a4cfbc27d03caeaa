"""What does a chart come to? `python render.py CHART`: values in, one JSON a line; and out, what each renders to.

Run by the Python of .venvs/deploy, which has Helm as a library, and the schemas of Kubernetes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import kubernetes_validate
import yaml
from helm_python import Chart, HelmError

KNOWN = ("ServiceMonitor",)  # of operators: no schema of Kubernetes says what they are


def rendered(chart: Any, values: Any) -> dict[str, Any]:
    try:
        texts = chart.render(values=values, name="gate", namespace="llm")
    except HelmError as wrong:
        return {"refused": str(wrong)}
    found = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
    wrong = []
    for one in found:
        if one["kind"] not in KNOWN:
            try:
                kubernetes_validate.validate(one, "1.31", strict=True)
            except kubernetes_validate.ValidationError as said:
                wrong.append(f"{one['kind']}: {said.message}")
    return {"manifests": found, "wrong": wrong}


if __name__ == "__main__":
    with Chart.load(sys.argv[1]) as loaded:
        for line in sys.stdin:
            print(json.dumps(rendered(loaded, json.loads(line))), flush=True)

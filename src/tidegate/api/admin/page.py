"""What is there, for a person to read? The OpenAPI document as a page."""

from __future__ import annotations

import html
from typing import Any

from tidegate import __version__


def page(document: dict[str, Any]) -> str:
    """The OpenAPI document for a person to read, without scripts or anything from elsewhere."""
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            names += _fields(document, body)
            rows.append(
                f"<tr><td><b>{method.upper()}</b></td><td><code>{html.escape(path)}</code></td>"
                f"<td>{html.escape(operation.get('description', ''))}</td><td>{html.escape(', '.join(names))}</td></tr>"
            )
    return (
        "<!doctype html><meta charset=utf-8><title>Tidegate API</title>"
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem}td{padding:.4rem .8rem .4rem 0;"
        "vertical-align:top;border-top:1px solid #ccc}</style>"
        f"<h1>Tidegate {__version__}</h1><p>Models are asked at <code>/v1/chat/completions</code>, "
        "<code>/v1/completions</code> and <code>/v1/models</code>, as OpenAI's clients do. Besides them:</p>"
        f"<table>{''.join(rows)}</table><p>For machines: <a href=/openapi.json>openapi.json</a></p>"
    )


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    for choice in (schema, *schema.get("anyOf", ())):
        name = choice.get("$ref", "").rpartition("/")[2]
        if name:
            return list(document["components"]["schemas"][name]["properties"])
    return []

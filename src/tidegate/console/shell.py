"""What does a browser get before any script has run? A page with its navigation, or the one to log in: plain HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidegate import __version__
from tidegate.console.files import Files
from tidegate.core.call import Principal
from tidegate.core.limits import Role

ROOT = "/console"
CURRENT = ' aria-current="page"'
LOOKING: tuple[Role, ...] = ("admin", "manager", "viewer")
EVERYBODY: tuple[Role, ...] = ("admin", "manager", "member", "viewer")
ASKING: tuple[Role, ...] = ("admin", "manager", "member")


class Page(NamedTuple):
    """One that the navigation has. `name` is its path, its script's name and its word in strings.json."""

    name: str
    roles: tuple[Role, ...]


PAGES = (
    Page("overview", LOOKING),
    Page("requests", EVERYBODY),
    Page("playground", ASKING),
    Page("prompts", EVERYBODY),
    Page("experiments", LOOKING),
    Page("keys", LOOKING),
    Page("batches", LOOKING),
    Page("cache", ("admin",)),
    Page("evals", ("admin",)),
    Page("whatif", LOOKING),
    Page("targets", ("admin",)),
    Page("audit", ("admin",)),
    Page("settings", ("admin",)),
)

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# `same-origin` and not `no-referrer`: with that one, browsers say `Origin: null` with the form that logs in.
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def pages_of(principal: Principal) -> list[str]:
    """What this role has to see, in order; the first is where it begins."""
    return [page.name for page in PAGES if principal.role in page.roles]


def console(files: Files, principal: Principal, at: str, csrf: str, until_s: int) -> str:
    """The page that scripts fill; `at`: the name of the one that is shown."""
    said = files.strings
    names = pages_of(principal)
    links = "".join(
        f'<a href="{ROOT}/{name}"{CURRENT if name == at else ""}>{html.escape(said["pages"][name])}</a>'
        for name in names
    )
    session = {
        "csrf": csrf,
        "until": until_s * 1000,
        "name": principal.name,
        "role": principal.role,
        "pages": names,
        "version": __version__,
    }
    who = html.escape(f"{principal.name} · {principal.role}")
    missing = "" if files.made else f'<p class="notice">{html.escape(said["not_made"])}</p>'
    body = (
        f'<a class="skip" href="#page">{html.escape(said["skip"])}</a>'
        f'<header><a class="name" href="{ROOT}">Tidegate</a>'
        f'<nav aria-label="{html.escape(said["navigation"])}">{links}</nav>'
        f'<form method="post" action="{ROOT}/logout"><span class="who">{who}</span>'
        f'<input type="hidden" name="csrf" value="{csrf}"><button>{html.escape(said["log_out"])}</button>'
        "</form></header>"
        '<main id="page" tabindex="-1">'
        f'<noscript><p class="notice">{html.escape(said["no_script"])}</p></noscript>{missing}</main>'
    )
    return _document(files, said["pages"].get(at, "Tidegate"), body, session)


def login(files: Files, following: str, wrong: str = "") -> str:
    """`wrong`: why it was not taken."""
    said = files.strings["login"]
    notice = f'<p class="notice" role="alert">{html.escape(wrong)}</p>' if wrong else ""
    body = (
        f'<main class="login"><h1>Tidegate</h1>{notice}<form method="post" action="{ROOT}/login">'
        f'<input type="hidden" name="next" value="{html.escape(following)}">'
        f'<label for="key">{html.escape(said["key"])}</label>'
        '<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>'
        f"<button>{html.escape(said['go'])}</button></form>"
        f"<p>{html.escape(said['where'])} <code>{html.escape(said['command'])}</code></p></main>"
    )
    return _document(files, said["title"], body)


def _document(files: Files, title: str, body: str, session: Mapping[str, Any] | None = None) -> str:
    script = f'<script type="module" src="{files.path("console.js")}"></script>' if session and files.made else ""
    told = html.escape(json.dumps(session)) if session else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)} · Tidegate</title>"
        f'<link rel="icon" href="{files.path("icon.svg")}"><link rel="stylesheet" href="{files.path("console.css")}">'
        + (f'<meta name="tidegate-session" content="{told}">' if told else "")
        + f"{script}</head><body>{body}</body></html>"
    )


def problem(message: str, code: str) -> bytes:
    """An error of the console itself, in the words of the API."""
    return msgspec.json.encode({"error": {"message": message, "type": "console_error", "param": None, "code": code}})

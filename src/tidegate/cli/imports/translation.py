"""What is another gateway's configuration in our words? What has no place in them is said, and never dropped unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from tidegate.providers.discovery import VENDORS

What = Literal["taken", "changed", "left out"]
KNOWN = {one.name: one for one in VENDORS}
SAME = {
    **{"google": "gemini", "x-ai": "xai", "mistral-ai": "mistral"},
    **dict.fromkeys(("together-ai", "together_ai"), "together"),
    **dict.fromkeys(("fireworks-ai", "fireworks_ai"), "fireworks"),
}


class Line(NamedTuple):
    what: What
    path: str
    said: str = ""


class Translation:
    """One configuration under way. `reference`: how it names a variable of the environment."""

    reference: ClassVar[str | None] = None
    no_place: ClassVar[Mapping[str, str]] = {}

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.tree = tree
        self.report: dict[str, Line] = {}
        self.providers: dict[str, dict[str, Any]] = {}
        self.routes: dict[str, dict[str, Any]] = {}
        self.upstream: dict[str, Any] = {}

    def say(self, what: What, path: str, said: str = "") -> None:
        self.report[path] = Line(what, path, said)

    def vendor(self, name: str, base: str | None, kind: str | None = None) -> dict[str, Any] | None:
        """A provider's settings but for its keys; None where nobody here speaks its language.

        `kind`: whose API it has, where that is known.
        """
        known = KNOWN.get(SAME.get(name, name))
        if kind is None and known is None:
            return None
        settings: dict[str, Any] = {"type": kind or (known.type if known else "openai")}
        if base or (known and known.base_url):
            settings["base_url"] = self.plain(base or (known.base_url if known else None) or "")
        if known and known.vendor:
            settings["vendor"] = known.vendor
        return settings

    def named(self, name: str, settings: dict[str, Any]) -> str:
        """The provider that has these settings, made where there is none."""
        for there, told in self.providers.items():
            if told == settings:
                return there
        name = name if name not in self.providers else f"{name}-{len(self.providers) + 1}"
        self.providers[name] = settings
        return name

    def plain(self, text: str) -> str:
        if self.reference and text.startswith(self.reference):
            return f"env:{text.removeprefix(self.reference)}"
        return text

    def secret(self, path: str, whose: str, text: str) -> str:
        if self.plain(text) != text:
            self.say("taken", path)
            return self.plain(text)
        variable = f"{re.sub(r'[^A-Z0-9]', '_', whose.upper())}_KEY_{len(self.providers) + 1}"
        self.say("changed", path, f"was a secret in the file: put it into the environment as {variable}")
        return f"env:{variable}"

    def result(self) -> tuple[dict[str, Any], list[Line]]:
        """Ours, and what became of each key of theirs, those that nobody has spoken of among them."""
        for path in leaves(self.tree):
            if not any(path == said or path.startswith((f"{said}.", f"{said}[")) for said in self.report):
                self.say("left out", path, self.no_place.get(path.rpartition(".")[2], "has no place in Tidegate's"))
        found: dict[str, Any] = {"upstream": self.upstream} if self.upstream else {}
        found |= {"providers": self.providers} | ({"routes": self.routes} if self.routes else {})
        return found, list(self.report.values())


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Each of them by its path; never its value, which may be a secret."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}".strip("."))
    elif isinstance(value, list) and value and any(isinstance(item, dict) for item in value):
        for at, item in enumerate(value):
            yield from leaves(item, f"{path}[{at}]")
    else:
        yield path

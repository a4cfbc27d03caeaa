"""What is configured, value by value, and who has said so? For people: a secret is shown by where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidegate.config import Config, plain
from tidegate.config.reading import ENVIRONMENT_PREFIX, Configured, Resolved
from tidegate.core.settings import Setting
from tidegate.core.values import Secret
from tidegate.stages.guardrails import Guarded
from tidegate.upstream.shrink import Plugged

DEFAULT, FILE = "default", "file"
OVERRIDDEN = ("api", "storage")  # by the environment


def settings(config: Config, environment: Mapping[str, str]) -> list[Setting]:
    """All of it, in the order of the configuration."""
    found = list(_walk(config, "", Config()))
    return [_overridden(one, environment) for one in found]


def _walk(value: Any, path: str, default: Any) -> Iterator[Setting]:
    """`default`: what it is where nobody says anything; NODEFAULT: somebody must."""
    if isinstance(value, Secret):
        yield Setting(path, repr(value), FILE if value.source == Secret.source_in_file else value.source)
    elif isinstance(value, Configured) and value.why:
        yield Setting(path, plain(value)["type"], f"found: {value.why}")
    elif isinstance(value, Configured | Guarded | Plugged):
        yield Setting(f"{path}.type", value.type, FILE)
        yield from _walk(value.settings, path, msgspec.NODEFAULT)
        if isinstance(value, Guarded):
            yield Setting(f"{path}.action", value.action, FILE)
    elif isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(type(value)):
            inner = f"{path}.{field.name}".lstrip(".")
            of = getattr(default, field.name) if type(default) is type(value) else _default(field)
            yield from _walk(getattr(value, field.name), inner, of)
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _walk(item, f"{path}.{name}", msgspec.NODEFAULT)
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct | Configured):
        for at, item in enumerate(value):
            yield from _walk(item, f"{path}[{at}]", default[at] if _has(default, at) else msgspec.NODEFAULT)
    else:
        source = value.source if isinstance(value, Resolved) and value.source else FILE
        yield Setting(path, plain(value), DEFAULT if default is not msgspec.NODEFAULT and value == default else source)


def _has(default: Any, at: int) -> bool:
    return isinstance(default, tuple) and at < len(default)


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def _overridden(one: Setting, environment: Mapping[str, str]) -> Setting:
    section, _, field = one.path.partition(".")
    variable = f"{ENVIRONMENT_PREFIX}{section}_{field}".upper()
    if section in OVERRIDDEN and environment.get(variable):
        return msgspec.structs.replace(one, source=f"env:{variable}")
    return one

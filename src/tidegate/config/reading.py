"""What does the file say? Plain values to each module's own Config, with what the environment says.

Every message names the key and its line, and the nearest key when there is none of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from tidegate import api, plugins, storage
from tidegate.core import guard
from tidegate.core.errors import ConfigError
from tidegate.core.nearest import nearest
from tidegate.core.values import Duration, Moment, Secret, Share, Size
from tidegate.document import Document
from tidegate.stages import guardrails
from tidegate.upstream import shrink

ENVIRONMENT_PREFIX = "TIDEGATE_"  # TIDEGATE_API_PORT=9000 is api.port
OVERRIDDEN = {"api": api.Config, "storage": storage.Config}
READ = (Duration, Size, Share, Moment)  # values with a notation of their own


class Configured(NamedTuple):
    """A plugin, by its `type`, and its own settings."""

    type: str
    plugin: Any
    settings: msgspec.Struct
    why: str = ""  # it is here, when nobody configured it


class Resolved(str):
    """A value that came from `env:NAME` or `file:PATH`, and from which of them."""

    source = ""


class Reading:
    """One file being read: where each key stands, so that errors can say."""

    def __init__(self, environment: Mapping[str, str], file: str) -> None:
        self._environment = environment
        self._document = Document(file, said=self._resolved)
        self._variables: dict[str, str] = {}  # the key that a variable sets → its name

    def wrong(self, path: str, message: str) -> ConfigError:
        """The error for the key at `path`: with the variable that set it, or the line where it stands."""
        variable = self._variables.get(path.partition("[")[0])
        if variable is not None:
            return ConfigError(f"{variable}: {path}: {message}")
        return self._document.wrong(path, message)

    # --- text to plain values

    def tree(self, text: str) -> dict[str, Any]:
        value = self._document.take(text)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong("", "must be keys and values, such as 'api: {port: 8080}'")
        return value

    def resolved(self, value: Any, path: str) -> Any:
        """Plain values with what `env:NAME` and `file:PATH` stand for in them."""
        if isinstance(value, dict):
            return {key: self.resolved(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item, path) for item in value]
        return self._resolved(value, path) if isinstance(value, str) else value

    def override(self, tree: dict[str, Any]) -> None:
        """What the environment says of `api` and `storage` goes before the file; lists are separated by commas."""
        for section, config in OVERRIDDEN.items():
            for field, kind in get_type_hints(config).items():
                variable = f"{ENVIRONMENT_PREFIX}{section}_{field}".upper()
                given = self._environment.get(variable)
                if tree.get(section) is None:
                    tree[section] = {}
                if given and isinstance(tree[section], dict):
                    value = Resolved(given)
                    value.source = f"env:{variable}"
                    self._variables[f"{section}.{field}"] = variable
                    several = get_origin(kind) is tuple
                    tree[section][field] = [Resolved(one.strip()) for one in given.split(",")] if several else value

    def _resolved(self, value: str, path: str) -> str:
        kind, colon, rest = value.partition(":")
        if not colon or kind not in ("env", "file") or not rest:
            return value
        if kind == "env":
            text = self._environment.get(rest)
            if text is None:
                raise self.wrong(path, f"the environment variable {rest} is not set; set it, or take this key out")
        else:
            try:
                text = Path(rest).read_text(encoding="utf-8")
            except (OSError, ValueError) as wrong:
                raise self.wrong(path, f"the file {rest} cannot be read: {wrong}") from None
        text = text.strip()
        if not text.isprintable():
            raise self.wrong(path, f"{value} has control characters in it; it must be one line")
        resolved = Resolved(text)
        resolved.source = value
        return resolved

    # --- plain values to each module's Config

    def provider(self, path: str, value: Any) -> Configured:
        """A provider, by its `type`, with its own Config."""
        if not isinstance(value, dict):
            raise self.wrong(path, 'must be keys and values, such as {type: openai, keys: ["env:OPENAI_API_KEY"]}')
        return self.plugin("providers", path, value)

    def plugin(self, door: str, path: str, value: Mapping[str, Any], ours: Sequence[str] = ()) -> Configured:
        """Behind `door`, by its `type`, with its own Config; fields that are `ours` are not the plugin's."""
        fields = {key: item for key, item in value.items() if key not in ours}
        kind = fields.pop("type", None)
        if not isinstance(kind, str):
            raise self.wrong(path, f"needs a type; there are: {', '.join(plugins.names(door))}")
        try:
            plugin = plugins.find(door, kind)
            config = plugins.config_of(plugin)
        except ConfigError as unknown:
            raise self.wrong(f"{path}.type", unknown.message) from None
        return Configured(kind, plugin, self.into(config, fields, path))

    def guardrail(self, value: Any, path: str) -> guardrails.Guarded:
        """A guard, by its `type`, with what is done about its findings, and its own Config."""
        fields = dict(value) if isinstance(value, dict) else {"type": value}
        settings = self.plugin("guardrails", path, fields, ("action", "on_failure"))
        action = self._leaf(guard.Action, fields.get("action", "flag"), f"{path}.action")
        if action == "placeholder" and ".output[" in path:
            raise self.wrong(f"{path}.action", "placeholders are for what goes out; mask what comes back")
        on_failure = self._leaf(Literal["closed", "open"], fields.get("on_failure", "closed"), f"{path}.on_failure")
        return guardrails.Guarded(settings.type, action, on_failure, settings.plugin, settings.settings)

    def compressor(self, value: Any, path: str) -> shrink.Plugged:
        """A compressor, by its `type`, with how long it is waited for, and its own Config."""
        fields = dict(value) if isinstance(value, dict) else {"type": value}
        settings = self.plugin("routers", path, fields, ("timeout",))
        timeout = self._leaf(Duration, fields.get("timeout", "2s"), f"{path}.timeout")
        return shrink.Plugged(settings.type, settings.plugin, settings.settings, timeout)

    def into(self, kind: Any, value: Any, path: str) -> Any:
        """`value` as `kind`: structs field by field, so that a message can name what is wrong."""
        if kind == shrink.Plugged | None:
            return self.compressor(value, path)
        if kind is guardrails.Guarded:
            return self.guardrail(value, path)
        if kind in (Secret, Secret | None):
            text = self._leaf(str, value, path)
            if not text.strip():
                raise self.wrong(path, "is empty; set it, or take this key out")
            return Secret(text, value.source if isinstance(value, Resolved) else Secret.source_in_file)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, path)
        if get_origin(kind) in (Union, UnionType):
            others = [one for one in get_args(kind) if one is not NoneType]
            kind = others[0] if len(others) == 1 else kind  # null was dealt with: it leaves the default
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                return self._struct(kind, value, path)
        bounds = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]
        bare = get_args(kind)[0] if bounds else kind
        inner = get_args(bare)
        if get_origin(bare) is dict and isinstance(value, dict):
            return {key: self.into(inner[1], item, f"{path}.{key}") for key, item in value.items()}
        if get_origin(bare) is tuple:
            values = value if isinstance(value, list) else [value]  # `keys: env:A` for a list of one
            if any(len(values) < (meta.min_length or 0) for meta in bounds):
                raise self.wrong(path, "needs at least one")
            return tuple(self.into(inner[0], item, f"{path}[{at}]") for at, item in enumerate(values))
        return self._leaf(kind, value, path)

    def _struct(self, kind: type[msgspec.Struct], value: Any, path: str) -> Any:
        hints = get_type_hints(kind, include_extras=True)
        if isinstance(value, bool) and "enabled" in hints:  # `console: off`
            value = {"enabled": value}
        if not isinstance(value, dict):
            raise self.wrong(path, f"must be keys and values, not {value!r}")
        fields: dict[str, Any] = {}
        for key, item in value.items():
            inner = f"{path}.{key}" if path else key
            if key not in hints:
                raise self.wrong(inner, f"no such key; {nearest(key, hints)}")
            if item is not None:  # `key:` with nothing after it leaves the default
                fields[key] = self.into(hints[key], item, inner)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in fields:
                raise self.wrong(f"{path}.{field.name}".strip("."), "is needed")
        return kind(**fields)

    def _leaf(self, kind: Any, value: Any, path: str) -> Any:
        elsewhere = isinstance(value, Resolved)  # there, everything is text: "9000" is a number where one is wanted
        try:
            if kind in READ:
                return kind.parse(value)
            choices = get_args(kind)
            if get_origin(kind) is Literal and value not in choices:
                raise ValueError(f"cannot be {value!r}; {nearest(str(value), choices)}")
            return msgspec.convert(str(value) if elsewhere else value, kind, strict=not elsewhere)
        except (msgspec.ValidationError, ValueError) as wrong:
            said = str(wrong)
            raise self.wrong(path, said[:1].lower() + said[1:].replace("`", "'")) from None

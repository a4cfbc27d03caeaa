"""Anthropic, and whoever speaks its dialect."""

from __future__ import annotations

from typing import ClassVar

from tidegate.core.call import Call
from tidegate.core.ports import Headers
from tidegate.core.values import Secret
from tidegate.providers.openai import Config as OpenAIConfig
from tidegate.providers.openai import OpenAI

VERSION = b"2023-06-01"


class Config(OpenAIConfig, frozen=True, forbid_unknown_fields=True):
    """A provider that speaks Anthropic's dialect.

    base_url: where its API begins, without /v1; Anthropic's own when left out.
    """


class Anthropic(OpenAI):
    dialect = "anthropic"
    default_url: ClassVar[str] = "https://api.anthropic.com"
    default_vendor: ClassVar[str] = "anthropic"
    prefix: ClassVar[str] = ""
    errand_headers: ClassVar[tuple[tuple[bytes, bytes], ...]] = ((b"anthropic-version", VERSION),)
    forwarded: ClassVar[tuple[bytes, ...]] = (b"anthropic-version", b"anthropic-beta")

    def key_header(self, key: Secret) -> tuple[bytes, bytes]:
        return b"x-api-key", key.value.encode()

    def own_headers(self, call: Call) -> Headers:
        """The version is needed, so a client of another dialect gets one; a client of this one has said its own."""
        return () if call.dialect == self.dialect and _has_version(call) else ((b"anthropic-version", VERSION),)


def _has_version(call: Call) -> bool:
    return any(name == b"anthropic-version" for name, _ in call.headers)

"""LangChain's own tests of a chat model, of either dialect: pytest langchain_suite.py, with DIALECT and TARGET.

They are the very tests that its integrations have to pass; a model this small fails those that take some wit.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from calls import ASKED, TIMEOUT_S, Target
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

AT = Target(**json.loads(os.environ["TARGET"]))
OPTIONS: Any = {
    "model": AT.model, "api_key": AT.key, "max_tokens": ASKED["enough"], "timeout": TIMEOUT_S, "max_retries": 0,
}  # fmt: skip


@pytest.mark.skipif(os.environ["DIALECT"] != "openai", reason="another dialect is asked for")
class TestOpenAI(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**OPTIONS, "base_url": f"{AT.url}/v1", "temperature": 0, "stream_usage": True}


@pytest.mark.skipif(os.environ["DIALECT"] != "anthropic", reason="another dialect is asked for")
class TestAnthropic(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**OPTIONS, "base_url": AT.url}

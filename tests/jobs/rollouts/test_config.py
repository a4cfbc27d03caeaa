from __future__ import annotations

import pytest

from tidegate.config import parse
from tidegate.core.errors import ConfigError


def test_it_is_not_looked_all_the_time():
    with pytest.raises(ConfigError, match=r"experiments\.look_every: must be 0\.05 s or more"):
        parse("experiments: {look_every: 0s}", {})
    assert parse("experiments: {look_every: 1m}", {}).experiments.look_every == 60

"""Who is spoken of? Names of people and places, which have no form: found by Presidio and a model of spaCy's.

Nothing of either is in the base, and nothing is fetched: the guard says at the start what it lacks. Of Presidio only
what reads with the model is used; what has a form is found by the guard `pii`, and faster.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidegate.core.call import Call
from tidegate.core.errors import ConfigError
from tidegate.core.guard import Finding, Part
from tidegate.core.ports import Reach
from tidegate.stages.guardrails.webhook import apart

MOST = 200_000  # characters of one text; a longer one has not been looked at


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of people and places, by Presidio: the extra `deep-pii`, and a model of spaCy's that you install.

    model: a package of spaCy's models that is installed, or a folder with one.
    language: of the texts.
    kinds: what is looked for, as Presidio calls it.
    threshold: of Presidio's own score.
    """

    model: Annotated[str, Meta(min_length=1)] = "en_core_web_lg"
    language: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "en"
    kinds: Annotated[tuple[str, ...], Meta(min_length=1)] = ("PERSON", "LOCATION")
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.6


class DeepPii:
    waits = False

    def __init__(self, config: Config, known: Sequence[str] = ()) -> None:
        self._config = config
        self._engine: Any = None
        self._one = Lock()  # spaCy's pipelines are not for two threads at once
        self.fingerprint = hashlib.sha256(msgspec.json.encode(config)).hexdigest()[:16]

    def join(self, reach: Reach) -> None:
        config, load = self._config, reach.load
        analyzer = load("engines", "presidio")
        if not (load("engines", "spacy_has")(config.model) or Path(config.model).is_dir()):
            raise ConfigError(
                f"model: spaCy has no model {config.model!r} here, and nothing is fetched by itself; run: "
                f"python -m spacy download {config.model}"
            )
        reads = load("engines", "presidio_spacy")(models=[{"lang_code": config.language, "model_name": config.model}])
        names = load("engines", "presidio_names")(supported_language=config.language)
        unknown = [kind for kind in config.kinds if kind not in names.supported_entities]
        if unknown:
            raise ConfigError(
                f"kinds: no kind {unknown[0]!r}; there are: {', '.join(sorted(names.supported_entities))}"
            )
        registry = load("engines", "presidio_registry")(recognizers=[names], supported_languages=[config.language])
        self._engine = analyzer(registry=registry, nlp_engine=reads, supported_languages=[config.language])

    def watch(self) -> None:
        """A name may be any word, so no word could be let go before the next sentences are there."""
        return

    async def check(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        return await asyncio.get_running_loop().run_in_executor(None, self._all, parts)

    async def check_answer(self, call: Call, parts: Sequence[Part]) -> Sequence[Sequence[Finding]]:
        return await self.check(call, parts)

    def _all(self, parts: Sequence[Part]) -> list[list[Finding]]:
        with self._one:
            return [self.look(part.text) for part in parts]

    def look(self, text: str) -> list[Finding]:
        """Raises ValueError for what is too long."""
        config = self._config
        if len(text) > MOST:
            raise ValueError(f"a text has more than {MOST} characters")
        found = self._engine.analyze(
            text, language=config.language, entities=list(config.kinds), score_threshold=config.threshold
        )
        return apart([Finding(one.entity_type.lower(), one.start, one.end, float(one.score)) for one in found])

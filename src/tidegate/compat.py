"""What has the guide's code? Its classes, with the same signatures and the same shapes, over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tidegate.client import Client, Evaluation, TidegateRefused

PASS_AT = 7.0  # as the guide's regression suite asserts
ANCHORS = {"1": "not at all", "4": "in part, with serious faults", "7": "well, with small faults", "10": "fully"}
NAME = re.compile(r"\w[\w -]{0,59}")


class LLMEvaluator:
    """A model that judges answers by criteria, from 1 to 10.

    `api_key` is a key of Tidegate with the scope `eval`, `judge` the route or model that judges. Anchors of your own,
    weights and judges that were tested are in suites: see `tidegate eval`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        judge: str = "judge",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """`parameters`: of each question to the judge, such as max_tokens."""
        self._client = Client(base_url, api_key)
        self._judge = judge
        self._parameters = dict(parameters or {})

    def evaluate_response(
        self,
        task: str,
        user_query: str,
        generated_response: str,
        criteria: Sequence[str] | Mapping[str, str],
    ) -> dict[str, Any]:
        """`criteria`: their names, or names and what is looked at.

        Returns criteria_scores (of each criterion `score` and `explanation`), overall_score, recommendation ("PASS" or
        "FAIL") and reasoning; beside what the guide has, whether the judge's word is `advisory`. Raises TidegateRefused
        where the judge gives no verdict: that is never a score.
        """
        asked = dict(criteria) if isinstance(criteria, Mapping) else dict.fromkeys(criteria, "")
        names = _names(asked)
        rubric = {
            "type": "rubric",
            "name": "judge",
            "model": [self._judge],
            "task": task,
            "pass_at": PASS_AT,
            "parameters": self._parameters,
            "criteria": [
                {"name": names[said], "what": what or said, "anchors": ANCHORS} for said, what in asked.items()
            ],
        }
        found = self._client.evaluate(user_query, answer=generated_response, scorers=[rubric])
        return _shaped(found, names)


def _names(asked: Mapping[str, str]) -> dict[str, str]:
    """What each criterion is called: as it was said, where that is a name."""
    return {said: said if NAME.fullmatch(said) else f"criterion {at}" for at, said in enumerate(asked, 1)}


def _shaped(found: Evaluation, names: Mapping[str, str]) -> dict[str, Any]:
    overall = found.score("judge")
    if overall.value is None:
        raise TidegateRefused(f"the judge gave no verdict ({overall.outcome}): {overall.why}", code=overall.outcome)
    scores = {said: found.score(f"judge.{name}") for said, name in names.items()}
    return {
        "criteria_scores": {said: {"score": one.value, "explanation": one.why} for said, one in scores.items()},
        "overall_score": overall.value,
        "recommendation": "PASS" if overall.passed else "FAIL",
        "reasoning": overall.why,
        "advisory": overall.advisory,
    }


# --- prompts ---------------------------------------------------------------------------------------------------------

HALF = 50
LABEL = "production"
TEST = "guide."  # how its tests are called: guide.NAME
UNUSABLE = re.compile(r"[^A-Za-z0-9_.-]+")


class PromptManager:
    """Prompts by id, version or user, and tests of a variant, kept by the gateway.

    A prompt of the guide is one text, with no gaps of ours: two braces in it are two braces. `prompts_file` is taken in
    when this is made, those of its prompts that the gateway does not have; `save_prompts` writes it anew. The key
    belongs to an administrator.
    """

    def __init__(
        self, prompts_file: str = "prompts.json", *, base_url: str | None = None, api_key: str | None = None
    ) -> None:
        self.prompts_file = Path(prompts_file)
        self._client = Client(base_url, api_key)
        self.prompts = self.load_prompts()

    def load_prompts(self) -> dict[str, Any]:
        """What the file says, {} where there is none; the gateway is given what it has not."""
        try:
            text = self.prompts_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        found: dict[str, Any] = json.loads(text)
        there = {one["id"] for one in self._client.get("/v1/prompts")}
        for prompt_id, one in found.items():
            if prompt_id in there:
                continue
            said = {"current": one} if isinstance(one, str) else one
            versions = said.get("versions") or {}
            for number in sorted(versions, key=_natural):
                if versions[number] != said["current"]:
                    self._kept(prompt_id, versions[number], note=f"{number} of {self.prompts_file.name}")
            self._kept(prompt_id, said["current"], LABEL)
        return found

    def save_prompts(self) -> None:
        """Write what the gateway has: of each prompt the current text, all versions, and the test that is on."""
        saved: dict[str, Any] = {}
        for one in self._client.get("/v1/prompts"):
            path = f"/v1/prompts/{quote(one['id'], safe='')}"
            texts = {f"v{shown['version']}": _text(shown) for shown in self._client.get(f"{path}/versions?limit=1000")}
            number = one["labels"].get(LABEL, one["latest"])
            saved[one["id"]] = {
                "current": texts.get(f"v{number}", ""),
                "versions": dict(reversed(texts.items())),
                "variants": {name: texts[f"v{at}"] for name, at in self._arms(one["id"]).items() if f"v{at}" in texts},
            }
        draft = self.prompts_file.with_name(f"{self.prompts_file.name}.draft")
        draft.write_text(json.dumps(saved, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.prompts_file)
        self.prompts = saved

    def get_prompt(self, prompt_id: str, version: str | int | None = None, user_id: str | None = None) -> str:
        """The current text; of a `version` (3, "3" or "v3"), or what this user gets while a test is on.

        Raises ValueError: there is no such prompt, or no such version.
        """
        number = _number(version)
        if user_id is not None and number is None:
            number = self._arms(prompt_id).get(self.get_ab_variant(user_id, prompt_id))
        query = f"?version={number}" if number is not None else ""
        try:
            return _text(self._client.get(f"/v1/prompts/{quote(prompt_id, safe='')}{query}"))
        except TidegateRefused as wrong:
            raise _unknown(wrong) from None

    def get_ab_variant(self, user_id: str, prompt_id: str) -> str:
        """ "control" or "variant": the same each time, for everybody who asks. Without a test, "control"."""
        try:
            unit = self._client.get(f"/v1/experiments/{_test(prompt_id)}/units/{quote(user_id, safe='')}")
        except TidegateRefused as wrong:
            if wrong.status == 404:
                return "control"
            raise
        return "variant" if unit["arm"] == "variant" else "control"

    def start_ab_test(self, prompt_id: str, variant_prompt: str, control_percentage: int = HALF) -> None:
        """Give everybody else's share of the users the variant, from now on, in calls of this prompt too.

        Raises ValueError: no such prompt, a test that is on already, or a percentage that is none.
        """
        if not 0 <= control_percentage < 100:
            raise ValueError(f"control_percentage: from 0 to 99, not {control_percentage!r}: somebody must get it")
        try:
            control = self._client.get(f"/v1/prompts/{quote(prompt_id, safe='')}")["version"]
        except TidegateRefused as wrong:
            raise _unknown(wrong) from None
        variant = self._kept(prompt_id, variant_prompt, note="a variant")
        if variant == control:
            raise ValueError(f"{prompt_id}: the variant says what the current prompt says")
        name = _test(prompt_id)
        described = {
            "name": name,
            "prompt": prompt_id,
            "label": LABEL,
            "unit": "user",
            "control": {"name": "control", "prompts": {prompt_id: control}},
            "arms": [{"name": "variant", "prompts": {prompt_id: variant}}],
            "ramp": [(100 - control_percentage) / 100],
            "automatic": False,
            "note": "by start_ab_test",
        }
        try:
            self._client.post("/v1/experiments", described)
            self._client.post(f"/v1/experiments/{name}/start", {"why": "start_ab_test"})
        except TidegateRefused as wrong:
            if wrong.status in (400, 409):
                raise ValueError(str(wrong)) from None
            raise

    def promote_variant(self, prompt_id: str) -> None:
        """Make the variant current and end the test; what was current stays as its version. Raises ValueError."""
        name = _test(prompt_id)
        if "variant" not in (arms := self._arms(prompt_id)):
            raise ValueError(f"{prompt_id}: no test is on; begin one with start_ab_test")
        self._client.post(f"/v1/experiments/{name}/stop", {"why": "promote_variant"})
        path = f"/v1/prompts/{quote(prompt_id, safe='')}/labels/{LABEL}"
        self._client.ask("PUT", path, {"version": arms["variant"], "why": "promote_variant", "protected": True})
        self._client.ask("DELETE", f"/v1/experiments/{name}")

    def _arms(self, prompt_id: str) -> dict[str, int]:
        """The versions that a test is between; nothing, where none is on."""
        try:
            spec = self._client.get(f"/v1/experiments/{_test(prompt_id)}")["spec"]
        except TidegateRefused as wrong:
            if wrong.status == 404:
                return {}
            raise
        return {arm["name"]: arm["prompts"][prompt_id] for arm in (spec["control"], *spec["arms"])}

    def _kept(self, prompt_id: str, text: str, *labels: str, note: str = "") -> int:
        said = {"id": prompt_id, "template": text.replace("{{", "\\{{"), "labels": list(labels), "note": note}
        try:
            version: int = self._client.post("/v1/prompts", said)["version"]
        except TidegateRefused as wrong:
            if wrong.status == 400:
                raise ValueError(str(wrong)) from None
            raise
        return version


def _test(prompt_id: str) -> str:
    """How the test of a prompt is called."""
    return f"{TEST}{UNUSABLE.sub('-', prompt_id)}"[:60]


def _text(shown: Mapping[str, Any]) -> str:
    """As it was given; of messages, one below the other."""
    texts = [shown["template"]] if shown["template"] is not None else [one["content"] for one in shown["messages"]]
    return "\n\n".join(text.replace("\\{{", "{{") for text in texts)


def _number(version: str | int | None) -> int | None:
    if version is None or isinstance(version, int):
        return version
    said = version.removeprefix("v")
    if not said.isdigit():
        raise ValueError(f"version: a number such as 3 or v3, not {version!r}")
    return int(said)


def _natural(said: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", said)]


def _unknown(wrong: TidegateRefused) -> Exception:
    return ValueError(str(wrong)) if wrong.status == 404 else wrong

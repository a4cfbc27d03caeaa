"""How does an evaluation over the API ask? Through the front door too, from inside, on the account of whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.core.call import Call, Principal, Wishes
from tidegate.core.errors import TidegateError
from tidegate.core.experiments import Assigned
from tidegate.core.guard import said as verdicts
from tidegate.core.own import own_call
from tidegate.core.scores import Said
from tidegate.gateway import Gateway
from tidegate.jobs.evals.subject import Messages

PATH = "/v1/chat/completions"


class Inside:
    """What is raised is an answer that there is none of."""

    def __init__(
        self, gateway: Gateway, principal: Principal, address: str, run: str, arms: tuple[Assigned, ...] = ()
    ) -> None:
        """`arms`: of experiments, that each question goes the way of."""
        self._gateway = gateway
        self._principal = principal
        self._address = address
        self._tags = (f"eval:{run}",)
        self._arms = arms

    async def ask(
        self, model: str, messages: Messages, parameters: Mapping[str, Any], *, once: str, fresh: bool
    ) -> Said:
        call = self._call(msgspec.json.encode({**parameters, "model": model, "messages": messages}))
        if fresh:
            call.wishes = Wishes(cache_control="no-store")
        began_ns = call.arrived_ns
        try:
            events = await self._gateway.heard(call)
        except TidegateError as wrong:
            return self._said(call, began_ns, error=wrong.code, why=wrong.message)
        texts = [said for event in events for said in event.texts() if said[0].choice == 0]
        text, refusal = ("".join(text for at, text in texts if at.kind == kind) for kind in ("text", "refusal"))
        return self._said(call, began_ns, text=text or refusal, refused=bool(refusal))

    def _call(self, body: bytes) -> Call:
        call = own_call(
            self._gateway.world, self._principal, purpose="evaluation", parent=None, dialect="openai",
            operation="chat", path=PATH, body=body, kind="eval",
        )  # fmt: skip
        call.address, call.tags, call.arms = self._address, self._tags, self._arms
        return call

    def _said(self, call: Call, began_ns: int, **fields: Any) -> Said:
        guards = verdicts(call.guarded.verdicts)
        return Said(
            request_id=call.id,
            latency_ms=round((self._gateway.world.clock.now_ns() - began_ns) / 1e6, 3),
            cost_nusd=call.cost_nusd,
            guards=tuple(one.strip() for one in guards.split(",") if one.strip()),
            **fields,
        )

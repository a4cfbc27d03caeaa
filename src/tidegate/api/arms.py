"""Which of two configurations answers a request? Told by its head alone, before anything is parsed."""

from __future__ import annotations

from tidegate.api.incoming import Incoming
from tidegate.core import canary
from tidegate.core.canary import Arm, Canary
from tidegate.core.experiments import Assigned
from tidegate.gateway import Gateway


class Chooser:
    """While a configuration is tried. A unit is a key (an address, without one), or a user or session that it names."""

    def __init__(self, known: Canary, gateway: Gateway) -> None:
        wish = known.wish
        self._salt, self._share, self._unit = known.salt, wish.share, wish.unit
        self._stage, self._experiment = known.stage, known.experiment
        self._candidate = gateway

    def __call__(self, incoming: Incoming, gateway: Gateway) -> Gateway:
        at, digest = canary.place(self._salt, self.unit_of(incoming, gateway))
        arm: Arm = "candidate" if at < self._share else "control"
        # It is in no experiment, so it counts in none.
        incoming.tried = Assigned(self._experiment, self._stage, arm, digest, counted=False)
        return self._candidate if arm == "candidate" else gateway

    def unit_of(self, incoming: Incoming, gateway: Gateway) -> str:
        head = incoming.head
        if self._unit == "request":
            return gateway.world.chance.hex()
        key = head.credential or incoming.address
        named = None
        if self._unit == "user":
            named = head.text(b"x-tidegate-user")
        elif self._unit == "session":
            named = head.text(b"x-tidegate-session") or head.text(b"x-claude-code-session-id")
        return f"{key}\0{named}" if named else key

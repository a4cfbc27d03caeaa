"""Where does the house speak to who runs it? Its log and its alerts, and what was set of both while it runs."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.telemetry.alerts import Alerts
from tidegate.telemetry.logs import LEVEL, Log
from tidegate.telemetry.settings import Settings


class Outlets(NamedTuple):
    log: Log
    alerts: Alerts
    settings: Settings

    def take_up(self) -> None:
        """What was set, or was until now. Called every few seconds."""
        self.alerts.sweep()
        found = self.settings.get(LEVEL)
        self.log.speak(found.value if found is not None else None)

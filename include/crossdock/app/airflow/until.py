"""A trigger that waits until a time, in one sleep: Airflow's own writes a line of log each second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class Until(BaseTrigger):
    """Fires once at *moment* (ISO 8601, with its zone)."""

    def __init__(self, moment: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no types here
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what Airflow stores of it."""
        return f"{__name__}.{type(self).__name__}", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; a time that has passed fires at once."""
        left_s = (datetime.fromisoformat(self.moment) - datetime.now(UTC)).total_seconds()
        await asyncio.sleep(max(left_s, 0.0))
        yield TriggerEvent(self.moment)  # type: ignore[no-untyped-call]  # as above

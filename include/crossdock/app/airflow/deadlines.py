"""Raise an alert when a DAG run has not ended in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from airflow.sdk import (
    BaseNotifier,
)

from crossdock.core.log import logger
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

log = logger(__name__)


class RunIsLate(BaseNotifier):
    """Raise an alert in the hub, which `./hub status` shows, and log a warning."""

    def __init__(self, dag_id: str, stream: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dag_id, self.stream = dag_id, stream

    async def async_notify(self, context: Mapping[str, Any]) -> None:
        dag_run = context.get("dag_run") or {}
        # A failed run never satisfies its deadline; its failure has its own alert.
        if dag_run.get("state") == "failed":
            return
        await asyncio.to_thread(self._raise_alert, str(dag_run.get("dag_run_id")))

    def notify(self, context: Mapping[str, Any]) -> None:
        asyncio.run(self.async_notify(context))

    def _raise_alert(self, dag_run_id: str) -> None:
        message = f"{self.dag_id} run {dag_run_id} has been running {settings().sync_deadline_minutes:g} minutes longer than usual"
        log.warning(message, extra={"dag_run": dag_run_id})
        with Store.from_connection(settings().store_connection) as store, store.transaction() as work:
            integration = self.stream.partition(".")[0] if self.stream else None
            what = Found(message, examples=(f"run {dag_run_id}",), integration=integration, stream=self.stream)
            alerts.add(work, Kind.RUN_LATE, f"{self.dag_id}/{dag_run_id}", what)

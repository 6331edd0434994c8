"""The health of an integration: its runs, its calls, its circuit breaker; and the calls of each run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.pagination import Limit
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.core.errors import NotFound
from crossdock.core.roles import Role
from crossdock.db.database import Work
from crossdock.http import call_metrics, shared_breaker
from crossdock.http.breaker import Outage, Phase
from crossdock.http.call_metrics import Health, Usage
from crossdock.http.shared_breaker import Change
from crossdock.integrations import repository as integration_repository
from crossdock.integrations.model import INTEGRATION_ID, IntegrationState
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState

router = Router(prefix="/integrations", tags=["integrations"])

IntegrationId = Annotated[str, Path(pattern=INTEGRATION_ID, examples=["shop_eu"])]
#: Calls are counted by the minute and kept for a month.
_LONGEST_HOURS = 30 * 24
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ProblemDocument, "description": "There is no such integration or run."}
}


class CallsDocument(BaseModel):
    """Counts and durations of calls."""

    calls: int = Field(description="Calls made, including retries, without avoided ones.")
    successes: int
    errors: int = Field(description="Timeouts, 5xx answers and invalid answers.")
    refusals: int = Field(description="4xx answers: the system works and refuses the request.")
    throttled: int = Field(description="429 answers.")
    avoided: int = Field(description="Calls not made, because the circuit breaker was open.")
    retries: int
    answer_bytes: int
    waited_s: float = Field(description="Total wait for the rate limit, over all calls.")
    p50_ms: float | None = Field(description="Exact to 10 %; null if no call was made.")
    p95_ms: float | None
    last_success_at: datetime | None

    @classmethod
    def of(cls, usage: Usage) -> Self:
        kept = {name: getattr(usage, name) for name in cls.model_fields if hasattr(usage, name)}
        return cls(**kept, errors=usage.failures, p50_ms=_ms(usage.p50_s), p95_ms=_ms(usage.p95_s))


class BreakerChange(BaseModel):
    at: datetime
    from_phase: Phase
    to_phase: Phase
    calls: int = Field(description="Calls of the window that ended with this change.")
    failures: int

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(**msgspec.structs.asdict(change))


class OutageDocument(BaseModel):
    """Why calls are not made."""

    since: datetime = Field(description="When the first of the calls failed.")
    calls: int = Field(description="How many calls failed, probes included.")
    reason: str = Field(
        description="What the last of them met: status, host and answer, or why there was none.",
        examples=["GET /demo/inventory at api.shop.example answered HTTP 503: back at noon"],
    )

    @classmethod
    def of(cls, outage: Outage) -> Self:
        return cls(since=outage.began_at, calls=outage.calls, reason=outage.reason)


class BreakerDocument(BaseModel):
    phase: Phase = Field(
        description="closed: calls are made. open: no calls are made. half_open: one call at a time tests the system."
    )
    outage: OutageDocument | None = Field(description="null while the breaker is closed.")
    changes: list[BreakerChange] = Field(description="Latest first, at most 20.")

    @classmethod
    def of(cls, health: Health) -> Self:
        return cls(
            phase=health.phase,
            outage=OutageDocument.of(health.outage) if health.outage else None,
            changes=[BreakerChange.of(change) for change in health.changes],
        )


class HealthSummary(BaseModel):
    """The last hour of an integration, in a few figures."""

    calls: int
    errors: int
    avoided: int
    p95_ms: float | None
    breaker: Phase
    last_success_at: datetime | None = Field(description="The last successful call of that hour.")


class HealthDocument(BaseModel):
    """The health of an integration, from the ledger and the call metrics."""

    id: str
    state: IntegrationState
    last_run_id: str | None
    last_run_at: datetime | None
    last_success_at: datetime | None = Field(description="End of the last successful run.")
    last_error: str | None = Field(description="Error of the latest run that failed since the last success.")
    runs_24h: int
    failed_24h: int
    records_read_24h: int
    records_rejected_24h: int
    open_quarantine: int
    hours: int = Field(description="The period over which calls are counted.")
    calls: CallsDocument
    last_call_success_at: datetime | None = Field(description="The last successful call ever.")
    limit_use: float | None = Field(
        description="Share of the rate limit used in the last full minute; null without a limit."
    )
    breaker: BreakerDocument


class RunUsage(BaseModel):
    run_id: str
    stream: str
    state: RunState
    started_at: datetime
    calls: CallsDocument


class UsageDocument(BaseModel):
    id: str
    runs: list[RunUsage] = Field(description="Latest first.")


@router.get(
    "/{integration_id}/health",
    summary="Get integration health",
    dependencies=[guard(Role.VIEWER)],
    responses=_NOT_FOUND,
)
def integration_health(
    integration_id: IntegrationId,
    store: OpenStore,
    hours: Annotated[int, Query(ge=1, le=_LONGEST_HOURS, description="The period over which calls are counted.")] = 1,
) -> HealthDocument:
    with store.transaction() as work:
        integration = integration_repository.get(work, integration_id)
        activity = integration_repository.activity(work, integration_id)
        health = call_metrics.health(work, integration_id, since=timedelta(hours=hours))
    return HealthDocument(
        id=integration_id,
        state=integration.state,
        **msgspec.structs.asdict(activity),
        hours=hours,
        calls=CallsDocument.of(health.usage),
        last_call_success_at=health.last_success_at,
        limit_use=health.limit_use,
        breaker=BreakerDocument.of(health),
    )


@router.get(
    "/{integration_id}/usage",
    summary="List the calls of each run",
    dependencies=[guard(Role.VIEWER)],
    responses=_NOT_FOUND,
)
def integration_usage(
    integration_id: IntegrationId,
    store: OpenStore,
    run: Annotated[str | None, Query(max_length=200, pattern=PLAIN, description="Only this run.")] = None,
    limit: Limit = 20,
) -> UsageDocument:
    with store.transaction() as work:
        integration_repository.get(work, integration_id)
        runs = _runs(work, integration_id, run, limit)
        usages = call_metrics.usage_of_runs(work, [listed.run_id for listed in runs])
    return UsageDocument(id=integration_id, runs=[_run_usage(listed, usages[listed.run_id]) for listed in runs])


def summaries(work: Work, integration_ids: list[str]) -> dict[str, HealthSummary]:
    """Summarise the last hour of each integration."""
    usages = call_metrics.usage_of_integrations(work, integration_ids)
    phases = shared_breaker.phases_of(work, integration_ids)
    return {
        integration_id: HealthSummary(
            calls=usages[integration_id].calls,
            errors=usages[integration_id].failures,
            avoided=usages[integration_id].avoided,
            p95_ms=_ms(usages[integration_id].p95_s),
            breaker=phases[integration_id],
            last_success_at=usages[integration_id].last_success_at,
        )
        for integration_id in integration_ids
    }


def _runs(work: Work, integration_id: str, run_id: str | None, limit: int) -> list[Run]:
    if run_id is None:
        return ledger.page(work, integration=integration_id, limit=limit)
    run = ledger.get(work, run_id)
    if run.integration != integration_id:
        raise NotFound(f"The run {run_id} belongs to {run.integration}, not to {integration_id}")
    return [run]


def _run_usage(run: Run, usage: Usage) -> RunUsage:
    return RunUsage(
        run_id=run.run_id,
        stream=run.stream,
        state=run.state,
        started_at=run.started_at,
        calls=CallsDocument.of(usage),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)

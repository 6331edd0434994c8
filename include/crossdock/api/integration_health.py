"""How an integration has been doing: its runs, its calls, its breaker; and what each run has used."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.pagination import Limit
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.core.errors import NotFound
from crossdock.db.database import Work
from crossdock.http import call_metrics as call_counts
from crossdock.http import shared_breaker as breakers
from crossdock.http.breaker import Phase
from crossdock.http.call_metrics import Usage
from crossdock.http.shared_breaker import Change
from crossdock.integrations import repository as registry
from crossdock.integrations.model import INTEGRATION_ID, IntegrationState
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState

router = Router(prefix="/integrations", tags=["integrations"])

IntegrationId = Annotated[str, Path(pattern=INTEGRATION_ID, examples=["shop_eu"])]
#: Calls are counted by the minute and kept for a month.
_LONGEST_HOURS = 30 * 24
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "Not Found"}}


class CallsDocument(BaseModel):
    """How calls went."""

    calls: int = Field(description="Made, retries included; avoided ones were not.")
    successes: int
    errors: int = Field(description="No answer in time, a 5xx, or an answer that is not what it claims to be.")
    refusals: int = Field(description="4xx: the system works and says no.")
    throttled: int = Field(description="429.")
    avoided: int = Field(description="Not made, because the breaker was open.")
    retries: int
    answer_bytes: int
    waited_s: float = Field(description="For the rate limit, over all calls.")
    p50_ms: float | None = Field(description="To 10 %; null where no call was made.")
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
    calls: int = Field(description="Of the window that ended with it.")
    failures: int

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(**msgspec.structs.asdict(change))


class BreakerDocument(BaseModel):
    phase: Phase = Field(description="open: not called at all. half_open: one call at a time finds out.")
    changes: list[BreakerChange] = Field(description="Newest first, at most 20.")


class HealthSummary(BaseModel):
    """Of the last hour."""

    calls: int
    errors: int
    avoided: int
    p95_ms: float | None
    breaker: Phase
    last_success_at: datetime | None = Field(description="Of a call, in that hour.")


class HealthDocument(BaseModel):
    """What the ledger and the counts say of the integration."""

    id: str
    state: IntegrationState
    last_run_id: str | None
    last_run_at: datetime | None
    last_success_at: datetime | None = Field(description="Of a run.")
    last_error: str | None = Field(description="Of a run since the last success.")
    runs_24h: int
    failed_24h: int
    records_read_24h: int
    records_rejected_24h: int
    open_quarantine: int
    hours: int = Field(description="Over which the calls are counted.")
    calls: CallsDocument
    last_call_success_at: datetime | None = Field(description="Whenever that was.")
    limit_use: float | None = Field(
        description="Share of the rate limit that the last whole minute used; null without one."
    )
    breaker: BreakerDocument


class RunUsage(BaseModel):
    run_id: str
    entity: str
    state: RunState
    started_at: datetime
    calls: CallsDocument


class UsageDocument(BaseModel):
    id: str
    runs: list[RunUsage] = Field(description="Newest first.")


@router.get(
    "/{integration_id}/health",
    summary="How it has been doing",
    dependencies=[guard(Role.VIEWER)],
    responses=_NOT_FOUND,
)
def integration_health(
    integration_id: IntegrationId,
    store: OpenStore,
    hours: Annotated[int, Query(ge=1, le=_LONGEST_HOURS, description="Over which calls are counted.")] = 1,
) -> HealthDocument:
    with store.transaction() as work:
        integration = registry.get(work, integration_id)
        activity = registry.activity(work, integration_id)
        health = call_counts.health(work, integration_id, since=timedelta(hours=hours))
    return HealthDocument(
        id=integration_id,
        state=integration.state,
        **msgspec.structs.asdict(activity),
        hours=hours,
        calls=CallsDocument.of(health.usage),
        last_call_success_at=health.last_success_at,
        limit_use=health.limit_use,
        breaker=BreakerDocument(phase=health.phase, changes=[BreakerChange.of(each) for each in health.changes]),
    )


@router.get(
    "/{integration_id}/usage",
    summary="The calls of each run",
    dependencies=[guard(Role.VIEWER)],
    responses=_NOT_FOUND,
)
def integration_usage(
    integration_id: IntegrationId,
    store: OpenStore,
    run: Annotated[str | None, Query(max_length=200, pattern=PLAIN, description="Only this one.")] = None,
    limit: Limit = 20,
) -> UsageDocument:
    with store.transaction() as work:
        registry.get(work, integration_id)
        runs = _runs(work, integration_id, run, limit)
        usages = call_counts.usage_of_runs(work, [each.run_id for each in runs])
    return UsageDocument(id=integration_id, runs=[_run_usage(each, usages[each.run_id]) for each in runs])


def summaries(work: Work, integration_ids: list[str]) -> dict[str, HealthSummary]:
    """The health of each in a few figures."""
    usages = call_counts.usage_of_integrations(work, integration_ids)
    phases = breakers.phases_of(work, integration_ids)
    return {
        each: HealthSummary(
            calls=usages[each].calls,
            errors=usages[each].failures,
            avoided=usages[each].avoided,
            p95_ms=_ms(usages[each].p95_s),
            breaker=phases[each],
            last_success_at=usages[each].last_success_at,
        )
        for each in integration_ids
    }


def _runs(work: Work, integration_id: str, run_id: str | None, limit: int) -> list[Run]:
    if run_id is None:
        return ledger.page(work, integration=integration_id, limit=limit)
    run = ledger.get(work, run_id)
    if run.integration != integration_id:
        raise NotFound(f"The run {run_id} is none of {integration_id}, but of {run.integration}")
    return [run]


def _run_usage(run: Run, usage: Usage) -> RunUsage:
    return RunUsage(
        run_id=run.run_id,
        entity=run.entity,
        state=run.state,
        started_at=run.started_at,
        calls=CallsDocument.of(usage),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)

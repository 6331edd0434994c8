"""How Airflow logs and retries a task that failed: by its own task runner, without a server."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn
from unittest.mock import MagicMock

import pytest
import structlog
from airflow.sdk import DAG, task
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from crossdock.app.airflow.hints import phrase
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import cause_of, explained_failures
from crossdock.core.errors import HeldForApproval, HubError, OutcomeUnknown, SystemUnavailable, Transient
from crossdock.db.database import StoreRefused

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass
class Ended:
    """How the task ended, by what Airflow knows of it."""

    state: str
    #: The state that the task reports to Airflow's server; a retry has its delay.
    message: Any
    #: What `on_failure_callback` is given.
    error: BaseException | None
    #: Level and text of each log line; True if a traceback follows it.
    lines: list[tuple[str, str, bool]]

    @property
    def errors(self) -> list[str]:
        return [text for level, text, _ in self.lines if level == "error"]

    @property
    def has_traceback(self) -> bool:
        return any(traceback for _, _, traceback in self.lines)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], Ended]]:
    """Run a function as the task of a DAG, with our retry policy and Airflow's runner."""
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", MagicMock(), raising=False)
    lines: list[tuple[str, str, bool]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.levelname.lower(), record.getMessage(), bool(record.exc_info)))

    def collected(_: Any, method: str, event: dict[str, Any]) -> NoReturn:
        level = "error" if method == "exception" else method
        lines.append((level, str(event["event"]), method == "exception" or bool(event.get("exc_info"))))
        raise structlog.DropEvent

    log = structlog.wrap_logger(MagicMock(), processors=[collected], wrapper_class=structlog.stdlib.BoundLogger)
    ours, collector = logging.getLogger("crossdock"), Collector()
    ours.addHandler(collector)

    def ended(body: Callable[[], object]) -> Ended:
        with DAG("sync_commercetools_inventory", schedule=None):
            made = task(task_id="extract", retries=3, retry_policy=RetryByKind())(body)()
        run = DagRun.model_construct(
            dag_id="sync_commercetools_inventory",
            run_id="manual__1",
            logical_date=None,
            run_after=NOW,
            team_name=None,
            conf={},
        )
        ti = RuntimeTaskInstance.model_construct(
            id=uuid.uuid4(),
            task_id="extract",
            dag_id="sync_commercetools_inventory",
            run_id="manual__1",
            try_number=1,
            map_index=-1,
            task=made.operator,
            start_date=NOW,
            max_tries=3,
            _ti_context_from_server=TIRunContext.model_construct(
                dag_run=run, max_tries=3, should_retry=True, xcom_keys_to_clear=[]
            ),
        )
        monkeypatch.setattr(task_runner, "_prepare", lambda *_: None)
        monkeypatch.setattr(task_runner, "_execute_task", lambda **_: made.operator.python_callable())
        state, message, error = task_runner._run_task_and_map_outcome(ti, {}, log)
        return Ended(str(getattr(state, "value", state)), message, error, lines)

    yield ended
    ours.removeHandler(collector)


def failing(error: HubError) -> Callable[[], object]:
    """A task in which *error* comes out of another error, as those of libraries do."""

    def body() -> None:
        with explained_failures():
            try:
                raise ConnectionRefusedError("[Errno 111]")  # noqa: TRY301  the cause of the error under test
            except ConnectionRefusedError as cause:
                raise error from cause

    return body


def test_a_failed_task_s_log_ends_with_what_is_wrong_and_what_to_do(run: Callable[..., Ended]) -> None:
    error = HeldForApproval("run-1", "inventory", 3, 992)

    ended = run(failing(error))

    assert error.hint is not None
    assert ended.errors == [str(error), phrase(error.hint), "Task exited"]
    assert not ended.has_traceback


@pytest.mark.parametrize("wait_s", [None, 30.0])
def test_airflow_keeps_with_a_try_why_it_failed(run: Callable[..., Ended], wait_s: float | None) -> None:
    """The page of the run shows it while the next try is waited for: the kind of the error alone says nothing."""
    ended = run(failing(Transient("shop_eu does not answer", retry_in_s=wait_s)))

    assert (ended.state, ended.message.retry_reason) == ("up_for_retry", "shop_eu does not answer")


def test_a_terminal_error_is_still_not_retried(run: Callable[..., Ended]) -> None:
    """The retry policy judges the error itself, and the callback that ends the run gets it."""
    error = HeldForApproval("run-1", "inventory", 3, 992)

    ended = run(failing(error))

    assert ended.state == "failed"
    assert cause_of(ended.error) is error


def test_an_unknown_outcome_is_not_retried(run: Callable[..., Ended]) -> None:
    """It belongs to neither family, and an error that nobody knows would be: the charge would be made twice."""
    error = OutcomeUnknown("acme", "POST /charges", "no answer")

    ended = run(failing(error))

    assert ended.state == "failed"
    assert cause_of(ended.error) is error


def test_a_transient_error_is_still_retried_after_the_requested_delay(run: Callable[..., Ended]) -> None:
    ended = run(failing(SystemUnavailable("commercetools", "HTTP 503", retry_in_s=40)))

    assert ended.state == "up_for_retry"
    assert 40 <= ended.message.retry_delay_seconds <= 42
    assert not ended.has_traceback


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), StoreRefused("syntax error")], ids=["ours", "SQL"])
def test_a_defect_keeps_its_traceback(run: Callable[..., Ended], error: Exception) -> None:
    """Only it shows where our code is wrong."""
    ended = run(failing(error))  # type: ignore[arg-type]

    assert ended.has_traceback
    assert ended.error is error

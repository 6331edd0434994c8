"""A subscriber's mistake is found from its dead letter and the worker's log, and neither has a value of a record."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.core.money import decimal_text
from crossdock.db.database import Store, Work
from crossdock.events.delivery.handler_errors import TracebackLog, place_of
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query

SECRET = "ada@example.com"
EVENT = Event(1, 1, 1, None, "/x", STOCK_CHANGED, None, datetime.now(UTC), "A", None, 1, "{}")


class Stock:
    """A record without an owner."""


def raised_by(handler: Callable[[], Any]) -> Exception:
    try:
        handler()
    except Exception as error:  # noqa: BLE001  whatever a handler raises
        return error
    raise AssertionError("it raised nothing")


def by_field() -> Any:
    return json.loads('{"available_quantity": 1}')["quantity"]


def by_value() -> Any:
    owners: dict[str, int] = {}
    return owners[SECRET]


def by_environment() -> Any:
    return os.environ["SUPPLIER_URL"]


def by_attribute() -> Any:
    stock: Any = Stock()
    return stock.owner


def by_library() -> Any:
    return json.loads(f"not JSON: {SECRET}")


def by_chain() -> None:
    try:
        by_field()
    except KeyError as error:
        raise ValueError(SECRET) from error


@pytest.mark.parametrize(
    ("handler", "place"),
    [
        (by_field, "KeyError 'quantity' in by_field (test_handler_errors.py, line "),
        (by_attribute, "AttributeError 'owner' in by_attribute (test_handler_errors.py, line "),
        (by_environment, "KeyError 'SUPPLIER_URL' in by_environment (test_handler_errors.py, line "),
        # The name is in a variable, so that it may be a value.
        (by_value, "KeyError in by_value (test_handler_errors.py, line "),
        # The line of the handler, not of the library that it calls.
        (by_library, "JSONDecodeError in by_library (test_handler_errors.py, line "),
        (by_chain, "ValueError in by_chain (test_handler_errors.py, line "),
    ],
)
def test_the_place_of_a_failure_is_code_and_no_value(handler: Callable[[], Any], place: str) -> None:
    found = place_of(raised_by(handler))

    assert found.startswith(place)
    assert SECRET not in found


def test_a_place_in_the_hub_has_its_folder_and_no_path_of_the_machine() -> None:
    place = place_of(raised_by(lambda: decimal_text("nothing", 2)))  # type: ignore[arg-type]  that is the mistake

    assert "(crossdock/core/money.py, line " in place


def test_a_failure_is_in_the_dead_letter_and_its_traceback_in_the_log(
    store: Store, hub_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`KeyError in apply, line 12` was all: no key, no file, and no traceback anywhere."""

    def apply(_: Work, events: Sequence[Event]) -> None:
        for event in events:
            json.loads(event.data)["quantity"]

    publish(store, *(stock(f"SKU-{n}", 1, 1, owner=SECRET) for n in range(20)))
    with (
        caplog.at_level(logging.ERROR),
        delivery(hub_dsn, {"sold_out": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}),
    ):
        eventually(lambda: query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'"), [(20,)])

    ((cause, reason),) = query(store, "SELECT DISTINCT cause, reason FROM dead_letter")
    assert cause == "KeyError"
    assert reason.startswith("KeyError 'quantity' in apply (test_handler_errors.py, line ")
    (record,) = [each for each in caplog.records if each.name.endswith("handler_errors")]
    assert record.getMessage().startswith("sold_out could not process event ")
    assert 'json.loads(event.data)["quantity"]' in (record.exc_text or "")
    assert SECRET not in caplog.text


def test_the_log_names_the_one_event_of_a_batch_that_failed(
    store: Store, hub_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It named the first of the batch, and then said nothing of the guilty one for a minute."""

    def apply(_: Work, events: Sequence[Event]) -> None:
        for event in events:
            if event.partition_key == "SKU-7":
                raise ValueError(SECRET)

    with caplog.at_level(logging.ERROR):
        publish(store, *(stock(f"SKU-{n}", 1, 1) for n in range(20)))
        with delivery(hub_dsn, {"sold_out": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}):
            eventually(lambda: query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'"), [(1,)])

    (record,) = [each for each in caplog.records if each.name.endswith("handler_errors")]
    ((guilty,),) = query(store, "SELECT epoch || '-' || position FROM dead_letter")
    assert f"could not process event {guilty} " in record.getMessage()


def test_a_statement_that_fails_is_in_the_dead_letter_with_its_line(store: Store, hub_dsn: str) -> None:
    def apply(work: Work, _: Sequence[Event]) -> None:
        work.execute("SELECT 1 FROM hub.nowhere")

    publish(store, stock("A", 1, 1))
    with delivery(hub_dsn, {"sold_out": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}):
        eventually(lambda: query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'"), [(1,)])

    ((reason,),) = query(store, "SELECT reason FROM dead_letter")
    assert reason.startswith("UndefinedTable in apply (test_handler_errors.py, line ")
    assert reason.endswith('): relation "hub.nowhere" does not exist')


def by_itself() -> None:
    error = ValueError(SECRET)
    raise error from error


def by_each_other() -> None:
    first, second = ValueError(SECRET), KeyError(SECRET)
    second.__cause__ = first
    raise first from second


@pytest.mark.parametrize("handler", [by_itself, by_each_other])
def test_an_error_that_is_its_own_cause_is_logged_once(
    handler: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It was followed without end, and the RecursionError blocked the partition."""
    TracebackLog().add("sold_out", EVENT, raised_by(handler))

    assert f"ValueError in {handler.__name__} (test_handler_errors.py, line " in caplog.text
    assert "cannot be logged" not in caplog.text
    assert SECRET not in caplog.text


class Nameless(Exception):
    @property
    def name(self) -> str:
        raise ZeroDivisionError(SECRET)


def by_nameless() -> None:
    raise Nameless


def test_an_error_that_cannot_be_examined_does_not_stop_its_worker(caplog: pytest.LogCaptureFixture) -> None:
    error = raised_by(by_nameless)

    TracebackLog().add("sold_out", EVENT, error)

    assert place_of(error).startswith("Nameless in by_nameless (test_handler_errors.py, line ")
    assert "sold_out could not process event " in caplog.text
    assert SECRET not in caplog.text


def test_a_traceback_has_no_message_of_the_errors_that_led_to_it(caplog: pytest.LogCaptureFixture) -> None:
    """`raise … from error` shows both tracebacks, and both messages if nobody takes them out."""
    TracebackLog().add("sold_out", EVENT, raised_by(by_chain))

    assert "in by_field" in caplog.text
    assert "in by_chain" in caplog.text
    assert SECRET not in caplog.text

"""Orders that the DAG drives, in batches: the functions that its tasks call, on a real database and real gateways."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crossdock.app import journeys, order_runs
from crossdock.app.journeys import Subject
from crossdock.app.order_runs import NoneGotThrough, RunReport, StepReport
from crossdock.app.orders import Calls, OrderDriver
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import Line, OrderState, PlacedOrder
from crossdock.commerce.orders.steps import EVENT_TYPES, OrderStepName, Sequence, flow_name, step_names
from crossdock.core.errors import BadRequest, Conflict
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.store import Selection
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import Driver
from tests.chaos import children
from tests.commerce.orders.placing import OrderHub, open_hub, steps_of

#: As Airflow names a run.
RUN = "scheduled__2026-01-01T00:00:00+00:00"


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 1_000)
        yield opened


@contextmanager
def driver_of(hub: OrderHub) -> Iterator[OrderDriver]:
    def open_calls() -> Calls:
        own = Store(hub.store.dsn)
        return Calls(own, hub.gateways.in_thread(own).open_client)  # type: ignore[arg-type]

    driver = OrderDriver(open_calls)
    yield driver
    driver.close()


def place(hub: OrderHub, number: int, *, method: str = "pm_visa") -> list[PlacedOrder]:
    """Orders that wait for the DAG."""
    return [hub.place(f"{method}-{count}", method=method, driver=Driver.DAG) for count in range(number)]


def make_steps(orders: OrderDriver, taken: list[str], sequence: Sequence = Sequence.RESERVE_FIRST) -> RunReport:
    """What a run does with the orders that it took, one task after the other."""
    for name in step_names(sequence, of_platform=True):
        order_runs.make_step(orders, taken, name)
    return order_runs.compensate(orders, taken)


def run(hub: OrderHub) -> RunReport | None:
    """A whole run of those that wait; None if there are none."""
    with driver_of(hub) as orders:
        taken = order_runs.take_batch(orders.store, RUN)
        return make_steps(orders, taken) if taken else None


def make_wait_longer(hub: OrderHub) -> None:
    """For an hour more, where it waits since its last try: on a busy machine its wait may be over before the next line."""
    with hub.store.transaction() as work:
        work.execute(
            "UPDATE execution SET next_at = next_at + interval '1 hour'"
            " WHERE next_at > (SELECT max(began_at) FROM execution_step step WHERE step.execution_id = execution.execution_id)"
        )


def make_due(hub: OrderHub) -> None:
    hub.skip_waits()
    with hub.store.transaction() as work:
        work.execute("UPDATE execution SET next_at = now() WHERE next_at > now()")


def test_a_run_takes_each_order_to_its_end_and_a_refused_one_ends_alone(hub: OrderHub) -> None:
    bought, declined = place(hub, 5), place(hub, 1, method="pm_declined")
    wanted = [Line(sku="lamp", quantity=1, price_minor=100)]
    sold_out = hub.place("sold-out", lines=wanted, driver=Driver.DAG)
    report = run(hub)

    assert report == RunReport(confirmed=5, cancelled=2, open=0)
    assert {hub.order(order).state for order in bought} == {OrderState.CONFIRMED}
    assert hub.order(declined[0]).reason == "authorise_payment: the payment is declined"
    assert hub.order(sold_out).reason == "reserve_stock: out of stock: lamp (1 missing)"
    assert (hub.charged_minor(), hub.blocked()) == (5 * 2_500, 0)
    assert run(hub) is None


def test_the_tasks_are_the_steps_of_an_order_in_their_sequence(hub: OrderHub) -> None:
    for sequence in Sequence:
        for of_platform in (False, True):
            flow = hub.flows[flow_name(sequence, of_platform=of_platform)]
            assert [step.name for step in flow.steps] == list(step_names(sequence, of_platform=of_platform))


def test_a_step_says_how_many_are_done_refused_and_waiting(hub: OrderHub) -> None:
    place(hub, 3)
    place(hub, 1, method="pm_declined")
    place(hub, 1, method="pm_asks")
    with driver_of(hub) as orders:
        taken = order_runs.take_batch(orders.store, RUN)
        before = [order_runs.make_step(orders, taken, name) for name in step_names(hub.sequence)[:2]]
        authorised = order_runs.make_step(orders, taken, OrderStepName.AUTHORISE_PAYMENT)

    assert before == [StepReport(done=5, refused=0, waiting=0)] * 2
    assert authorised == StepReport(done=3, refused=1, waiting=1)


def test_what_concerns_all_fails_the_step_and_again_only_the_open_ones_are_tried(hub: OrderHub) -> None:
    """Both gateways are down: nobody is to blame among the orders, and none is cancelled for it."""
    placed = place(hub, 3)
    with driver_of(hub) as orders:
        taken = order_runs.take_batch(orders.store, RUN)
        for name in step_names(hub.sequence)[:2]:
            order_runs.make_step(orders, taken, name)
        hub.fault({"status": 503}, times=20)
        with pytest.raises(NoneGotThrough, match="authorise_payment got through for none of 3 orders") as failed:
            order_runs.make_step(orders, taken, OrderStepName.AUTHORISE_PAYMENT)
        states = order_runs.compensate(orders, taken)
        for server in hub.gateways.servers.values():
            server.faults.clear()
        hub.skip_waits()
        report = make_steps(orders, taken)
    tries = {(row[0], row[2]): row for order in placed for row in steps_of(hub, order)}

    assert failed.value.retry_in_s is not None
    assert states == RunReport(confirmed=0, cancelled=0, open=3)
    assert report == RunReport(confirmed=3, cancelled=0, open=0)
    assert ("check_customer", "done") in tries
    assert (hub.charged_minor(), hub.blocked()) == (3 * 2_500, 0)


def test_an_order_that_waits_is_left_to_a_later_run_and_fails_none(hub: OrderHub) -> None:
    """Its customer has to act: the others do not wait for him, and no run starts again at once for him."""
    (asked,) = place(hub, 1, method="pm_asks")
    place(hub, 2)
    first = run(hub)
    make_wait_longer(hub)
    at_once = run(hub)
    make_due(hub)
    later = run(hub)

    assert first == RunReport(confirmed=2, cancelled=0, open=1)
    assert at_once is None
    assert later == RunReport(confirmed=0, cancelled=0, open=1)
    assert hub.order(asked).state is OrderState.OPEN


def test_an_order_of_the_other_sequence_goes_on_with_the_next_run(hub: OrderHub) -> None:
    """It was placed before the setting changed, and goes on as it began."""
    hub.sequence = Sequence.PAY_FIRST
    (placed,) = place(hub, 1)
    hub.sequence = Sequence.RESERVE_FIRST
    first, second = run(hub), run(hub)

    assert first == RunReport(confirmed=0, cancelled=0, open=1)
    assert second == RunReport(confirmed=1, cancelled=0, open=0)
    assert hub.order(placed).state is OrderState.CONFIRMED


def test_an_order_that_is_cancelled_during_its_run_is_compensated_by_it(hub: OrderHub) -> None:
    (placed,) = place(hub, 1)
    with driver_of(hub) as orders:
        taken = order_runs.take_batch(orders.store, RUN)
        for name in step_names(hub.sequence)[:4]:
            order_runs.make_step(orders, taken, name)
        service.cancel(hub.store, placed.order_id, reason="the customer called", actor="otto")
        for name in step_names(hub.sequence)[4:]:
            order_runs.make_step(orders, taken, name)
        undone_by_steps = [row for row in steps_of(hub, placed) if row[1] == "undo"]
        report = order_runs.compensate(orders, taken)

    assert undone_by_steps == []
    assert report == RunReport(confirmed=0, cancelled=1, open=0)
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


def test_a_confirmed_order_that_is_cancelled_is_compensated_by_the_next_run(hub: OrderHub) -> None:
    (placed,) = place(hub, 1)
    run(hub)
    service.cancel(hub.store, placed.order_id, reason="the customer called", actor="otto")

    assert run(hub) == RunReport(confirmed=0, cancelled=1, open=0)
    assert (hub.charged_minor(), hub.blocked()) == (0, 0)


def test_two_runs_take_different_orders(hub: OrderHub) -> None:
    place(hub, 4)
    first = order_runs.take_batch(hub.store, RUN, limit=3)
    second = order_runs.take_batch(hub.store, RUN, limit=3)

    assert (len(first), len(second)) == (3, 1)
    assert not set(first) & set(second)


def test_one_order_is_driven_by_one_way_when_both_try_at_once(hub: OrderHub) -> None:
    """By its events and the events' loop, and by two runs: each step is tried once."""
    by_dag = place(hub, 12)
    by_events = [hub.place(f"e-{number}") for number in range(12)]
    with hub.store.transaction() as work:
        created = event_store.select(work, Selection(types=EVENT_TYPES), limit=100)
    ended = threading.Event()
    with driver_of(hub) as runs, driver_of(hub) as events:
        taken = order_runs.take_batch(runs.store, RUN)

        def deliver() -> None:
            while not ended.is_set():
                events.deliver(created)
                events.take_up_due()

        thread = threading.Thread(target=deliver)
        thread.start()
        report = make_steps(runs, [*taken, *(order.order_id for order in by_events)])
        ended.set()
        thread.join(60)
    tries = Counter(row.tries for order in [*by_dag, *by_events] for row in _rows(hub, order))

    assert sorted(taken) == sorted(order.order_id for order in by_dag)
    assert {hub.execution(order).driver for order in by_dag} == {Driver.DAG}
    assert {hub.order(order).state for order in by_dag} == {OrderState.CONFIRMED}
    assert report.cancelled == 0
    assert set(tries) == {1}


def test_a_run_moves_no_order_that_its_events_drive(hub: OrderHub) -> None:
    placed = hub.place()
    with driver_of(hub) as orders:
        order_runs.make_step(orders, [placed.order_id], OrderStepName.CHECK_CUSTOMER)
        engine.advance(
            hub.store, hub.flows, hub.execution(placed).execution_id, driver=Driver.DAG
        )  # as one whose driver changed after the run had looked
        with pytest.raises(Conflict, match="driven by events"):
            order_runs.take_one(orders.store, placed.order_id, order_runs.run_id_of(placed.order_id))

    assert steps_of(hub, placed) == []


def test_what_no_run_takes_goes_on_by_events_and_a_run_that_comes_late_leaves_it(hub: OrderHub) -> None:
    """Its run was killed or timed out, or the DAG is paused: nothing stays halfway."""
    (placed,) = place(hub, 1)
    with driver_of(hub) as orders:
        taken = order_runs.take_batch(orders.store, RUN)
        for name in step_names(hub.sequence)[:3]:
            order_runs.make_step(orders, taken, name)
        orders.take_up_due()
        before = hub.execution(placed).driver
        with hub.store.transaction() as work:
            work.execute("UPDATE execution SET next_at = now() - interval '6 minutes'")
        while hub.order(placed).state is not OrderState.CONFIRMED:
            assert orders.take_up_due() == 1
        late = order_runs.make_step(orders, taken, OrderStepName.CAPTURE_PAYMENT)

    assert (before, hub.execution(placed).driver) == (Driver.DAG, Driver.EVENTS)
    assert late == StepReport(done=0, refused=0, waiting=0)
    assert (hub.charged_minor(), hub.blocked()) == (2_500, 0)


def test_an_order_has_one_run_of_its_own(hub: OrderHub) -> None:
    """Under another name, Airflow could not refuse a second one."""
    (placed,) = place(hub, 1)
    order_id, name = placed.order_id, order_runs.run_id_of(placed.order_id)
    with pytest.raises(BadRequest, match=name):
        order_runs.take_one(hub.store, order_id, "manual__2026-11-30")
    assert order_runs.take_one(hub.store, order_id, name) == [order_id]
    assert run(hub) is None, "what one run took, another one leaves"
    with driver_of(hub) as orders:
        make_steps(orders, [order_id])

    assert order_runs.take_one(hub.store, order_id, name) == []


@pytest.mark.crash
@pytest.mark.parametrize(
    "place_of_death", ["begun.authorise_payment", "called.capture_payment", "called.authorise_payment"]
)
def test_a_worker_that_is_killed_in_a_batch_loses_no_order_and_charges_each_once(
    hub: OrderHub, place_of_death: str
) -> None:
    """Airflow tries its task again, or the next run takes what it left."""
    placed = place(hub, 6)

    def work() -> None:
        with driver_of(hub) as orders:
            make_steps(orders, order_runs.take_batch(orders.store, RUN))

    assert children.run(work, crash_at=f"workflows.{place_of_death}.act") == children.KILLED
    make_due(hub)
    reports = [report for report in (run(hub), run(hub)) if report]

    assert sum(report.confirmed for report in reports) == 6
    assert {hub.order(order).state for order in placed} == {OrderState.CONFIRMED}
    assert (hub.charged_minor(), hub.blocked()) == (6 * 2_500, 0)


def _rows(hub: OrderHub, order: PlacedOrder) -> list[executions.StepProgress]:
    with hub.store.transaction() as work:
        return executions.steps_of(work, hub.execution(order).execution_id)


def test_the_journey_names_the_runs_that_have_taken_the_order(hub: OrderHub) -> None:
    """One that waits is taken by a later run, too; a task that is repeated takes nothing twice."""
    (asked,) = place(hub, 1, method="pm_asks")
    for name in ("scheduled__1", "scheduled__1", "scheduled__2"):
        make_due(hub)
        assert order_runs.take_batch(hub.store, name) == [asked.order_id]
    entries = journeys.read(hub.store, Subject.ORDER, asked.order_id).entries

    assert [(entry.name, entry.ref) for entry in entries if entry.kind == "run"] == [
        ("place_order", "scheduled__1"),
        ("place_order", "scheduled__2"),
    ]

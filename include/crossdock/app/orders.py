"""The parts of an order, wired: the CRM, the stock, the gateways, the mails, and the loop that takes up what is due."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import msgspec

from crossdock.app import mail
from crossdock.commerce.inventory import reservation_repository as stock
from crossdock.commerce.inventory import reservations
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import SoldPart
from crossdock.commerce.inventory.reservations import Held, OutOfStock, Reserving
from crossdock.commerce.inventory.sourcing import Rule
from crossdock.commerce.mail.model import Mailbox, MailState
from crossdock.commerce.orders import placed_repository, steps
from crossdock.commerce.orders import service as order_service
from crossdock.commerce.orders.placement import PlacedOrder
from crossdock.commerce.orders.ports import Ports
from crossdock.commerce.payments import repository as payment_repository
from crossdock.commerce.payments import service as payments
from crossdock.commerce.payments.amounts import Amounts, PaymentState, amounts_of
from crossdock.commerce.payments.model import (
    INPUT_REFUSED,
    AmountRefused,
    Leg,
    Operation,
    Payment,
    PaymentBusy,
    PaymentRequest,
)
from crossdock.commerce.payments.service import Payments, Request
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest, Conflict, HubError, IntegrationPaused, NotFound, Terminal, Transient
from crossdock.core.log import logger
from crossdock.core.money import currency_exponent, decimal_text
from crossdock.core.settings import settings
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.events.model import Event
from crossdock.integrations import repository as registry
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Document, Done, Ended, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.actions.service import OnDone
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.attempts.service import OnBegin
from crossdock.integrations.manifests import manifest_of, manifests
from crossdock.integrations.model import IntegrationState
from crossdock.workflows import service as engine
from crossdock.workflows.model import Driver, FixedFlow, Flow, StepCall, TryEnd, Waiting

log = logger(__name__)

T = TypeVar("T")

#: The keys of a step's writes to a platform begin with so much of the step's own.
WRITE_KEY_CHARACTERS = 24

prepare(StockState)

#: So long one execution is moved on before the next one's turn.
_LONGEST_TURN_S = 10.0

_LIVE = frozenset(
    {
        PaymentState.AUTHORISED,
        PaymentState.PARTLY_AUTHORISED,
        PaymentState.REQUIRES_ACTION,
        PaymentState.PENDING,
    }
)
#: What a payment waits for where no gateway has failed.
_UNDECIDED = {
    PaymentState.REQUIRES_ACTION: "the customer has to act",
    PaymentState.PENDING: "the gateway has not decided",
}


@dataclass(frozen=True)
class Calls:
    """What calls of an order's steps need: a database of their own, and the clients of integrations."""

    store: Store
    open_client: OpenClient

    def payments(self, call: StepCall) -> Payments:
        """Open the use cases of payments for a step. A process whose step was taken over by another one sends nothing."""

        def perform(
            integration: str,
            action: str,
            given: Document,
            key: str,
            on_begin: OnBegin,
            *,
            on_done: OnDone | None = None,
        ) -> Ended:
            def begins(work: Work) -> None:
                call.refuse_replaced(work)
                on_begin(work)

            return actions.perform(
                self.store,
                self.open_client,
                integration,
                action,
                given,
                key=key,
                actor=None,  # a payment has entries of its own
                on_begin=begins,
                on_done=on_done,
                asks_person=False,  # the step asks
            )

        return Payments(self.store, perform, asks_person=False)  # the step asks


@dataclass(frozen=True)
class CrmCustomers:
    """Asks the CRM for the customer's standing; without a CRM, everybody may order."""

    calls: Callable[[], Calls]

    def check(self, order: PlacedOrder, call: StepCall) -> Ended:
        calls = self.calls()
        with calls.store.question() as work:
            crm = _first_with(work, "crm")
        if crm is None:
            return Done({"standing": "unchecked"})
        try:
            ended = actions.perform(
                calls.store,
                calls.open_client,
                crm,
                "get_standing",
                {"key": order.email},
                key=call.key,
                actor=call.actor,
            )
        except HubError as error:
            return _refused_or_failed(error)
        if isinstance(ended, Done) and ended.output is not None:
            if ended.output["standing"] == "blocked":
                return Refused(f"{crm} has the customer as blocked")
            return Done({"standing": ended.output["standing"], "age_s": ended.age_s})
        return ended


@dataclass(frozen=True)
class HubStock:
    """Stock that the hub holds."""

    reserving: Reserving = field(default_factory=Reserving)

    def reserve(self, work: Work, order: PlacedOrder) -> Ended:
        return _held(reservations.reserve(work, order.order_id, order.wanted, self.reserving, country=order.country))

    def keep(self, work: Work, order: PlacedOrder) -> Ended:
        return _held(reservations.keep(work, order.order_id, order.wanted, self.reserving, country=order.country))

    def sell(self, work: Work, order: PlacedOrder) -> Ended:
        reservations.sell(work, order.order_id)
        return Done({})

    def release(self, work: Work, order: PlacedOrder) -> Ended:
        return Done({"released": reservations.release(work, order.order_id)})

    def count(self, work: Work, order: PlacedOrder, written: Document) -> Ended:
        levels = [_stock_state(level) for level in written.get("levels", ())]
        reservations.count(work, order.order_id, levels)
        return Done({"counted": [level.sku for level in levels]})


def _held(found: Held | OutOfStock) -> Ended:
    if isinstance(found, OutOfStock):
        return Refused(str(found))
    parts = [{"sku": part.sku, "warehouse": part.warehouse_id, "quantity": part.quantity} for part in found.parts]
    return Done({"parts": parts, "by_platform": list(found.by_platform)})


@dataclass(frozen=True)
class GatewayMoney:
    """The payment of an order; its reference is the order's ID."""

    calls: Callable[[], Calls]

    def authorise(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        request = PaymentRequest(
            reference=order.order_id,
            amount_minor=order.total_minor,
            currency=order.currency,
            payment_methods=order.payment_methods,
            customer_reference=order.customer_reference,
            return_url=order.return_url,
        )
        money = self.calls().payments(call)
        try:
            payment = payments.authorise(money, request, actor=call.actor)
        except HubError as error:
            return _refused_or_failed(error)
        if payment.state is PaymentState.FAILED and (refused := _refusal_of(money.store, payment)):
            return Refused(refused)
        return _authorised(payment)

    def void(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        money = self.calls().payments(call)
        payment = _payment_of(money.store, order)
        if payment is None:
            return Done({"nothing": True})
        return _tried(lambda: _voided(money, payment, call))

    def capture(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        money = self.calls().payments(call)
        payment = _payment_of(money.store, order)
        if payment is None:
            return Refused("nothing was authorised")
        return _tried(
            lambda: _of_leg(payments.capture(money, Request(payment.payment_id, call.key, call.actor)), "captured")
        )

    def refund(self, order: PlacedOrder, call: StepCall) -> TryEnd:
        money = self.calls().payments(call)
        payment = _payment_of(money.store, order)
        if payment is None:
            return Done({"nothing": True})
        return _tried(lambda: _refunded(money, payment, call))


def _payment_of(store: Store, order: PlacedOrder) -> Payment | None:
    with store.question() as work:
        found = payment_repository.page(work, reference=order.order_id, limit=1)
    return found[0] if found else None


def _refusal_of(store: Store, payment: Payment) -> str | None:
    """Find why every gateway refused what was asked, and would again; None where one may take it another time."""
    with store.question() as work:
        asked = [
            leg for leg in payment_repository.legs_of(work, payment.payment_id) if leg.operation is Operation.AUTHORISE
        ]
    final = [
        leg for leg in asked if leg.outcome is Outcome.REFUSED and (not leg.try_other or leg.code == INPUT_REFUSED)
    ]
    if not final or len(final) < len(asked):
        return None
    return "; ".join(f"{leg.gateway}: {leg.message or 'it refused the payment'}" for leg in final)


def _authorised(payment: Payment) -> TryEnd:
    named = {"payment_id": payment.payment_id}
    match payment.state:
        case PaymentState.AUTHORISED:
            return Done(named)
        case PaymentState.DECLINED | PaymentState.PARTLY_AUTHORISED | PaymentState.VOIDED:
            return Refused(f"the payment is {payment.state.replace('_', ' ')}")
        case PaymentState.FAILED:
            return Failed("no gateway could be asked")
        case PaymentState.REQUIRES_ACTION | PaymentState.PENDING:
            return Waiting(_UNDECIDED[payment.state])
        case PaymentState.OPEN | PaymentState.UNKNOWN:
            return Unknown("no gateway said what became of the payment")
        case _:
            # Captured already: what is taken was authorised.
            return Done(named)


def _voided(money: Payments, payment: Payment, call: StepCall) -> TryEnd:
    """Release each authorisation that is there, or may be."""
    payment = _resolved(money, payment)
    number = 0
    while payment.live_authorisations or payment.state in _LIVE:
        number += 1
        try:
            leg = payments.void(money, Request(payment.payment_id, f"{call.key[:56]}-{number}", call.actor))
        except AmountRefused:
            break
        if leg.outcome is not Outcome.DONE:
            return _of_leg(leg, "voided")
        payment = payments.show(money.store, payment.payment_id)
        if number > len(payment.payment_methods) + 1:
            break
    if payment.is_unresolved:
        return Unknown("no gateway said what became of the payment")
    _, amounts = _books_of(money.store, payment)
    if amounts.refundable_minor:
        # The capture of the order was undone before this: somebody took the money otherwise.
        return Refused("the payment is captured, and not refunded")
    return Done({"voided": number})


def _refunded(money: Payments, payment: Payment, call: StepCall) -> TryEnd:
    """Give back all that was taken."""
    payment = _resolved(money, payment)
    if payment.is_unresolved:
        return Unknown("no gateway said what became of the payment")
    asked, amounts = _books_of(money.store, payment)
    if not amounts.refundable_minor and not any(leg.request_key == call.key for leg in asked):
        if amounts.capture_pending_minor:
            return Waiting("the gateway has not said yet that the capture is done")
        # Nothing was taken, or somebody gave it back.
        return Done({"nothing": True})
    return _of_leg(payments.refund(money, Request(payment.payment_id, call.key, call.actor)), "refunded")


def _books_of(store: Store, payment: Payment) -> tuple[list[Leg], Amounts]:
    """Read the refunds of a payment that were asked for, and its amounts."""
    with store.transaction() as work:
        facts = payment_repository.facts_of(work, payment.payment_id)
        legs = payment_repository.legs_of(work, payment.payment_id)
    return [leg for leg in legs if leg.operation is Operation.REFUND], amounts_of(facts, payment.currency)


def _resolved(money: Payments, payment: Payment) -> Payment:
    if not payment.is_unresolved:
        return payment
    return payments.resolve(money, payment.payment_id)


def _of_leg(leg: Leg, done: str) -> Ended:
    match leg.outcome:
        case Outcome.DONE:
            return Done({done: True, "gateway": leg.gateway, "payment_id": leg.payment_id})
        case Outcome.REFUSED:
            return Refused(leg.message or f"{leg.gateway} refused it")
        case Outcome.FAILED:
            return Failed(leg.message or f"{leg.gateway} could not be asked")
        case Outcome.OPEN | Outcome.UNKNOWN:
            return Unknown(leg.message or f"{leg.gateway} did not say what became of it")


def _tried(ask: Callable[[], T]) -> T | Ended:
    try:
        return ask()
    except HubError as error:
        return _refused_or_failed(error)


def _refused_or_failed(error: HubError) -> Ended:
    """Translate an error before anything was sent."""
    if isinstance(error, StoreUnavailable):
        raise error
    if isinstance(error, PaymentBusy):
        return Unknown(str(error))
    if isinstance(error, Transient):
        return Failed(str(error), error.retry_in_s)
    return Refused(str(error))


@dataclass(frozen=True)
class StubShipping:
    """Stands for carriers, which do not exist yet: it schedules nothing, and says so in the step's output."""

    def schedule(self, _work: Work, _order: PlacedOrder) -> Ended:
        return Done({"stub": True})

    def cancel(self, _work: Work, _order: PlacedOrder) -> Ended:
        return Done({"stub": True})


@dataclass(frozen=True)
class MailConfirmations:
    """The confirmation, by mail. What becomes of the mail is the mail's own affair: the order is confirmed without it."""

    calls: Callable[[], Calls]

    def send(self, order: PlacedOrder, call: StepCall) -> Ended:
        if order.email is None:
            return Done({"mail": "forgotten"})
        calls = self.calls()
        try:
            record = mail.send(
                calls.store,
                calls.open_client,
                "order_confirmation",
                order.order_id,
                to=Mailbox(order.email, order.customer_name),
                values=_mail_values(order),
                actor=call.actor,
            )
        except StoreUnavailable:
            raise
        except Transient as error:
            return Failed(str(error))
        except (BadRequest, NotFound, Conflict) as error:
            return Done({"mail": "not sent", "because": str(error)})
        if record.state is MailState.FAILED:
            return Failed(record.reason or "no mailer could be asked")
        return Done({"mail": record.state, "mail_id": record.mail_id})


@dataclass(frozen=True)
class PlatformOrders:
    """
    The order on its commerce platform: its number there is the order's reference.

    Each state is written with a mark of its own, to a version that was read before. What was written once is not written
    again, whatever the platform did with the order since.
    """

    calls: Callable[[], Calls]

    def take(self, work: Work, order: PlacedOrder) -> Ended:
        if not _is_platform(work, order.platform):
            return Refused(f"there is no commerce platform {order.platform!r}")
        return Done({"platform": order.platform})

    def confirm(self, order: PlacedOrder, call: StepCall) -> Ended:
        return _tried(lambda: self._with_levels(order, call, self._write(order, call, "confirmed")))

    def cancel(self, order: PlacedOrder, call: StepCall) -> Ended:
        return _tried(lambda: self._write(order, call, "cancelled"))

    def _write(self, order: PlacedOrder, call: StepCall, state: str) -> Ended:
        store = self.calls().store
        with store.transaction() as work:
            if not _is_platform(work, order.platform):
                return Done({"skipped": f"{order.platform} is not there any more"})
            unknown = attempts.unknown_with(work, order.platform or "", _prefix_of(call))
        for attempt in unknown:
            # It is resolved by its own key and version, before another version is named.
            ended = self._send(order, call, _mark_of(order, state), *_named_in(attempt.key, call))
            if not isinstance(ended, Failed):
                return ended
        found = self._perform(order, call, "find_order", {"number": order.reference}, call.key)
        if not isinstance(found, Done) or found.output is None:
            return found
        return self._write_to(order, call, state, found.output["order"])

    def _write_to(self, order: PlacedOrder, call: StepCall, state: str, known: Document | None) -> Ended:
        """Write to the order as the platform has it now."""
        if known is None and state == "cancelled":
            return Done({"nothing": True})
        if known is None:
            return Refused(f"{order.platform} has no order {order.reference!r}")
        mark = _mark_of(order, state)
        if mark in known["marks"]:
            return _written(order, known)
        if known["state"] == "cancelled" and state == "confirmed":
            return Refused(f"{order.platform} has cancelled the order, which is paid for here. Cancel it here, too")
        # What the shop has completed is not taken back: only the payment and the mark are written.
        written = "complete" if known["state"] == "complete" and state == "confirmed" else state
        ended = self._send(order, call, mark, written, known["version"])
        if isinstance(ended, Refused) and ended.status == HTTPStatus.CONFLICT:
            return Failed(f"{order.platform} has changed the order meanwhile; it is read again")
        return ended

    def _send(self, order: PlacedOrder, call: StepCall, mark: str, state: str, version: str) -> Ended:
        given = {"number": order.reference, "version": version, "state": state, "mark": mark}
        ended = self._perform(order, call, "write_order_state", given, f"{_prefix_of(call)}{state}.{version}")
        return _written(order, ended.output["order"]) if isinstance(ended, Done) and ended.output else ended

    def _with_levels(self, order: PlacedOrder, call: StepCall, written: Ended) -> Ended:
        """Add the stock levels from which the platform took this order's units itself, as they are now."""
        if not isinstance(written, Done) or written.output is None or "counted" not in written.output:
            return written
        with self.calls().store.transaction() as work:
            sold = stock.sold_parts(work, order.order_id)
        levels = []
        for part, channel in _counted(order, sold, written.output["counted"]):
            ended = self._perform(order, call, "get_stock_level", {"id": part.entry_id}, call.key)
            if not isinstance(ended, Done) or ended.output is None:
                return ended
            if ended.output["level"] is not None:
                levels.append(_level(order, part, channel, ended.output["level"]))
        return Done({**written.output, "levels": levels})

    def _perform(self, order: PlacedOrder, call: StepCall, action: str, given: Document, key: str) -> Ended:
        assert order.platform is not None  # noqa: S101  the flow is that of orders with a platform
        calls = self.calls()
        try:
            return actions.perform(
                calls.store,
                calls.open_client,
                order.platform,
                action,
                given,
                key=key,
                actor=call.actor,
                on_begin=call.refuse_replaced,
                asks_person=False,  # the step asks
            )
        except IntegrationPaused as paused:
            # It ends, and no order is to wait for a person because of it.
            return Failed(str(paused))


def _is_platform(work: Work, integration_id: str | None) -> bool:
    """Check that an integration is there, also a paused one, and is a commerce platform."""
    found = registry.find(work, integration_id) if integration_id else None
    return found is not None and "commerce_platform" in manifest_of(found.kind).provides


def _mark_of(order: PlacedOrder, state: str) -> str:
    return f"{order.order_id}.{state}"


def _prefix_of(call: StepCall) -> str:
    """Begin the keys of this step's writes: one for each version that is named. One of them at most has an effect."""
    return f"{call.key[:WRITE_KEY_CHARACTERS]}."


def _named_in(key: str, call: StepCall) -> tuple[str, str]:
    """Read the state and the version that a write named."""
    state, _, version = key.removeprefix(_prefix_of(call)).partition(".")
    return state, version


def _written(order: PlacedOrder, known: Document) -> Done:
    return Done({"platform": order.platform, "version": known["version"], "counted": known["counted"]})


def _counted(
    order: PlacedOrder, sold: Sequence[SoldPart], counted: Iterable[Document]
) -> Iterator[tuple[SoldPart, str | None]]:
    """Find what was sold from just where the platform took as many units for the order."""
    units: Counter[tuple[str, str | None]] = Counter()
    for line in counted:
        units[line["sku"], line["supply_channel"]] += line["quantity"]
    for (sku, channel), quantity in units.items():
        for part in sold:
            place = f"{_source_of(order)}:{channel}" if channel else _source_of(order)
            if (part.sku, part.warehouse_id) == (sku, place) and part.entry_id and part.quantity <= quantity:
                yield part, channel


def _source_of(order: PlacedOrder) -> str:
    return f"/integrations/{order.platform}"


def _stock_state(level: Document) -> StockState:
    """Read a level that the output of a step has."""
    return msgspec.convert([level[name] for name in StockState._fields], StockState)


def _level(order: PlacedOrder, part: SoldPart, channel: str | None, said: Document) -> Document:
    return {
        "source": _source_of(order),
        "id": part.entry_id,
        "sku": part.sku,
        "warehouse": channel,
        "available": said["available"],
        "version": said["version"],
        "as_of": said["modified_at"],
        "created_at": said["created_at"],
    }


def _mail_values(order: PlacedOrder) -> Document:
    def money(amount_minor: int) -> str:
        return f"{decimal_text(amount_minor, currency_exponent(order.currency))} {order.currency}"

    return {
        "order_number": order.reference,
        "customer_name": order.customer_name,
        "lines": [
            {"quantity": line.quantity, "name": line.name or line.sku, "total": money(line.quantity * line.price_minor)}
            for line in order.lines
        ],
        "total": money(order.total_minor),
    }


def _first_with(work: Work, capability: str) -> str | None:
    """Find the first active integration whose connector provides *capability*, by ID; None if there is none."""
    known = manifests()
    able = sorted(
        found.integration_id
        for found in registry.list_all(work)
        if found.state is IntegrationState.ACTIVE and found.kind in known and capability in known[found.kind].provides
    )
    return able[0] if able else None


def order_flows(calls: Callable[[], Calls]) -> dict[str, FixedFlow]:
    """Wire the flows of orders. *calls* gives each thread its own."""

    def read(order_id: str) -> PlacedOrder:
        with calls().store.question() as work:
            return placed_repository.get(work, order_id)

    return steps.flows(
        Ports(
            read=read,
            customers=CrmCustomers(calls),
            stock=HubStock(Reserving(rules=[Rule(name) for name in settings().sourcing_rule_names])),
            money=GatewayMoney(calls),
            shipping=StubShipping(),
            confirmations=MailConfirmations(calls),
            platform=PlatformOrders(calls),
        )
    )


def not_called() -> Calls:
    """Stand for the calls where an order is only placed, or read."""
    raise StepElsewhere


class StepElsewhere(Terminal):
    """A defect of ours: a step of an order was made where orders are only placed."""

    def __init__(self) -> None:
        super().__init__("Steps of orders are made by the delivery workers, not here")


class _Either(Mapping[str, Flow]):
    """The flows of orders, and others that are found by their names."""

    def __init__(self, orders: Mapping[str, Flow], others: Mapping[str, Flow]) -> None:
        self._orders, self._others = orders, others

    def __getitem__(self, name: str) -> Flow:
        return self._orders[name] if name in self._orders else self._others[name]

    def __iter__(self) -> Iterator[str]:
        yield from (*self._orders, *self._others)

    def __len__(self) -> int:
        return len(self._orders) + len(self._others)


class OrderDriver:
    """Moves orders on by events, several at a time, and takes up what is due. Each thread has a database of its own."""

    def __init__(
        self,
        open_calls: Callable[[], Calls],
        *,
        threads: int = 8,
        patience_s: float = 20.0,
        idle: Callable[[], None] = lambda: None,
        others: Callable[[Callable[[], Calls]], Mapping[str, Flow]] = lambda _: {},
    ) -> None:
        self._open_calls, self._threads, self._local, self._idle = open_calls, threads, threading.local(), idle
        self._patience_s = patience_s
        self._opened: list[Calls] = []
        self._starting = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        #: With those of declared workflows, which go on by events when no run of their DAG takes them.
        self._flows: Mapping[str, Flow] = _Either(order_flows(self._calls), others(self._calls))

    def deliver(self, events: Sequence[Event]) -> None:
        """
        Move the order of each event on. Idempotent: what was made is not made again.

        Where a gateway is slow, it returns before all are made: those orders are taken up when they are due. Otherwise the
        delivery would take this for a subscriber that hangs, and blame the events.

        Raises:
            StoreUnavailable: the hub's database failed. Delivering again is safe.

        """
        pool = self._running()
        orders = dict.fromkeys(event.partition_key for event in events)
        steps_made, left = wait([pool.submit(self._step, order) for order in orders], self._patience_s)
        for step in left:
            step.cancel()
        for step in steps_made:
            if not step.cancelled():
                step.result()

    def take_up_due(self) -> int:
        """
        Move on what is due, and return how many: a retry, an order whose event did not come, one that somebody cancelled.

        Raises:
            StoreUnavailable: the hub's database failed. Calling it again is safe.

        """
        store = self._calls().store
        reservations.release_expired(store)
        engine.take_over(store)
        due = engine.take_due(store, Driver.EVENTS)
        if due:
            list(self._running().map(self._go_on, [execution.execution_id for execution in due]))
        else:
            self._idle()
        return len(due)

    def move(
        self, execution_ids: Sequence[str], driver: Driver, *, within: Sequence[str], undoes: bool = False
    ) -> None:
        """
        Try the steps *within* those, once, of several executions at a time; with *undoes*, undo instead what has to be undone.

        Raises:
            StoreUnavailable: the hub's database failed. Calling it again is safe.

        """

        def one(execution_id: str) -> None:
            engine.go_on(
                self._calls().store,
                self._flows,
                execution_id,
                driver,
                within=within,
                undoes=undoes,
                once=not undoes,
            )

        list(self._running().map(one, execution_ids))

    @property
    def store(self) -> Store:
        """The database of the calling thread."""
        return self._calls().store

    def close(self) -> None:
        """Close what is open. Afterwards it can be used again."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            # What has not begun is taken up when it is due.
            pool.shutdown(wait=True, cancel_futures=True)
        self._local = threading.local()
        for calls in self._opened:
            with suppress(Exception):
                calls.store.close()
        self._opened.clear()

    def _running(self) -> ThreadPoolExecutor:
        """Start the threads at their first use: by the delivery, or by what is due beside it."""
        with self._starting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="orders")
            return self._pool

    def _go_on(self, execution_id: str) -> None:
        # A workflow may have a thousand calls: the others that are due are not to wait for all of them.
        engine.go_on(self._calls().store, self._flows, execution_id, Driver.EVENTS, for_s=_LONGEST_TURN_S)

    def _step(self, order_id: str) -> None:
        store = self._calls().store
        with store.question() as work:
            execution = order_service.execution_of(work, order_id)
        # Looked at before the lock, too: a run of the DAG that moves the order need not wait for its own events.
        if execution.driver is Driver.EVENTS and execution.next_at is not None:
            engine.advance(store, self._flows, execution.execution_id, driver=Driver.EVENTS)

    def _calls(self) -> Calls:
        """Open what the steps of this thread need, on its first use."""
        found: Calls | None = getattr(self._local, "calls", None)
        if found is None:
            found = self._open_calls()
            self._local.calls = found
            self._opened.append(found)
        return found

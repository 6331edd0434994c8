"""
Stock under anything that can happen to it, in any order, against a platform that keeps books of its own.

The platform sells by itself, counts the hub's sales or does not, restocks, and removes an entry and makes it anew; the hub hears
of it late, twice, or out of order, and holds, sells, counts and releases.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from crossdock.commerce.inventory import reservation_repository as repository
from crossdock.commerce.inventory import reservations
from crossdock.commerce.inventory.repository import StockState
from crossdock.commerce.inventory.reservation_repository import HoldState
from crossdock.commerce.inventory.reservations import Held, Reserving
from crossdock.db.database import Store

_START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()
_units = st.integers(1, 4)


@dataclass(frozen=True)
class Said:
    """A stock level as the platform said it once, with what its books had then."""

    state: StockState
    #: Units that were ever there, without those that the platform sold itself.
    units: int


class StockMachine(RuleBasedStateMachine):
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.sku = f"sku-{next(_numbers)}"
        self.minute, self.entry, self.version, self.made_at = 0, 0, 0, _START
        self.units, self.counted = 5, 0
        #: Order → units, and whether the platform took them from its stock.
        self.orders: dict[str, tuple[int, bool]] = {}
        self.states: dict[str, str] = {}
        self.said: dict[tuple[datetime, int], Said] = {}
        #: Levels that were read for an order, and not recorded yet.
        self.read: dict[str, StockState] = {}
        self._change()
        self._hear(self._latest)

    # --- the platform

    def _change(self) -> None:
        self.minute += 1
        self.version += 1
        at = _START + timedelta(minutes=self.minute)
        if self.version == 1:
            self.made_at = at
        state = StockState(
            "shop",
            f"{self.sku}-{self.entry}",
            self.sku,
            "berlin",
            self.units - self.counted,
            self.version,
            at,
            self.made_at,
        )
        self._latest = state
        self.said[self.made_at, self.version] = Said(state, self.units)

    @rule(units=_units)
    def platform_sells_by_itself(self, units: int) -> None:
        self.units -= min(units, max(self.units - self.counted, 0))
        self._change()

    @rule(units=_units)
    def platform_restocks(self, units: int) -> None:
        self.units += units
        self._change()

    @rule()
    def platform_makes_the_entry_anew(self) -> None:
        self.entry, self.version = self.entry + 1, 0
        self._change()

    @rule(units=_units, counts=st.booleans())
    def platform_takes_an_order(self, units: int, counts: bool) -> None:
        order = f"{self.sku}-order-{len(self.orders)}"
        self.orders[order] = (units, counts)
        self.states[order] = "placed"
        if counts:
            self.counted += units
            self._change()

    # --- what the hub hears

    @rule(data=st.data())
    def hub_hears_of_any_level(self, data: st.DataObject) -> None:
        self._hear(data.draw(st.sampled_from([said.state for said in self.said.values()])))

    @rule()
    def hub_hears_of_the_latest_level(self) -> None:
        self._hear(self._latest)
        assert self._figures.on_hand == self._latest.available, "it is stuck at an older level"

    def _hear(self, state: StockState) -> None:
        with self.store.transaction() as work:
            repository.set_on_hand(work, [state])

    # --- the hub

    def _one(self, data: Any, *states: str) -> str:
        chosen: str = data.draw(st.sampled_from(sorted(order for order, at in self.states.items() if at in states)))
        return chosen

    def _any(self, *states: str) -> bool:
        return any(at in states for at in self.states.values())

    @rule(units=_units, counts=st.booleans())
    def hub_sells_an_order_at_once(self, units: int, counts: bool) -> None:
        """As most orders go: what comes next then meets sold stock more often."""
        self.platform_takes_an_order(units, counts)
        order = list(self.orders)[-1]
        self._reserve(order)
        if self.states[order] == "held":
            self._sell(order)

    @precondition(lambda self: self._any("placed"))
    @rule(data=st.data())
    def hub_reserves(self, data: st.DataObject) -> None:
        self._reserve(self._one(data, "placed"))

    def _reserve(self, order: str) -> None:
        with self.store.transaction() as work:
            found = reservations.reserve(work, order, {self.sku: self.orders[order][0]}, Reserving())
        if not isinstance(found, Held):
            return
        self.states[order] = "held"
        claimed = sum(self.orders[order][0] for order, at in self.states.items() if at in ("held", "sold", "counted"))
        assert claimed <= self._heard.units, "more is promised than was there, by the books of the platform"

    @precondition(lambda self: self._any("held"))
    @rule(data=st.data())
    def hub_sells(self, data: st.DataObject) -> None:
        self._sell(self._one(data, "held"))

    def _sell(self, order: str) -> None:
        with self.store.transaction() as work:
            reservations.keep(work, order, {self.sku: self.orders[order][0]}, Reserving())
            reservations.sell(work, order)
        self.states[order] = "sold"

    @precondition(lambda self: any(self._is_to_count(order) for order in self.orders))
    @rule(data=st.data())
    def hub_writes_back_and_reads_the_level(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([order for order in self.orders if self._is_to_count(order)]))
        self.read[order] = self._latest

    @rule(units=_units, more=_units)
    def hub_counts_a_sale_at_once_and_sells_again(self, units: int, more: int) -> None:
        self.hub_sells_an_order_at_once(units, counts=True)
        order = list(self.orders)[-1]
        if self.states[order] == "sold":
            self._count(order, self._latest)
        self.hub_sells_an_order_at_once(more, counts=False)

    def _is_to_count(self, order: str) -> bool:
        return self.states[order] == "sold" and self.orders[order][1]

    @precondition(lambda self: self.read)
    @rule(data=st.data(), again=st.booleans())
    def hub_records_that_the_platform_counted(self, data: st.DataObject, again: bool) -> None:
        order = data.draw(st.sampled_from(sorted(self.read)))
        self._count(order, self.read[order] if again else self.read.pop(order))

    def _count(self, order: str, level: StockState) -> None:
        with self.store.transaction() as work:
            reservations.count(work, order, [level])
        if self.states[order] == "sold":
            self.states[order] = "counted"

    @precondition(lambda self: self._any("held", "sold", "counted"))
    @rule(data=st.data())
    def hub_releases(self, data: st.DataObject) -> None:
        """The units of one that the platform counted are back there only when the platform says so."""
        order = self._one(data, "held", "sold", "counted")
        with self.store.transaction() as work:
            reservations.release(work, order)
        self.states[order] = "released"

    @precondition(lambda self: any(self._is_to_give_back(order) for order in self.orders))
    @rule(data=st.data())
    def platform_gives_back(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([order for order in self.orders if self._is_to_give_back(order)]))
        self.counted -= self.orders[order][0]
        self.states[order] = "gone"
        self._change()

    def _is_to_give_back(self, order: str) -> bool:
        return self.states[order] == "released" and self.orders[order][1]

    # --- what holds at any time

    @property
    def _figures(self) -> repository.Figures:
        with self.store.transaction() as work:
            (found,) = repository.figures(work, [self.sku])
        return found

    @property
    def _heard(self) -> Said:
        """What the platform's books had in the level that the hub has."""
        with self.store.transaction() as work:
            row = work.execute(
                b"SELECT entry_created_at, version FROM stock WHERE sku = %(sku)s", {"sku": self.sku}
            ).fetchone()
        assert row is not None
        return self.said[row[0], row[1]]

    @invariant()
    def the_figures_add_up(self) -> None:
        now = self._figures
        assert now.available + now.held + now.sold == now.on_hand + now.missing
        assert now.on_hand == self._heard.state.available
        for state, units in ((HoldState.HELD, now.held), (HoldState.SOLD, now.sold)):
            assert units == sum(self.orders[order][0] for order, at in self.states.items() if at == state), state


def test_stock_is_neither_sold_twice_nor_subtracted_twice(store: Store) -> None:
    """By the platform's own books, for any order of what happens."""

    class Machine(StockMachine):
        pass

    Machine.store = store
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_an_entry_that_is_made_anew_is_not_stuck_behind_the_versions_of_the_one_before(store: Store) -> None:
    """It begins at version 1. What is still heard of the one before counts no more."""

    def state(available: int, version: int, minute: int, made_minute: int) -> StockState:
        at, made_at = _START + timedelta(minutes=minute), _START + timedelta(minutes=made_minute)
        return StockState("shop", f"id-{made_minute}", "mug", None, available, version, at, made_at)

    with store.transaction() as work:
        for said in (state(5, 7, 1, 0), state(9, 1, 2, 2), state(4, 8, 1, 0)):
            repository.set_on_hand(work, [said])
        (found,) = repository.figures(work, ["mug"])

    assert (found.on_hand, found.available) == (9, 9)

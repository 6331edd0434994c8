"""How many statements one order takes: what an order costs the hub and its database, on a machine of any speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from crossdock.commerce.orders.placement import OrderState
from crossdock.db.database import Store
from tests.commerce.orders.placing import OrderHub, open_hub

#: From its beginning to its confirmation, without the CRM and the mail. It was 152 in 22 when this was first counted, and eight
#: more were not counted: its events went in by COPY.
MOST_STATEMENTS, MOST_TRANSACTIONS = 102, 13


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderHub]:
    with open_hub(store, monkeypatch) as opened:
        opened.stock("mug", 100)
        opened.go_on(opened.place("w-0"))
        yield opened


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the statements of this process, by their beginning; BEGIN is that of each transaction."""
    found: Counter[str] = Counter()
    real, real_transaction = psycopg.Cursor.execute, Store.transaction

    def counted(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        found[" ".join((query if isinstance(query, str) else bytes(query).decode()).split())[:200]] += 1
        return real(cursor, query, *arguments, **options)

    def counted_transaction(store: Store) -> Any:
        found["BEGIN"] += 1
        return real_transaction(store)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    monkeypatch.setattr(Store, "transaction", counted_transaction)
    return found


def test_an_order_takes_no_more_statements_than_it_did(hub: OrderHub, statements: Counter[str]) -> None:
    placed = hub.place("w-1")
    statements.clear()
    hub.advance(placed)
    transactions = statements.pop("BEGIN")
    number_of = statements.total()
    shown = "\n".join(f"{number:3} {text}" for text, number in statements.most_common())

    assert hub.order(placed).state is OrderState.CONFIRMED
    assert transactions <= MOST_TRANSACTIONS
    assert number_of <= MOST_STATEMENTS, shown

"""What a page costs the database, whatever is stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from crossdock.db.database import Store
from crossdock.stack.postgres import PostgresServer
from tests.api.conftest import Hub
from tests.api.test_decisions import waiting
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry
from tests.web.conftest import Visitor
from tests.web.test_other_pages import SHOP
from tests.web.workflows import add, executed

MOST = 8
#: A transaction's ends, and what each new connection asks: whether the store has moved.
_NOT_COUNTED = re.compile(r"BEGIN|COMMIT|.*FROM event_epoch", re.DOTALL)


@contextmanager
def statements(server: PostgresServer, hub: Hub) -> Iterator[list[str]]:
    """Collect what the database of *hub* is asked."""
    name = psycopg.conninfo.conninfo_to_dict(hub.dsn)["dbname"]
    found: list[str] = []
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
        before = server.log.stat().st_size
        try:
            yield found
        finally:
            connection.execute(f"ALTER DATABASE {name} RESET log_statement")
    with server.log.open(errors="replace") as log:
        log.seek(before)
        logged = re.findall(r"LOG:  (?:statement|execute [^:]+): (.*?)(?=\n\S*\d{4}-|\Z)", log.read(), re.DOTALL)
    found += [text for text in logged if not _NOT_COUNTED.match(text.strip())]


PAGES = [
    "/badge",
    "/overview",
    "/runs",
    "/runs/{run}",
    "/runs/{run}/rows",
    "/quarantine",
    "/quarantine/{item}",
    "/dead-letters",
    "/replays",
    "/events",
    "/events/1-1",
    "/event-delivery",
    "/event-volumes",
    "/orders",
    "/orders/{order}",
    "/workflows",
    "/workflows/refund_with_approval",
    "/workflows/refund_with_approval/deploy",
    "/executions",
    "/executions/{execution}",
    "/decisions",
    "/integrations",
    "/integrations/shop_eu",
    "/alerts",
    "/alert-mutes",
    "/alert-routes",
    "/audit",
]
#: What a viewer may not see.
OF_OPERATORS = ["/integrations/shop_eu/change", "/integrations/shop_eu/rotate", "/new-integration"]


#: For those who define and execute.
OF_DEVELOPERS = [
    "/workflow-editor",
    "/workflows/refund_with_approval/edit",
    "/workflows/refund_with_approval/test",
    "/workflows/refund_with_approval/execute",
]


def test_a_page_takes_few_statements(
    postgres: PostgresServer, pages: Hub, hub_store: Store, vera: Visitor, otto: Visitor
) -> None:
    """For a viewer, who sees most: that an operator saw somebody's data is written down, too."""
    order_id, _ = waiting(pages)
    query(hub_store, SHOP)
    for version in range(1, 4):
        Triage(hub_store).sync(entry(version=version), entry(id=f"bad-{version}", quantityOnStock=-3))
    ((run_id,),) = query(hub_store, "SELECT max(run_id) FROM sync_run")
    ((item_id,),) = query(hub_store, "SELECT min(item_id) FROM quarantine_item")
    add(hub_store)
    known = {"{run}": run_id, "{order}": order_id, "{item}": item_id, "{execution}": executed(hub_store).execution_id}
    taken = {}
    dora = Visitor(pages, "dora")
    asked = [
        *((vera, path) for path in PAGES),
        *((otto, path) for path in OF_OPERATORS),
        *((dora, path) for path in OF_DEVELOPERS),
    ]
    for visitor, path in asked:
        with statements(postgres, pages) as found:
            visitor.get(re.sub(r"\{\w+\}", lambda found: str(known[found[0]]), path))
        assert visitor.status == 200, path
        taken[path] = found

    assert {path: len(found) for path, found in taken.items() if not 0 < len(found) <= MOST} == {}, taken

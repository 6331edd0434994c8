"""What docs/how-to/add-a-subscriber.md says of a new subscriber is all that it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from crossdock.db.database import Store
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import query

DOCS = Path(__file__).parents[2] / "docs/how-to/add-a-subscriber.md"


def test_the_subscriber_of_the_docs_works_as_it_stands_there(store: Store, hub_dsn: str) -> None:
    """An example that is not run goes stale, and the first thing that a new engineer does fails."""
    module, line = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    handler: dict[str, Any] = {}
    exec(module, handler)  # noqa: S102  our own page
    name, of = re.fullmatch(
        r'\s*"(\w+)": Subscriber\(types=\(STOCK_CHANGED,\), apply=(\w+)\.apply\),\s*', line
    ).groups()  # type: ignore[union-attr]
    assert of == "sold_out"
    publish(store, stock("CHAIR", 1, 0), stock("CHAIR", 2, 5), stock("RUG", 1, 0), stock("RUG", 2, 0))

    with delivery(hub_dsn, {name: Subscriber(types=(STOCK_CHANGED,), apply=handler["apply"])}):
        eventually(
            lambda: query(store, "SELECT kind, subject FROM alert WHERE closed_at IS NULL"), [("sold_out", "RUG")]
        )

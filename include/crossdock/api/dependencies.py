"""Dependencies of the routes: the hub's database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends

from crossdock.core.settings import settings
from crossdock.db.database import Store


def open_store() -> Iterator[Store]:
    """Open the hub's database for one request: threads do not share a connection."""
    with Store.from_connection(settings().store_connection) as store:
        yield store


OpenStore = Annotated[Store, Depends(open_store)]

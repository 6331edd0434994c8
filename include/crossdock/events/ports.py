"""Services that subscribers need from higher rooms, as Protocols; `app` provides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class RecordFetcher(Protocol):
    """Fetches single records from their source, on demand."""

    def fetch(self, stream_id: str, keys: Sequence[str]) -> None:
        """
        Fetch the records of a stream under *keys* and load them before this returns. Idempotent: fetching again changes nothing.

        Raises:
            HubError: Transient or Terminal; none or some of the records may be loaded.

        """
        ...

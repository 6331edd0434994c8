"""What a handler may do outside the hub's database, as Protocols: handlers cannot see the flows that do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class KeyPuller(Protocol):
    """Brings single records in."""

    def pull(self, entity: str, keys: Sequence[str]) -> None:
        """
        The records under *keys*, read from their source and loaded by the time this returns. Doing it again changes nothing.

        Raises:
            HubError: of the two families; none or some of the records may be in.

        """
        ...

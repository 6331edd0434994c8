"""What alerting needs from connectors: a channel that takes one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, Self

from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.maintenance.alerting.model import AlertMessage


class AlertChannel(Protocol):
    """
    Sends the messages of alerts over one integration. The connector's manifest names the class as `provides.alert_channel`.

    It works without Airflow, the event engine and the cache: with no more than the connection.
    """

    #: Whether a route over it names recipients (mail addresses). Otherwise the connection says where a message goes.
    takes_recipients: ClassVar[bool]
    #: Whether the receiver, or its program, knows a message that it gets twice by its ID.
    knows_repetitions: ClassVar[bool]

    @classmethod
    def of(cls, integration: str, connection: Connection, share: SafeguardsFactory | None) -> Self:
        """
        Open the channel of *integration*.

        Raises:
            BadRequest: a value of the connection is missing or not valid.

        """
        ...

    def check_recipient(self, recipient: str) -> None:
        """
        Check one recipient of a route.

        Raises:
            BadRequest: it is not valid; the message says why.

        """
        ...

    def send(self, message: AlertMessage, recipients: Sequence[str]) -> None:
        """
        Send *message*, escaped for what the receiver shows: nothing in it becomes markup, a mention or a control character.

        Raises:
            Transient: it was not accepted. Send it again later.
            OutcomeUnknown: nobody knows whether it was accepted. Send it again with the same ID: lost is worse than twice.
            Terminal: the receiver refuses it: the address, the login or the message is wrong. The next one may pass.

        """
        ...

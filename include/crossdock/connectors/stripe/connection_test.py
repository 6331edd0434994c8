"""The connection test of Stripe."""

from __future__ import annotations

from crossdock.connectors.stripe.client import BASE_URL, Stripe
from crossdock.connectors.stripe.records import IntentList, RefundList, decoded
from crossdock.http.connection import Connection
from crossdock.http.model import Limits

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
_ONE = {"limit": 1}


class StripeConnectionTest:
    """
    Test one account. It only reads.

    Raises:
        BadRequest: the connection has no secret key.

    """

    def __init__(self, connection: Connection) -> None:
        self._account = Stripe.of(connection, limits=_QUICK)
        self.url = connection.url or BASE_URL
        self._payments = IntentList([], has_more=False)

    def credentials(self) -> str:
        self._payments = self._account.http.get(
            "/v1/payment_intents", _ONE, lambda response: decoded(response, IntentList)
        )
        return "the provider accepts the key"

    def scope(self) -> str:
        self._account.http.get("/v1/refunds", _ONE, lambda response: decoded(response, RefundList))
        return "may read payments and refunds; whether it may write them shows with the first payment"

    def sample(self) -> str:
        if not self._payments.data:
            return "the account has no payments yet"
        return f"read one payment, in {self._payments.data[0].currency.upper()}"

"""The connection test of Adyen."""

from __future__ import annotations

from crossdock.connectors.adyen.client import Adyen
from crossdock.core.errors import SystemRefused
from crossdock.http.connection import Connection
from crossdock.http.model import Limits

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
_FORBIDDEN = 403


class AdyenConnectionTest:
    """
    Test one merchant account by listing its payment methods: no payment can be read, and none is made.

    Raises:
        BadRequest: the connection has no host, merchant account or API key.

    """

    def __init__(self, connection: Connection) -> None:
        self._adyen = Adyen.of(connection, limits=_QUICK)
        self.url = connection.url
        self._refusal: SystemRefused | None = None
        self._methods = 0

    def credentials(self) -> str:
        try:
            self._methods = self._adyen.count_payment_methods()
        except SystemRefused as refused:
            if refused.status != _FORBIDDEN:
                raise
            # Adyen knows the key, but not for this merchant account: the check `scope` reports it.
            self._refusal = refused
        return "Adyen accepts the API key"

    def scope(self) -> str:
        if self._refusal is not None:
            raise self._refusal
        return f"may use the merchant account {self._adyen.merchant_account}"

    def sample(self) -> str:
        return f"the merchant account has {self._methods:,} payment methods"

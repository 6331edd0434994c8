"""Adyen, the payment platform: Checkout API v71, https://docs.adyen.com/api-explorer/Checkout/71/overview."""

from crossdock.connectors.adyen.client import KIND, Adyen

__all__ = ["KIND", "Adyen"]

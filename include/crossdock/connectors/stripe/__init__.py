"""Stripe, the payment provider: https://docs.stripe.com/api."""

from crossdock.connectors.stripe.client import KIND, Stripe

__all__ = ["KIND", "Stripe"]

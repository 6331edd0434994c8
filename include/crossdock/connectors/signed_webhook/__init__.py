"""A receiver of signed webhooks, as https://www.standardwebhooks.com has them: ID, timestamp, and a signature of both and the body."""

from crossdock.connectors.signed_webhook.client import KIND, SignedWebhook

__all__ = ["KIND", "SignedWebhook"]

"""SendGrid, a mail system with an HTTP API (v3): https://www.twilio.com/docs/sendgrid/api-reference."""

from crossdock.connectors.sendgrid.client import KIND, SendGrid

__all__ = ["KIND", "SendGrid"]

"""A mail server that relays for us, over SMTP (RFC 5321): with STARTTLS or TLS, and a login."""

from crossdock.connectors.smtp.client import KIND, Smtp

__all__ = ["KIND", "Smtp"]

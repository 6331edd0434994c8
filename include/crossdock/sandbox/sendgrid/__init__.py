"""A simulated mail system with the shape of SendGrid's API (v3): it keeps mails in an outbox instead of delivering them."""

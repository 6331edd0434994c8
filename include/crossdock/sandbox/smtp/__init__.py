"""A simulated mail server: it takes mails over SMTP and keeps them in an outbox instead of delivering them."""

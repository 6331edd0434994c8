"""A simulated receiver of Standard Webhooks: it verifies each message and keeps it in an inbox."""

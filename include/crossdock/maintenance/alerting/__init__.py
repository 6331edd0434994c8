"""Alerting: which alerts are sent to whom, over which channel, when, and what was sent."""

"""Webhooks of Microsoft Teams' Workflows: one URL for one channel or chat, which takes Adaptive Cards."""

from crossdock.connectors.teams_webhook.client import KIND, TeamsWebhook

__all__ = ["KIND", "TeamsWebhook"]

"""
Slack's incoming webhooks: one URL for one channel.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from crossdock.connectors.slack_webhook.client import KIND, SlackWebhook

__all__ = ["KIND", "SlackWebhook"]

"""HubSpot, the CRM: https://developers.hubspot.com/docs/api-reference."""

from crossdock.connectors.hubspot.client import KIND, HubSpot

__all__ = ["KIND", "HubSpot"]

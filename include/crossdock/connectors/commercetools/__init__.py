"""commercetools, the commerce platform: https://docs.commercetools.com/api."""

from crossdock.connectors.commercetools.client import Api, Commercetools

__all__ = ["Api", "Commercetools"]

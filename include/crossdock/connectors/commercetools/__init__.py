"""commercetools, the commerce platform: https://docs.commercetools.com/api."""

from crossdock.connectors.commercetools.client import KIND, Api, Commercetools

__all__ = ["KIND", "Api", "Commercetools"]

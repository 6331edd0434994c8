"""commercetools, the commerce platform: https://docs.commercetools.com/api."""

from include.connectors.commercetools.client import Commercetools

__all__ = ["Commercetools"]

"""The conditions under which a system is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from include.connectors.addresses import AddressRules, Resolver
from include.connectors.answers import Answer
from include.connectors.retries import RetryBudget
from include.connectors.transport import Tls
from include.model.calls import Limits, Safeguards

#: A path and its query → an answer from elsewhere, for when the breaker is open.
Fallback = Callable[[str, Mapping[str, Any]], Answer]


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """How a system is called: how long, whither, trusting whom, sharing what."""

    limits: Limits = Limits()
    tls: Tls = Tls()
    #: None for public addresses, and the loopback address that the base URL itself names.
    addresses: AddressRules | None = None
    safeguards: Safeguards = Safeguards()
    #: Shared by the clients of one integration in this process; None for a budget of the client's own.
    budget: RetryBudget | None = None
    #: Calls at once.
    in_flight: int = 8
    #: How names are resolved; None for the system's way. Tests have their own.
    resolve: Resolver | None = None

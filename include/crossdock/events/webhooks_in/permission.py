"""
The permission to deliver, which senders of CloudEvents ask for by OPTIONS before they send anything.

It proves nothing: who asks need not show a secret, and each delivery is verified all the same. It only says that deliveries
are expected here. So nothing is stored of it, and the callback that a sender offers is never visited: the answer grants it.
Source: https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from crossdock.events.webhooks_in.checks import has_header, one_header
from crossdock.events.webhooks_in.rules import Headers, SchemeName, WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes.model import Arrival
from crossdock.events.webhooks_in.schemes.token import check_token

#: The schemes whose senders ask.
ASKING: frozenset[SchemeName] = frozenset({"azure_event_grid"})
_ORIGIN_HEADER = "webhook-request-origin"
#: A DNS expression. It stands in a header of the answer.
_ORIGIN = re.compile(r"[A-Za-z0-9*_.:-]{1,253}", re.ASCII)
#: No limit: what is too much is 503 with Retry-After, and is sent again.
_RATE = "*"


def asks_for_permission(headers: Headers) -> bool:
    """Check whether a request by OPTIONS is that question."""
    return has_header(headers, _ORIGIN_HEADER)


def permission(rules: WebhookRules, keys: Sequence[str], headers: Headers, query: str) -> Mapping[str, str]:
    """
    Build the headers that grant the permission. Where the URL of the deliveries has a token, this one has it too.

    Raises:
        WebhookRefused: the URL's token is not right, or the origin cannot be one.

    """
    if rules.token_parameter:
        check_token(Arrival(rules, keys, headers, b"", 0.0, query))
    origin = one_header(headers, _ORIGIN_HEADER)
    if not _ORIGIN.fullmatch(origin):
        raise WebhookRefused("WebHook-Request-Origin is not the name of a system in the DNS")
    return {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": _RATE, "Allow": "POST"}

"""A shared secret that comes with each delivery: `Authorization: Bearer …`, a header of its own, or a parameter of the URL."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from crossdock.events.webhooks_in.checks import digest_of, has_header, json_of, one_header, text_at
from crossdock.events.webhooks_in.rules import WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Signed, whole


def verify(arrival: Arrival) -> Signed:
    """Verify the secret. It proves who sends, not what: whoever reads one delivery can forge others."""
    check_token(arrival)
    return whole(arrival, _id(arrival))


def check_token(arrival: Arrival) -> None:
    """
    Compare the token with each key.

    Raises:
        WebhookRefused: there is none, or it is not one of the keys.

    """
    offered = _offered(arrival).encode(errors="surrogatepass")
    matches = False
    for key in arrival.keys:
        matches |= hmac.compare_digest(key.encode(), offered)
    if not matches:
        raise WebhookRefused("the token is not a configured key")


def _offered(arrival: Arrival) -> str:
    rules = arrival.rules
    if rules.token_parameter:
        found = [value for name, value in parse_qsl(arrival.query) if name == rules.token_parameter]
        if len(found) != 1:
            raise WebhookRefused("the URL does not have exactly one token")
        return found[0]
    value = one_header(arrival.headers, rules.token_header)
    kind, space, token = value.partition(" ")
    return token.strip() if space and kind.lower() == "bearer" else value


def _id(arrival: Arrival) -> str:
    """Find the delivery's ID where the connection says that it is. Without one, each delivery counts as another."""
    rules = arrival.rules
    if rules.id_path:
        if found := text_at(json_of(arrival.body), rules.id_path):
            return found
        raise WebhookRefused("the body has no id")
    if has_header(arrival.headers, rules.id_header):
        return one_header(arrival.headers, rules.id_header)
    return f"{digest_of(arrival.body)}@{arrival.now_s:.3f}"

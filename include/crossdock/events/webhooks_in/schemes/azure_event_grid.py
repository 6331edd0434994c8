"""
Azure Event Grid: a secret in a header or in the URL, or a token of Microsoft Entra; Event Grid signs nothing.

In Event Grid's own schema, the first message asks for its code (`SubscriptionValidationEvent`); in that of CloudEvents, it asks
by OPTIONS (`permission`). A delivery is a list of events, or one CloudEvent, each with an ID.
Source: https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema, and -cloud-events-schema.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from crossdock.events.webhooks_in.checks import digest_of, json_of, text_at
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Handshake, Message, Signed
from crossdock.events.webhooks_in.schemes.openid import check_token as check_openid_token
from crossdock.events.webhooks_in.schemes.token import check_token

_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


def verify(arrival: Arrival) -> Signed:
    """Verify the token, and take the list apart."""
    check_sender(arrival)
    document = json_of(arrival.body)
    events = document if isinstance(document, list) else [document]
    if not events or not all(text_at(event, "id") for event in events):
        raise WebhookRefused("the body is not a list of events with an id each")
    ids = [text_at(event, "id") for event in events]
    if len(events) == 1 and text_at(events[0], "eventType") == _VALIDATION:
        answer = {"validationResponse": text_at(events[0], "data.validationCode")}
        whole = Message(ids[0], arrival.body)
        return Signed(whole.id, (whole,), Handshake("SubscriptionValidation", answer), status=200)
    items = _as_they_came(arrival.body, events)
    return Signed(
        ids[0] if len(ids) == 1 else digest_of("\n".join(ids).encode(errors="surrogatepass")),
        tuple(Message(event_id, item) for event_id, item in zip(ids, items, strict=True)),
    )


def _as_they_came(body: bytes, events: list[Any]) -> list[bytes]:
    """Take the list apart, byte for byte: decoded and written anew, a number would be another one."""
    if len(events) == 1 and not body.lstrip().startswith(b"["):
        return [body]
    try:
        return [bytes(item) for item in _RAW_LIST.decode(body)]
    except msgspec.DecodeError:  # Half a character somewhere: the others are not to be refused for it.
        return [json.dumps(event).encode() for event in events]


def check_sender(arrival: Arrival) -> None:
    """
    Verify the secret, or the token of Microsoft Entra.

    Raises:
        WebhookRefused: it is not the sender's.

    """
    rules = arrival.rules
    if not rules.audience:
        check_token(arrival)
        return
    if not rules.issuer or not rules.keys_url:
        raise NotConfigured("the connection does not say `issuer` and `keys_url` of Microsoft Entra")
    claims = check_openid_token(arrival, keys_url=rules.keys_url, issuers=frozenset({rules.issuer}))
    if not {claims.get("appid"), claims.get("azp")} & set(rules.subjects):
        raise WebhookRefused("the token names another application than the connection says")

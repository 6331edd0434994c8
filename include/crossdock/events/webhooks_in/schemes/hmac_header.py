"""
Schemes with an HMAC in a header: over the body, often with a timestamp, an ID or the URL before it.

A `Form` says where everything is. Those of known senders are here; that of `hmac` comes from the connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from crossdock.events.webhooks_in.checks import (
    base64_of,
    check_age,
    check_hmac,
    digest_of,
    has_header,
    hex_of,
    json_of,
    one_header,
    text_at,
    text_keys,
)
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes.model import Arrival, Handshake, Scheme, Signed, whole

_PLACE = re.compile(r"\{(body|timestamp|id|url)\}")


@dataclass(frozen=True)
class Form:
    """Where the parts of a signature are, and what is signed. A signature may be hexadecimal or base64."""

    signature_header: str
    #: What is signed: a text with {body}, {timestamp}, {id} and {url}.
    signed: str = "{body}"
    prefix: str = ""
    algorithm: str = "sha256"
    timestamp_header: str = ""
    timestamp_required: bool = True
    #: Where the signature's header is a list, such as `t=1614265330,v1=…`: its separator, and the two names.
    separator: str = ""
    timestamp_name: str = ""
    signature_name: str = ""
    #: Where the delivery's ID is: the first header that is there, or a place in the body.
    id_headers: tuple[str, ...] = ()
    id_path: str = ""
    #: Whether each delivery has an ID; else the digest of the body stands for it.
    id_required: bool = True
    status: int = 202


STRIPE = Form(
    "stripe-signature", "{timestamp}.{body}", separator=",", timestamp_name="t", signature_name="v1", id_path="id"
)
#: GitHub signs neither a time nor the ID of the delivery.
GITHUB = Form("x-hub-signature-256", prefix="sha256=", id_headers=("x-github-delivery",))
#: Nor does Shopify.
SHOPIFY = Form("x-shopify-hmac-sha256", id_headers=("x-shopify-webhook-id", "x-shopify-event-id"))
#: Paddle takes no answer but 200 for a success.
PADDLE = Form(
    "paddle-signature",
    "{timestamp}:{body}",
    separator=";",
    timestamp_name="ts",
    signature_name="h1",
    id_path="event_id",
    status=200,
)
SQUARE = Form("x-square-hmacsha256-signature", "{url}{body}", id_path="event_id")
#: A slash command and a button have no ID of their own.
SLACK = Form(
    "x-slack-signature",
    "v0:{timestamp}:{body}",
    prefix="v0=",
    timestamp_header="x-slack-request-timestamp",
    id_path="event_id",
    id_required=False,
    status=200,
)


def scheme_of(form: Form) -> Scheme:
    """Make the scheme of *form*."""
    return lambda arrival: _verify(form, arrival)


def slack(arrival: Arrival) -> Signed:
    """Verify Slack's scheme. The first message of an app asks for its challenge (`url_verification`)."""
    signed = _verify(SLACK, arrival)
    if b'"url_verification"' not in arrival.body:
        return signed
    document = json_of(arrival.body)
    if text_at(document, "type") != "url_verification":
        return signed
    return replace(signed, handshake=Handshake("url_verification", {"challenge": text_at(document, "challenge")}))


def plain(arrival: Arrival) -> Signed:
    """Verify an HMAC as the connection describes it."""
    return _verify(_described(arrival.rules), arrival)


def _described(rules: WebhookRules) -> Form:
    template = rules.signed or ("{timestamp}.{body}" if rules.timestamp_header else "{body}")
    return Form(
        rules.signature_header,
        template,
        prefix=rules.signature_prefix or f"{rules.algorithm}=",
        algorithm=rules.algorithm,
        # One that is not signed proves nothing.
        timestamp_header=rules.timestamp_header if "{timestamp}" in template else "",
        timestamp_required=rules.timestamp_required,
        id_headers=() if rules.id_path or not rules.id_header else (rules.id_header,),
        id_path=rules.id_path,
        id_required=bool(rules.id_path or rules.id_header),
    )


def _verify(form: Form, arrival: Arrival) -> Signed:
    if "{url}" in form.signed and not arrival.rules.url:
        raise NotConfigured("the connection does not say `url`, which the sender signs")
    text = one_header(arrival.headers, form.signature_header)
    parts = [part.partition("=") for part in text.split(form.separator)] if form.separator else []
    timestamp = _timestamp(
        form, arrival, [value.strip() for name, _, value in parts if name.strip() == form.timestamp_name]
    )
    given = [value.strip() for name, _, value in parts if name.strip() == form.signature_name]
    offered = given if form.separator else [text.removeprefix(form.prefix)]
    signed = _signed_text(form, arrival, timestamp)
    check_hmac(
        text_keys(arrival.keys),
        signed,
        [decode(one) for one in offered for decode in (hex_of, base64_of)],
        form.algorithm,
    )
    return whole(arrival, _id(form, arrival) or _digest(form, arrival, signed, timestamp), status=form.status)


def _timestamp(form: Form, arrival: Arrival, in_list: list[str]) -> str:
    """Find the timestamp, and refuse one of another time; empty if the form has none."""
    if form.timestamp_name:
        if len(in_list) != 1:
            raise WebhookRefused(f"{form.signature_header} has not exactly one timestamp")
        timestamp = in_list[0]
    elif form.timestamp_header and (form.timestamp_required or has_header(arrival.headers, form.timestamp_header)):
        timestamp = one_header(arrival.headers, form.timestamp_header)
    else:
        return ""
    check_age(timestamp, arrival.now_s)
    return timestamp


def _signed_text(form: Form, arrival: Arrival, timestamp: str) -> bytes:
    template = form.signed
    if "{timestamp}" in template and not timestamp:
        # Declared: without a timestamp, the body alone is signed.
        template = "{body}"
    if "{body}" not in template:
        raise NotConfigured("`signed` of the connection does not have {body}")
    delivery_id = _id(form, arrival) if "{id}" in template else ""
    values = {"timestamp": timestamp, "id": delivery_id, "url": arrival.rules.url}
    pieces = _PLACE.split(template)
    return b"".join(
        piece.encode()
        if index % 2 == 0
        else arrival.body
        if piece == "body"
        else values[piece].encode(errors="surrogatepass")
        for index, piece in enumerate(pieces)
    )


def _id(form: Form, arrival: Arrival) -> str:
    """Find the delivery's ID; empty if it has none and needs none."""
    if form.id_headers:
        return one_header(arrival.headers, *form.id_headers)
    if not form.id_path:
        return ""
    found = text_at(json_of(arrival.body), form.id_path) if arrival.body[:1] in b"{[ \t\r\n" else ""
    if not found and form.id_required:
        raise WebhookRefused("the body has no id")
    return found


def _digest(form: Form, arrival: Arrival, signed: bytes, timestamp: str) -> str:
    """Name a delivery that has no ID. Two changes of one record may look the same, and the second must not be lost."""
    if timestamp and "{timestamp}" in form.signed:
        return digest_of(arrival.body if form is SLACK else signed)
    return f"{digest_of(signed)}@{arrival.now_s:.3f}"

"""What a stranger, or a sender that is odd, sends: refused with a reason, at little cost, and acted on once."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest

from crossdock.core.errors import BadRequest
from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.signatures import verify
from tests.events.webhooks_in.senders import SENDERS, Sender
from tests.events.webhooks_in.test_schemes import NOW, proved, replaced


def of_scheme(name: str, *, public: bool = False) -> Sender:
    return next(
        sender
        for sender in SENDERS
        if sender.rules["scheme"] == name and (not public or any(key.startswith("whpk_") for key in sender.keys))
    )


@pytest.mark.parametrize("kind", [[], {}, 1, None, True])
def test_a_message_of_sns_whose_type_is_no_text_is_refused(kind: object) -> None:
    sender = of_scheme("aws_sns")
    sent = sender.sign(0, NOW)
    body = json.dumps({**json.loads(sent.body), "Type": kind}).encode()
    with pytest.raises(WebhookRefused):
        proved(sender, replaced(sent, body=body))


def test_half_a_character_as_an_id_is_refused_by_its_signature() -> None:
    rules = msgspec.convert({"scheme": "hmac", "id_path": "id", "signed": "{id}.{timestamp}.{body}"}, WebhookRules)
    headers = [("x-signature", "sha256=00"), ("x-timestamp", str(int(NOW)))]
    with pytest.raises((WebhookRefused, BadRequest)):
        verify(rules, ("a secret of some length",), headers, b'{"id": "\\ud800"}', now_s=NOW, query="", read_keys=None)


def test_the_same_form_in_another_order_or_spelling_is_the_same_delivery() -> None:
    """Twilio signs the sorted fields: whoever has seen one delivery could send it again under a new name."""
    sender = next(
        one
        for one in SENDERS
        if one.rules["scheme"] == "twilio"
        and b"=" in one.sign(0, NOW).body
        and not one.sign(0, NOW).body.startswith(b"{")
    )
    sent = sender.sign(0, NOW)
    pairs = parse_qsl(sent.body.decode(), keep_blank_values=True)
    ids = {
        proved(sender, replaced(sent, body=body)).id
        for body in (sent.body, urlencode(pairs[::-1]).encode(), urlencode([*pairs, pairs[0]]).encode())
    }
    assert len(ids) == 1


def test_a_header_of_many_signatures_is_refused_before_any_is_verified() -> None:
    sender = of_scheme("standard", public=True)
    sent = sender.sign(0, NOW)
    headers = [(name, " ".join([value] * 11) if "signature" in name.lower() else value) for name, value in sent.headers]
    with pytest.raises(WebhookRefused, match="more than 10"):
        proved(sender, replaced(sent, headers=headers))


def test_the_events_of_event_grid_are_kept_as_they_came() -> None:
    """Decoded and written anew, a number would pass through a float."""
    sender = next(one for one in SENDERS if one.rules["scheme"] == "azure_event_grid" and not one.rules.get("audience"))
    items = ['{"id": "1", "eventType": "a", "data": 12345678901234567890.123}', '{"id":"2","eventType":"b"}']
    found = proved(sender, replaced(sender.sign(0, NOW), body=f"[{', '.join(items)}]".encode()))

    assert [(message.id, message.body.decode()) for message in found.messages] == [("1", items[0]), ("2", items[1])]
    half = '{"id": "2", "eventType": "\\ud800"}'
    odd = proved(sender, replaced(sender.sign(0, NOW), body=f"[{items[0]}, {half}]".encode()))
    assert [message.id for message in odd.messages] == ["1", "2"], "one odd event refuses no other"
    validation = '{"id": "3", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}}'
    mixed = proved(sender, replaced(sender.sign(0, NOW), body=f"[{items[0]}, {validation}]".encode()))
    assert mixed.handshake is None, "the event beside it would be lost"


def test_a_timestamp_that_is_not_signed_is_not_asked_for() -> None:
    rules = msgspec.convert(
        {"scheme": "hmac", "signed": "{url}{body}", "url": "https://h.example/", "id_header": ""}, WebhookRules
    )
    with pytest.raises(WebhookRefused, match="signature"):
        verify(
            rules,
            ("a secret of some length",),
            [("x-signature", "sha256=00")],
            b"{}",
            now_s=NOW,
            query="",
            read_keys=None,
        )

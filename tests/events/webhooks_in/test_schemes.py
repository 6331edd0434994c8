"""Every scheme: what its sender signs is proved, while its key is rotated too, and nothing else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import SystemUnavailable
from crossdock.events.webhooks_in.rules import SCHEME_NAMES, NotConfigured, WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes import SCHEMES
from crossdock.events.webhooks_in.schemes.model import Signed
from crossdock.events.webhooks_in.signatures import verify
from tests.events.webhooks_in import senders
from tests.events.webhooks_in.senders import SENDERS, TEXT, TOPIC, URL, Sender, Sent, sns_document

NOW = 1_800_000_000.0


def each(those: Callable[[Sender], bool] = lambda _: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sender", list(filter(those, SENDERS)), ids=lambda sender: sender.name)


def proved(sender: Sender, sent: Sent, *keys: str, now_s: float = NOW, **changes: Any) -> Signed:
    rules = msgspec.convert({**sender.rules, **changes}, WebhookRules)
    return verify(
        rules,
        keys or sender.keys[:1],
        sent.headers,
        sent.body,
        now_s=now_s,
        query=sent.query,
        read_keys=lambda url, _: sender.published[url],
    )


def replaced(sent: Sent, **changes: Any) -> Sent:
    return Sent(**{"body": sent.body, "headers": sent.headers, "query": sent.query, **changes})


def test_each_scheme_has_a_sender() -> None:
    assert {sender.rules["scheme"] for sender in SENDERS} == set(SCHEME_NAMES) == set(SCHEMES)


@each()
def test_what_the_sender_signs_is_proved(sender: Sender) -> None:
    found = proved(sender, sender.sign(0, NOW))

    assert sender.delivery_id in (None, found.id)
    assert found.id == proved(sender, sender.sign(0, NOW)).id, "a repeat has the same ID"


@each(lambda sender: all(sender.keys))
def test_two_keys_are_good_while_one_is_rotated(sender: Sender) -> None:
    for number in (0, 1):
        for keys in (sender.keys, sender.keys[::-1]):
            assert proved(sender, sender.sign(number, NOW), *keys)
        with pytest.raises(WebhookRefused):
            proved(sender, sender.sign(number, NOW), sender.keys[1 - number])


@each(lambda sender: sender.signs_body)
def test_a_changed_body_is_refused(sender: Sender) -> None:
    sent = sender.sign(0, NOW)
    with pytest.raises(WebhookRefused):
        proved(sender, replaced(sent, body=sent.body.replace(b"d", b"x").replace(b"1", b"2")))


@each(lambda sender: sender.rules["scheme"] not in {"adyen", "aws_sns"})
def test_without_its_headers_nothing_is_proved(sender: Sender) -> None:
    sent = sender.sign(0, NOW)
    if not sender.rules.get("token_parameter"):
        with pytest.raises(WebhookRefused):
            proved(sender, replaced(sent, headers=[]))
    for name, value in sent.headers:
        if "content" not in name.lower() and not name.lower().startswith(("aeg", "x-shopify-topic")):
            with pytest.raises(WebhookRefused, match="several headers"):
                proved(sender, replaced(sent, headers=[*sent.headers, (name, value), (name, "other")]))


@each(lambda sender: bool(sender.sign(0, NOW).query))
def test_without_its_query_nothing_is_proved(sender: Sender) -> None:
    with pytest.raises(WebhookRefused):
        proved(sender, replaced(sender.sign(0, NOW), query=""))


@each(lambda sender: sender.signs_time)
def test_an_old_delivery_is_refused_where_the_time_is_signed(sender: Sender) -> None:
    month_s = 31 * 86_400
    with pytest.raises(WebhookRefused, match=r"too old|has expired"):
        proved(sender, sender.sign(0, NOW - month_s))
    with pytest.raises(WebhookRefused, match="future"):
        proved(sender, sender.sign(0, NOW + month_s))


@pytest.mark.parametrize(
    "timestamp",
    [
        "1800000000",
        "1800000000.123",
        "1800000000123",
        "1800000000123456",
        "1800000000123456789",
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:00:00.123Z",
        "2027-01-15T09:00:00+01:00",
        "2027-01-15T08:00:00",
    ],
)
def test_a_timestamp_may_be_written_in_each_usual_way(timestamp: str) -> None:
    body = b'{"sku": "X"}'
    signature = senders.mac("s3cret", f"{timestamp}.".encode() + body).hex()
    headers = [("x-timestamp", timestamp), ("x-signature", signature), ("x-delivery-id", "d-1")]
    rules = WebhookRules(scheme="hmac")

    assert verify(rules, ["s3cret"], headers, body, now_s=NOW).id == "d-1"
    for now_s, why in ((NOW + 302, "too old"), (NOW - 302, "future")):
        with pytest.raises(WebhookRefused, match=why):
            verify(rules, ["s3cret"], headers, body, now_s=now_s)


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "NaN", "inf", "yesterday", "9" * 40, "٣", "1800000000 ", "0x1"])
def test_other_timestamps_are_refused_in_words(timestamp: str) -> None:
    body = b"{}"
    signature = senders.mac("s3cret", f"{timestamp}.".encode() + body).hex()
    headers = [("x-timestamp", timestamp), ("x-signature", signature), ("x-delivery-id", "d-1")]

    with pytest.raises(WebhookRefused):
        verify(WebhookRules(scheme="hmac"), ["s3cret"], headers, body, now_s=NOW + 400)


def test_a_timestamp_may_be_missing_only_where_the_connection_says_so() -> None:
    body = b"{}"
    headers = [("x-signature", senders.mac("s3cret", body).hex()), ("x-delivery-id", "d-1")]

    with pytest.raises(WebhookRefused, match="no header 'x-timestamp'"):
        verify(WebhookRules(scheme="hmac"), ["s3cret"], headers, body, now_s=NOW)
    rules = WebhookRules(scheme="hmac", timestamp_required=False)
    assert verify(rules, ["s3cret"], headers, body, now_s=NOW).id == "d-1"
    with pytest.raises(WebhookRefused):
        verify(rules, ["s3cret"], [*headers, ("x-timestamp", str(int(NOW)))], body, now_s=NOW)


def test_deliveries_without_an_id_and_a_time_are_each_another() -> None:
    """Two changes of one record look the same; the second must not be taken for the first."""
    body = b"{}"
    headers = [("x-signature", senders.mac("s3cret", body).hex())]
    rules = WebhookRules(scheme="hmac", timestamp_header="", id_header="")

    first, second = (verify(rules, ["s3cret"], headers, body, now_s=NOW + number).id for number in (0, 60))
    assert first != second


class TestVectors:
    """What the senders' documentation shows."""

    def test_slack(self) -> None:
        body = (
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
            b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
            b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
            b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        )
        headers = [
            ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            ("X-Slack-Request-Timestamp", "1531420618"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
        signed = verify(
            WebhookRules(scheme="slack"), ["8f742231b10e8888abcd99yyyzzz85a5"], headers, body, now_s=1531420618
        )
        assert signed.messages[0].is_form

    def test_github(self) -> None:
        headers = [
            ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            ("X-GitHub-Delivery", "d-1"),
        ]
        keys = ["It's a Secret to Everybody"]
        assert verify(WebhookRules(scheme="github"), keys, headers, b"Hello, World!", now_s=NOW).id == "d-1"

    def test_twilio(self) -> None:
        body = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
        url = "https://mycompany.com/myapp.php?foo=1&bar=2"
        headers = [
            ("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
        rules = WebhookRules(scheme="twilio", url=url)
        assert verify(rules, ["12345"], headers, body, now_s=NOW, query="foo=1&bar=2").status == 204


class TestHandshakes:
    def test_slack_is_answered_with_its_challenge(self) -> None:
        body = json.dumps({"token": "t", "challenge": "c-1", "type": "url_verification"}).encode()
        signature = "v0=" + senders.mac(TEXT[0], f"v0:{NOW:.0f}:".encode() + body).hex()
        headers = [("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", f"{NOW:.0f}")]

        found = verify(WebhookRules(scheme="slack"), TEXT[:1], headers, body, now_s=NOW)
        assert found.handshake is not None
        assert (found.status, found.handshake.answer) == (200, {"challenge": "c-1"})

    def test_event_grid_is_answered_with_its_code(self) -> None:
        event = {
            "id": "d-1",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6", "validationUrl": "https://rp-eastus2.eventgrid.azure.net/x"},
        }
        sent = Sent(json.dumps([event]).encode(), [("Authorization", TEXT[0])])

        found = proved(SENDERS[-1], sent)
        assert found.handshake is not None
        assert (found.status, found.handshake.answer) == (200, {"validationResponse": "512d38b6"})

    def test_sns_names_the_address_that_confirms(self) -> None:
        url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
        changes = {"Type": "SubscriptionConfirmation", "SubscribeURL": url, "Token": "2336412f37"}
        found = proved(of("aws_sns 1"), sns_sent(sns_document(NOW, "1", **changes)))

        assert found.handshake is not None
        assert found.handshake.confirm_url == url

    @pytest.mark.parametrize(
        "url",
        [
            "https://attacker.example/?Action=ConfirmSubscription&Token=1",
            "https://sns.eu-central-1.amazonaws.com.attacker.example/?Action=ConfirmSubscription&Token=1",
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
            "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
            "https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&Token=1",
            "https://x@sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
        ],
    )
    def test_the_hub_is_sent_to_no_other_address(self, url: str) -> None:
        changes = {"Type": "SubscriptionConfirmation", "SubscribeURL": url, "Token": "1"}
        with pytest.raises(WebhookRefused, match="SubscribeURL"):
            proved(of("aws_sns 1"), sns_sent(sns_document(NOW, "1", **changes)))


class TestGoogle:
    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "https://other.example"},
            {"iss": "https://accounts.attacker.example"},
            {"email": "other@attacker.iam.gserviceaccount.com"},
            {"email_verified": False},
            {"exp": int(NOW) - 400},
            {"iat": int(NOW) + 400},
            {"exp": "soon"},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_a_token_for_or_of_somebody_else_is_refused(self, changes: dict[str, Any]) -> None:
        """Anybody can have a token of Google's for any audience: who asked for it counts."""
        with pytest.raises(WebhookRefused):
            proved(of("google_pubsub wrapped"), with_token(senders.token(0, NOW, **changes)))

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", ".." * 50])
    def test_what_is_no_token_is_refused_in_words(self, token: str) -> None:
        with pytest.raises(WebhookRefused):
            proved(of("google_pubsub wrapped"), with_token(token))

    def test_a_token_without_a_signature_is_refused(self) -> None:
        head, payload, _ = senders.token(0, NOW).split(".")
        none = base64.urlsafe_b64encode(b'{"alg": "none", "kid": "k0"}').decode().rstrip("=")
        for token in (f"{none}.{payload}.", f"{head}.{payload}."):
            with pytest.raises(WebhookRefused):
                proved(of("google_pubsub wrapped"), with_token(token))

    def test_a_key_that_google_has_just_begun_to_use_is_asked_for(self) -> None:
        asked: list[bool] = []

        def read(_: str, newer: bool) -> bytes:
            asked.append(newer)
            return senders.jwks() if newer else b'{"keys": []}'

        sender = of("google_pubsub wrapped")
        sent = sender.sign(1, NOW)
        rules = msgspec.convert(sender.rules, WebhookRules)
        assert verify(rules, [], sent.headers, sent.body, now_s=NOW, read_keys=read).id == "d-1"
        assert asked == [False, True]

    def test_a_connection_that_does_not_say_who_may_send_proves_nothing(self) -> None:
        for changes in ({"subjects": []}, {"audience": ""}):
            with pytest.raises(NotConfigured):
                proved(of("google_pubsub wrapped"), of("google_pubsub wrapped").sign(0, NOW), **changes)


class TestSns:
    @pytest.mark.parametrize(
        "url",
        [
            "https://attacker.example/SimpleNotificationService-1.pem",
            "https://sns.eu-central-1.amazonaws.com@attacker.example/SimpleNotificationService-1.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
            "https://sns.eu-central-1.amazonaws.com/bucket/other.pem",
            "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        ],
    )
    def test_a_certificate_is_read_from_sns_alone(self, url: str) -> None:
        with pytest.raises(WebhookRefused, match="SigningCertURL"):
            proved(of("aws_sns 2"), sns_sent(sns_document(NOW, "2", SigningCertURL=url)))

    def test_another_topic_is_refused_before_anything_is_read(self) -> None:
        """Every customer of AWS can have a message signed."""
        theirs = TOPIC.replace("123456789012", "210987654321")
        with pytest.raises(WebhookRefused, match="another topic"):
            proved(of("aws_sns 2"), sns_sent(sns_document(NOW, "2", TopicArn=theirs)))

    def test_a_message_of_another_key_is_refused(self) -> None:
        with pytest.raises(WebhookRefused, match="no signature matches"):
            proved(of("aws_sns 2"), sns_sent(sns_document(NOW, "2", key=1)))

    def test_raw_message_delivery_is_refused_with_what_to_switch_off(self) -> None:
        """It has no signature: the text alone comes, whatever it is."""
        for body in (b"plain", senders.BODY):
            sent = Sent(body, [("x-amz-sns-rawdelivery", "true"), ("x-amz-sns-message-id", "m-1")])
            with pytest.raises(WebhookRefused, match="raw message delivery is not signed: switch it off"):
                proved(of("aws_sns 2"), sent)

    def test_who_does_not_know_the_token_of_the_url_has_nothing_read(self) -> None:
        """A stranger who knows a topic can name any number of certificates, and one has to be looked up to be refused."""
        sender, read = of("aws_sns 2"), list[str]()
        rules = msgspec.convert({**sender.rules, "token_parameter": "code"}, WebhookRules)
        sent = sender.sign(0, NOW)

        def read_keys(url: str, newer: bool) -> bytes:  # noqa: ARG001  the port's
            read.append(url)
            return sender.published[url]

        for query_text in ("", "code=guess", "code=first-secret&code=guess"):
            with pytest.raises(WebhookRefused, match="token"):
                verify(rules, TEXT, sent.headers, sent.body, now_s=NOW, query=query_text, read_keys=read_keys)
        assert read == []
        found = verify(rules, TEXT, sent.headers, sent.body, now_s=NOW, query="code=second-secret", read_keys=read_keys)
        assert (found.id, len(read)) == ("d-1", 1)

    def test_a_certificate_that_cannot_be_read_now_is_nobodys_fault(self) -> None:
        sender, sent = of("aws_sns 2"), of("aws_sns 2").sign(0, NOW)

        def away(_: str, newer: bool) -> bytes:  # noqa: ARG001  the port's
            raise SystemUnavailable("webhook_keys", "away")

        rules = msgspec.convert(sender.rules, WebhookRules)
        with pytest.raises(SystemUnavailable):
            verify(rules, [], sent.headers, sent.body, now_s=NOW, read_keys=away)


class TestEventGrid:
    def test_a_token_of_entra_names_the_application(self) -> None:
        issuer, keys_url = "https://sts.windows.net/tenant/", "https://login.microsoftonline.com/tenant/keys"
        rules = {"audience": URL, "issuer": issuer, "keys_url": keys_url, "subjects": ["app-1"]}
        sender = Sender(
            "entra",
            {"scheme": "azure_event_grid", **rules},
            ("", ""),
            SENDERS[-1].sign,
            published={keys_url: senders.jwks()},
        )
        body = SENDERS[-1].sign(0, NOW).body

        def sent(**changes: Any) -> Sent:
            token = senders.token(0, NOW, **{"iss": issuer, "appid": "app-1", **changes})
            return Sent(body, [("Authorization", f"Bearer {token}")])

        assert proved(sender, sent()).id == "d-1"
        for changes in ({"appid": "app-2"}, {"iss": "https://sts.windows.net/other/"}, {"aud": "x"}):
            with pytest.raises(WebhookRefused):
                proved(sender, sent(**changes))

    def test_each_event_of_a_list_is_a_message_with_its_own_id(self) -> None:
        events = [{"id": f"e-{n}", "eventType": "Shop.Changed", "data": {"number": 2**60 + n}} for n in range(3)]
        found = proved(SENDERS[-1], Sent(json.dumps(events).encode(), [("Authorization", TEXT[0])]))

        assert [message.id for message in found.messages] == ["e-0", "e-1", "e-2"]
        assert [json.loads(message.body) for message in found.messages] == events


class TestConfiguration:
    """What the connection lacks is said to the hub's people, and never to a stranger."""

    @pytest.mark.parametrize(
        ("sender", "changes", "keys"),
        [
            ("square", {"url": ""}, TEXT),
            ("twilio form sha1", {"url": ""}, TEXT),
            ("twilio form sha1", {"url": "https://[::1/"}, TEXT),
            ("twilio form sha1", {"url": "https://shop.example:port/"}, TEXT),
            ("aws_sns 2", {"topics": []}, TEXT),
            ("aws_sns 2", {"token_parameter": "code"}, ("",)),
            ("standard v1a", {}, ("whpk_AAAA",)),
            ("standard v1a", {}, ("whsec_***",)),
            ("sendgrid", {}, ("AAAA",)),
            ("adyen", {}, ("not hexadecimal",)),
            ("hmac", {"signed": "{timestamp}"}, TEXT),
        ],
    )
    def test_an_incomplete_connection_is_named(
        self, sender: str, changes: dict[str, Any], keys: tuple[str, ...]
    ) -> None:
        with pytest.raises(NotConfigured):
            proved(of(sender), of(sender).sign(0, NOW), *keys, **changes)


def of(name: str) -> Sender:
    return next(sender for sender in SENDERS if sender.name == name)


def with_token(token: str) -> Sent:
    sent = of("google_pubsub wrapped").sign(0, NOW)
    return replaced(sent, headers=[("Authorization", f"Bearer {token}")])


def sns_sent(document: dict[str, Any]) -> Sent:
    return Sent(json.dumps(document).encode(), [("Content-Type", "text/plain; charset=UTF-8")])

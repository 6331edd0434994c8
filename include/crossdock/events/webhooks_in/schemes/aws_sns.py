"""
AWS SNS: a signature by the key of a certificate that SNS publishes, over the fields of the message.

The certificate is read from SNS's own host in the topic's region, and from nowhere else. Which topics may send is for the
connection to say: every customer of AWS has messages signed. A stranger who knows a topic can name certificates that do not exist;
where the connection has a token for the URL, nothing is read for who does not know it. A subscription begins when somebody visits its confirmation URL.
Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
"""

from __future__ import annotations

import re
from typing import Any

from crossdock.events.webhooks_in.checks import NO_MATCH, base64_of, check_age, has_header, json_of, one_header
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Handshake, Message, ReadKeys, Signed
from crossdock.events.webhooks_in.schemes.token import check_token

_NOT_SNS = "the body is not a message of SNS"
#: Such a message is its text alone, without a signature, the topic or the time.
_RAW_HEADER = "x-amz-sns-rawdelivery"
_RAW = "raw message delivery is not signed: switch it off for this subscription of SNS"
#: SNS tries for up to 23 days, and signs a message once.
_TRIES_FOR_S = 24 * 86_400
_ARN = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:([a-z0-9-]{1,40}):[0-9]{12}:[A-Za-z0-9_.-]{1,256}", re.ASCII)
_CERTIFICATE = r"https://sns\.{region}\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9a-zA-Z]{{1,64}}\.pem"
_CONFIRM = r"https://sns\.{region}\.amazonaws\.com(?:\.cn)?/\?Action=ConfirmSubscription&[A-Za-z0-9=&:%._~-]{{1,2000}}"
#: What is signed, in the order of names; a subject only where there is one.
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def verify(arrival: Arrival) -> Signed:
    """Verify the signature, and unwrap the message."""
    if not arrival.rules.topics:
        raise NotConfigured("the connection does not say `topics`: every customer of AWS has messages signed")
    if arrival.rules.token_parameter:
        if not any(arrival.keys):
            raise NotConfigured("the connection names a token in the URL, and has none in its password")
        check_token(arrival)
    if has_header(arrival.headers, _RAW_HEADER) and one_header(arrival.headers, _RAW_HEADER).lower() == "true":
        raise WebhookRefused(_RAW)
    document = _document(arrival.body)
    region = _region(document, arrival.rules.topics)
    check_age(document["Timestamp"], arrival.now_s, oldest_s=_TRIES_FOR_S)
    _check_signature(document, region, arrival.read_keys)
    message = Message(document["MessageId"], document["Message"].encode(errors="surrogatepass"), may_be_text=True)
    if document["Type"] == "Notification":
        return Signed(message.id, (message,))
    return Signed(message.id, (message,), _handshake(document, region))


def _document(body: bytes) -> dict[str, Any]:
    document = json_of(body)
    if not isinstance(document, dict) or not isinstance(kind := document.get("Type"), str) or kind not in _SIGNED:
        raise WebhookRefused(_NOT_SNS)
    needed = {*_SIGNED[kind], "Signature", "SignatureVersion", "SigningCertURL"}
    if not all(isinstance(document.get(name, "" if name == "Subject" else None), str | type(None)) for name in needed):
        raise WebhookRefused(_NOT_SNS)
    if any(document.get(name) is None for name in needed - {"Subject"}):
        raise WebhookRefused(_NOT_SNS)
    return document


def _region(document: dict[str, Any], topics: tuple[str, ...]) -> str:
    found = _ARN.fullmatch(document["TopicArn"])
    if found is None or document["TopicArn"] not in topics:
        raise WebhookRefused("the message is of another topic than the connection says")
    return found[1]


def _handshake(document: dict[str, Any], region: str) -> Handshake:
    if document["Type"] == "UnsubscribeConfirmation":
        # Its URL subscribes again; that the subscription was ended is for a person to see.
        return Handshake("UnsubscribeConfirmation")
    url = document["SubscribeURL"]
    if not re.fullmatch(_CONFIRM.format(region=re.escape(region)), url, re.ASCII):
        raise WebhookRefused("SubscribeURL does not lead to SNS in the topic's region")
    return Handshake("SubscriptionConfirmation", confirm_url=url)


def _check_signature(document: dict[str, Any], region: str, read_keys: ReadKeys | None) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow to load, and few senders need it
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    algorithms = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303  SNS's version 1; topics choose it
    url, version = document["SigningCertURL"], document["SignatureVersion"]
    if version not in algorithms:
        raise WebhookRefused("SignatureVersion is neither 1 nor 2")
    if read_keys is None or not re.fullmatch(_CERTIFICATE.format(region=re.escape(region)), url, re.ASCII):
        raise WebhookRefused("SigningCertURL does not lead to SNS in the topic's region")
    try:
        key = load_pem_x509_certificate(read_keys(url, False)).public_key()
    except ValueError as error:
        raise WebhookRefused("SigningCertURL does not lead to a certificate") from error
    if not isinstance(key, RSAPublicKey):
        raise WebhookRefused("SigningCertURL does not lead to a certificate")
    try:
        key.verify(base64_of(document["Signature"]), _signed_text(document), PKCS1v15(), algorithms[version])
    except InvalidSignature as error:
        raise WebhookRefused(NO_MATCH) from error


def _signed_text(document: dict[str, Any]) -> bytes:
    names = [name for name in _SIGNED[document["Type"]] if document.get(name) is not None]
    return "".join(f"{name}\n{document[name]}\n" for name in names).encode(errors="surrogatepass")

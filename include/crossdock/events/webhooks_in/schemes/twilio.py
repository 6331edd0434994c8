"""
Twilio's scheme: an HMAC in base64 over the URL and the sorted fields of the form; with SHA-1, or as a header says.

Of a body that is no form, the URL has the digest (`bodySHA256`), and is signed alone. The URL is the one that was given to
Twilio, with its query; Twilio has signed it with and without the port of its scheme.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from crossdock.events.webhooks_in.checks import (
    MOST_FIELDS,
    base64_of,
    check_hmac_of_any,
    digest_of,
    has_header,
    one_header,
    text_keys,
)
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Signed, content_type, whole

_PORTS = {"https": 443, "http": 80}
_DIGEST = "bodySHA256"
#: Of deliveries that are signed with a key of their own.
_SETTINGS = "x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def verify(arrival: Arrival) -> Signed:
    """Verify the signature over URL and form. Twilio shows people an error if the answer is no TwiML: this one has no body."""
    if not arrival.rules.url:
        raise NotConfigured("the connection does not say `url`, which the sender signs")
    offered = [base64_of(one_header(arrival.headers, "x-twilio-signature"))]
    fields = _fields(arrival)
    signed = [f"{url}{fields}".encode(errors="surrogatepass") for url in _urls(arrival)]
    check_hmac_of_any(text_keys(arrival.keys), signed, offered, _algorithm(arrival))
    # Of what is signed: the same fields in another order or spelling have the same signature.
    return whole(arrival, digest_of(signed[0]), status=204)


def _algorithm(arrival: Arrival) -> str:
    """Read the algorithm; a stranger who chooses it has no key for either."""
    settings = one_header(arrival.headers, _SETTINGS) if has_header(arrival.headers, _SETTINGS) else ""
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    algorithm = _ALGORITHMS.get(named.get("algorithm", "HMAC_SHA1").upper())
    if algorithm is None:
        raise WebhookRefused("the algorithm is neither HMAC_SHA1 nor HMAC_SHA256")
    return algorithm


def _fields(arrival: Arrival) -> str:
    if content_type(arrival.headers) == "application/x-www-form-urlencoded":
        try:
            body = arrival.body.decode("ascii")
            pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise WebhookRefused("the body is not a form") from error
        # Twilio's libraries drop a pair that comes twice.
        return "".join(name + value for name, value in sorted(set(pairs)))
    digests = [value for name, value in parse_qsl(arrival.query) if name == _DIGEST]
    if len(digests) != 1:
        raise WebhookRefused(f"the body is not a form, and the URL does not have {_DIGEST}")
    if not hmac.compare_digest(
        digests[0].lower().encode(errors="replace"), hashlib.sha256(arrival.body).hexdigest().encode()
    ):
        raise WebhookRefused(f"{_DIGEST} of the URL is not that of the body")
    return ""


def _urls(arrival: Arrival) -> list[str]:
    """List the ways in which Twilio may have written the URL."""
    try:
        given = urlsplit(arrival.rules.url)
        host, port, usual = given.hostname or "", given.port, _PORTS.get(given.scheme, 443)
    except ValueError as error:
        raise NotConfigured("`url` of the connection is not valid") from error
    hosts = [given.netloc, host, f"{host}:{usual}"] if port in (None, usual) else [given.netloc]
    query = arrival.query or given.query
    return [urlunsplit((given.scheme, netloc, given.path, query, "")) for netloc in dict.fromkeys(hosts)]

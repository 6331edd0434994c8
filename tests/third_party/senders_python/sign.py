"""
Run by the libraries' own Python, never by ours: signs and verifies as Slack's, Twilio's, Square's and Google's libraries do.

Reads one JSON document from standard input, and writes what it found as another.
"""

import json
import sys
import time
from urllib.parse import parse_qsl

from google.auth import crypt, jwt
from google.oauth2 import id_token
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from twilio.request_validator import RequestValidator

given = json.load(sys.stdin)
at = int(time.time())


def slack(secret: str, body: str) -> dict:
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(at), body=body)
    return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(at)}


def twilio(secret: str, body: str, url: str, algorithm: str) -> dict:
    validator = RequestValidator(secret)
    is_form = not body.startswith("{")
    full = url if is_form else f"{url}?bodySHA256={validator.compute_hash(body)}"
    fields = dict(parse_qsl(body, keep_blank_values=True)) if is_form else {}
    signed = {"X-Twilio-Signature": validator.compute_signature(full, fields, algorithm)}
    if algorithm != "HMAC_SHA1":
        signed["X-Twilio-Webhooks-Signature-Settings"] = f"key=webhooks_sharedkey_1,algorithm={algorithm}"
    return {"headers": signed, "query": full.removeprefix(url).removeprefix("?")}


def google(key: str, audience: str, email: str) -> str:
    claims = {"iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": True}
    return jwt.encode(crypt.RSASigner.from_string(key, "k0"), {**claims, "iat": at, "exp": at + 3600}).decode()


class Certificates:
    """What Google publishes, as the library asks for it."""

    status = 200

    def __init__(self, data: str) -> None:
        self.data = data.encode()


def verified_by_google(token: str, audience: str, certificates: str) -> dict:
    return id_token.verify_token(token, lambda *_, **__: Certificates(certificates), audience=audience)


json.dump(
    {
        "slack": [slack(each["secret"], each["body"]) for each in given["slack"]],
        "twilio": [twilio(**each) for each in given["twilio"]],
        "square": [verify_signature(**each) for each in given["square"]],
        "google": google(**given["google"]),
        "google verifies": verified_by_google(**given["google verifies"])["email"],
    },
    sys.stdout,
)

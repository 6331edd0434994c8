"""An OpenID Connect token that comes with a delivery: whom it is for, who issued it, and whom it names."""

from __future__ import annotations

import json
from typing import Any

from crossdock.events.webhooks_in.checks import TOLERANCE_S, one_header
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384"})
_OTHER = "the token of the authorization header is not the sender's"


def check_token(arrival: Arrival, *, keys_url: str, issuers: frozenset[str]) -> dict[str, Any]:
    """
    Verify the token, and return its claims.

    Raises:
        WebhookRefused: it is not valid, or for somebody else.
        Transient: the issuer's keys cannot be read.

    """
    import jwt  # noqa: PLC0415  loads cryptography, which few senders need

    kind, _, token = one_header(arrival.headers, "authorization").partition(" ")
    if kind.lower() != "bearer":
        raise WebhookRefused("the authorization header is not a bearer token")
    if not arrival.rules.audience or not arrival.rules.subjects:
        raise NotConfigured(
            "the connection does not say `audience` and `subjects`: anybody can have a token of the issuer"
        )
    try:
        head = jwt.get_unverified_header(token)
        claims: dict[str, Any] = jwt.decode(
            token.strip(),
            _key(arrival, keys_url, head),
            algorithms=sorted(_ALGORITHMS),
            audience=arrival.rules.audience,
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["exp", "iat", "aud", "iss"],
            },
        )
    except jwt.InvalidAudienceError as error:
        raise WebhookRefused("the token is for another audience than the connection says") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise WebhookRefused(_OTHER) from error
    _check_times(claims, arrival.now_s)
    if claims["iss"] not in issuers:
        raise WebhookRefused("the token is of another issuer than the connection says")
    return claims


def _check_times(claims: dict[str, Any], now_s: float) -> None:
    exp, iat = claims["exp"], claims["iat"]
    if not all(isinstance(at, int | float) for at in (exp, iat)):
        raise WebhookRefused(_OTHER)
    if exp < now_s - TOLERANCE_S:
        raise WebhookRefused("the token has expired")
    if iat > now_s + TOLERANCE_S:
        raise WebhookRefused("the token is of the future")


def _key(arrival: Arrival, keys_url: str, head: dict[str, Any]) -> Any:
    """Find the public key that the token names. An issuer that rotates its keys is asked once more."""
    import jwt  # noqa: PLC0415  as above

    if arrival.read_keys is None or head.get("alg") not in _ALGORITHMS:
        raise WebhookRefused(_OTHER)
    for newer in (False, True):
        try:
            documents = json.loads(arrival.read_keys(keys_url, newer))["keys"]
            known = {document.get("kid"): document for document in documents}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise NotConfigured("`keys_url` does not lead to a set of keys (JWKS)") from error
        if head.get("kid") in known:
            return jwt.PyJWK(known[head["kid"]], algorithm=head["alg"])
    raise WebhookRefused(_OTHER)

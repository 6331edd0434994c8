"""When the credentials of a connection end, where they say so themselves: a token, a certificate, a date beside them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossdock.http.connection import Connection

#: A JSON Web Token: header, payload, signature.
_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
#: The field of an extra that names the file of a client certificate. Those of servers are not ours to renew.
_CERTIFICATE_FILE = "cert_file"
#: The field of an extra in which a person says until when its credentials are good.
_DATE = "expires_at"


def expiries(connection: Connection) -> dict[str, datetime]:
    """Find the fields of *connection* whose value ends at a known time. Never returns a value."""
    fields = {"password": connection.password, **connection.extra}
    return {name: at for name, value in _texts(fields) if (at := _expiry(name, value)) is not None}


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in fields.items() if isinstance(value, str))


def _expiry(name: str, value: str) -> datetime | None:
    try:
        if name == _DATE:
            return _aware(datetime.fromisoformat(value))
        if name == _CERTIFICATE_FILE:
            return _of_certificates(Path(value))
        if found := _JWT.fullmatch(value):
            return _of_token(found[1])
    except (ValueError, OverflowError, TypeError, OSError):
        pass  # It only looks like one; a call with it says what is wrong.
    return None


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _of_certificates(file: Path) -> datetime:
    """Read when the first of a chain ends."""
    from cryptography import x509  # noqa: PLC0415  only where there is a certificate

    return min(found.not_valid_after_utc for found in x509.load_pem_x509_certificates(file.read_bytes()))


def _of_token(payload: str) -> datetime | None:
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return datetime.fromtimestamp(claims["exp"], UTC) if isinstance(claims, dict) and "exp" in claims else None

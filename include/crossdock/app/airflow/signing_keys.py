"""Keys of the hub's own signatures, derived from Airflow's Fernet keys: the hub has no key of its own to manage."""

from __future__ import annotations

import hashlib
import hmac


def signing_keys(purpose: str) -> list[bytes]:
    """
    Derive the keys of one *purpose*. Sign with the first; accept all: Airflow keeps an old Fernet key while one is rotated.

    Empty if Airflow has no Fernet key.
    """
    from airflow.configuration import conf  # noqa: PLC0415  only where something is signed

    of_airflow = conf.get("core", "fernet_key", fallback="") or ""
    return [
        hmac.new(key.strip().encode(), f"crossdock {purpose}".encode(), hashlib.sha256).digest()
        for key in of_airflow.split(",")
        if key.strip()
    ]

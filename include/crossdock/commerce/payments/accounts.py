"""The integration behind a gateway: which account it calls now, and what its connector declares of an action."""

from __future__ import annotations

import hashlib

import msgspec

from crossdock.commerce.payments.model import Leg
from crossdock.db.database import Work
from crossdock.integrations import repository as registry
from crossdock.integrations.actions.model import Action
from crossdock.integrations.manifests import manifests


def account_of(work: Work, gateway: str) -> str | None:
    """
    Name the account that calls of *gateway* reach now; None if there is no such integration.

    By its registration, and by the settings that say which system it is. Whoever adds an integration again may have given
    it the key of another account, which no setting shows.
    """
    known = registry.find(work, gateway)
    manifest = manifests().get(known.kind) if known else None
    if known is None or manifest is None:
        return None
    named_by = (known.kind, known.created_at, manifest.identity_of(known.settings))
    return hashlib.sha256(msgspec.json.encode(named_by, order="deterministic")).hexdigest()[:32]


def is_other_account(work: Work, leg: Leg) -> bool:
    """Check whether another account would be called now than the one that *leg* was sent to; no if that was not kept."""
    return leg.account is not None and leg.account != account_of(work, leg.gateway)


def declared(work: Work, gateway: str, action: str) -> Action | None:
    """Find what the connector of *gateway* declares of *action*; None if it has none such, or is gone."""
    known = registry.find(work, gateway)
    manifest = manifests().get(known.kind) if known else None
    return manifest.actions.get(action) if manifest else None

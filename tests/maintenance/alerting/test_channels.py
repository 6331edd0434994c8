"""Which channel an integration opens, and which none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.core.errors import BadRequest
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations import repository
from crossdock.maintenance.alerting.channels import open_channel

GIVEN = {"url": "smtps://mail.shop.example"}


def connection(**changes: Any) -> Connection:
    known = {"host": GIVEN["url"], "login": "hub", "password": "s3cret", "extra": {}}
    return Connection(connection_id="ops_mail", conn_type="smtp_relay", **{**known, **changes})


@pytest.fixture
def given(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A mail server whose credentials a person gave to the hub."""
    monkeypatch.setenv("HUB_MAIL_FROM", "alerts@shop.example")
    settings.cache_clear()
    with store.transaction() as work:
        repository.add(
            work,
            integration_id="ops_mail",
            kind="smtp_relay",
            name="Mail",
            settings=GIVEN,
            connection_id="ops_mail",
            actor="ada",
            with_credentials=True,
            tested=False,
        )
    yield store
    settings.cache_clear()


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "smtps://mail.evil.example"},
        {"host": "smtp://mail.shop.example", "extra": {"allow_plain": True}},
        {"extra": {"allowed_networks": ["10.0.0.0/8"]}},
    ],
)
def test_a_connection_that_was_pointed_elsewhere_in_airflow_sends_no_alert(
    given: Store, changes: dict[str, Any]
) -> None:
    """The login would go with it: who may edit connections there cannot read a password."""
    with pytest.raises(BadRequest, match="than the credentials were given for"):
        open_channel(given, lambda _: connection(**changes), "ops_mail")


def test_one_that_is_where_it_was_opens(given: Store) -> None:
    assert open_channel(given, lambda _: connection(), "ops_mail").takes_recipients

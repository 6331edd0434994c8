"""Signed links: one deed to one alert, until they expire."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from crossdock.maintenance.alerting.deeds import Deed, LinkRefused, SignedDeed, links_of, refuse_unsigned

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
KEY, OLD_KEY = b"k" * 32, b"o" * 32


def signed(key: bytes = KEY) -> tuple[SignedDeed, str]:
    ((_, url), _) = links_of("https://airflow.example/", [key])(12, "ops", NOW)
    asked = dict(parse_qsl(urlsplit(url).query))
    assert urlsplit(url).path == "/hub/pages/alert-link"
    return SignedDeed(Deed(asked["deed"]), int(asked["alert"]), asked["route"], int(asked["until"])), asked["signature"]


def test_a_link_is_good_for_what_it_names() -> None:
    deed, signature = signed()

    assert (deed.deed, deed.alert_id, deed.route) == (Deed.ACKNOWLEDGE, 12, "ops")
    refuse_unsigned(deed, signature, [KEY], NOW)


@pytest.mark.parametrize(
    "change",
    [{"deed": Deed.MUTE}, {"alert_id": 13}, {"route": "sales"}, {"until_s": 2**40}],
    ids=lambda change: str(*change),
)
def test_it_is_good_for_nothing_else(change: dict[str, Any]) -> None:
    deed, signature = signed()

    with pytest.raises(LinkRefused, match="not made by this hub"):
        refuse_unsigned(replace(deed, **change), signature, [KEY], NOW)


def test_it_expires() -> None:
    deed, signature = signed()

    refuse_unsigned(deed, signature, [KEY], NOW + timedelta(days=2))
    with pytest.raises(LinkRefused, match="expired"):
        refuse_unsigned(deed, signature, [KEY], NOW + timedelta(days=3))


def test_it_stays_good_while_the_key_is_rotated_and_without_a_key_there_is_none() -> None:
    deed, signature = signed(OLD_KEY)

    refuse_unsigned(deed, signature, [KEY, OLD_KEY], NOW)
    with pytest.raises(LinkRefused):
        refuse_unsigned(deed, signature, [KEY], NOW)
    with pytest.raises(LinkRefused):
        refuse_unsigned(deed, signature, [], NOW)
    assert links_of("https://airflow.example", [])(12, "ops", NOW) == ()
    assert links_of("", [KEY])(12, "ops", NOW) == ()

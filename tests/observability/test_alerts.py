"""What an alert keeps of what was found."""

from __future__ import annotations

from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, OwnKind

KIND = OwnKind("k")


def kept(store: Store, *found: Found) -> alerts.Alert:
    """The one open alert, after all of *found* were added."""
    with store.transaction() as work:
        for what in found:
            alerts.add(work, KIND, "s", what)
        (alert,) = alerts.find(work)
    return alert


def test_an_open_alert_has_the_numbers_of_the_last_time(store: Store) -> None:
    """Ten thousand failures are one alert, and it says so."""
    first = Found("one", 1, ("a",), "shop", "shop.orders")

    alert = kept(store, first, Found("ten thousand", 10_000, ("b", "c"), "shop", "shop.orders"))

    assert (alert.message, alert.records, list(alert.examples)) == ("ten thousand", 10_000, ["b", "c"])
    assert (alert.integration, alert.stream) == ("shop", "shop.orders")


def test_an_alert_has_three_examples_at_most_and_none_is_long(store: Store) -> None:
    """They are sent to people's telephones."""
    alert = kept(store, Found("many", 5, ("a", "b" * 1000, "c", "d", "e")))

    assert [len(example) for example in alert.examples] == [1, 200, 1]


def test_an_address_in_an_example_is_masked(store: Store) -> None:
    """The ID of a record may be one, and alerts leave the hub."""
    alert = kept(store, Found("m", 1, ("ada.lovelace+x@example.com: email_is_valid", "<bob@example.com>")))

    assert list(alert.examples) == ["***@example.com: email_is_valid", "<***@example.com>"]

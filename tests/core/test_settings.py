"""A setting under its name of before stops the start: ignored, it would leave a default in force unnoticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from crossdock.core.errors import Terminal
from crossdock.core.settings import RENAMED, Settings, settings


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_refused_with_the_new_one(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    monkeypatch.setenv(old, "3")

    with pytest.raises(Terminal, match=re.escape(f"{old} is now {new}")):
        settings()


def test_all_old_names_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start for each of them would be one outage for each of them."""
    monkeypatch.setenv("HUB_EVENT_READERS", "3")
    monkeypatch.setenv("hub_pull_days", "3")

    with pytest.raises(Terminal) as refused:
        settings()

    assert str(refused.value).splitlines() == [
        "HUB_EVENT_READERS is now HUB_DELIVERY_WORKERS",
        "HUB_PULL_DAYS is now HUB_FETCH_RUN_DAYS",
    ]


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ('{"Commercetools.Orders": {}}', "Did you mean 'commercetools.orders'?"),
        ('{"commercetools.orders ": {}}', "Did you mean 'commercetools.orders'?"),
        ('{"orders": {}}', "'orders' is not the ID of a stream"),
        ('{"a1.orders": {"schedule": "nonsense"}}', "(a1.orders, schedule): 'nonsense' is not a cron expression"),
        ('{"a1.orders": {"schedule": "61 * * * *"}}', "'61 * * * *' is not a cron expression"),
        ('{"a1.orders": {"rules": {"order_has_lines": "warm"}}}', "(a1.orders, rules, order_has_lines)"),
        ('{"a1.orders"', "not valid JSON"),
    ],
)
def test_a_stream_setting_that_is_never_right_is_refused(
    monkeypatch: pytest.MonkeyPatch, streams: str, message: str
) -> None:
    """Ignored, it would leave the default in force: a sync that somebody switched off would run."""
    monkeypatch.setenv("HUB_STREAMS", streams)

    with pytest.raises(Terminal, match=re.escape(message)):
        settings()


def test_every_new_name_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {f"HUB_{name.upper()}" for name in Settings.model_fields}
    named = {word for new in RENAMED.values() for word in re.findall(r"HUB_[A-Z_]+", new)}
    assert named <= fields
    assert not set(RENAMED) & fields

    monkeypatch.setenv("HUB_DELIVERY_WORKERS", "3")
    monkeypatch.setenv("HUB_STREAMS", '{"*": {"schedule": ""}, "shop_eu.orders": {"shards": 4}}')
    assert len(settings().delivery_dags) == 3
    assert settings().of_stream("shop_eu.orders").shards == 4
    assert settings().of_stream("shop_eu.products").schedule == ""


def test_times_of_settings_are_in_the_unit_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delta that reads five seconds back instead of five minutes misses what a source shows late."""
    assert settings().overlap == timedelta(minutes=5)
    assert settings().delivery_worker_lifetime == timedelta(minutes=15)
    assert settings().lease_life == timedelta(seconds=60)
    assert settings().event_lease_life == timedelta(seconds=5)
    settings.cache_clear()

    monkeypatch.setenv("HUB_OVERLAP_MINUTES", "90")

    assert settings().overlap == timedelta(hours=1.5)

"""The keys that senders publish: read seldom, remembered, and never a reason to refuse while they cannot be read anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from crossdock.core.errors import SystemUnavailable
from crossdock.events.webhooks_in import service
from crossdock.events.webhooks_in.public_keys import PublicKeys
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from tests.published import Published, published_over_http
from tests.shop import free_port

RECORD = {"dataset": "inventory", "key_path": "sku"}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> PublicKeys:
    return PublicKeys(clock=clock)


def test_a_document_is_read_once_an_hour_however_many_need_it(keys: PublicKeys, clock: Clock) -> None:
    with published_over_http(b"{}") as url, ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: keys.read(url), range(40))) == {b"{}"}
        assert asked(url) == 1
        clock.now += 3_599
        keys.read(url)
        assert asked(url) == 1
        clock.now += 2
        keys.read(url)
        assert asked(url) == 2


def test_a_stranger_who_names_unknown_keys_has_them_looked_up_twice_a_minute(keys: PublicKeys, clock: Clock) -> None:
    with published_over_http(b"{}") as url:
        for _ in range(50):
            keys.read(url, newer=True)
        assert asked(url) == 1
        clock.now += 31
        keys.read(url, newer=True)
        assert asked(url) == 2


def test_what_was_read_holds_while_its_host_is_away(keys: PublicKeys, clock: Clock) -> None:
    with published_over_http(b"{}") as url:
        keys.read(url)
    clock.now += 7_200

    assert keys.read(url) == b"{}"


def test_a_host_that_is_away_is_nobodys_fault_and_one_that_has_nothing_is_the_connections(keys: PublicKeys) -> None:
    with pytest.raises(SystemUnavailable):
        keys.read(f"http://127.0.0.1:{free_port()}/keys")
    with published_over_http(b"", status=404) as url, pytest.raises(NotConfigured):
        keys.read(url)


@pytest.mark.parametrize(
    "url", ["", "keys", "ftp://127.0.0.1/keys", "http://", "http://[::1/keys", "file:///etc/passwd"]
)
def test_an_address_that_is_none_is_named(keys: PublicKeys, url: str) -> None:
    with pytest.raises(NotConfigured):
        keys.read(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1/keys", "https://169.254.169.254/latest"])
def test_private_addresses_are_not_read(keys: PublicKeys, url: str) -> None:
    with pytest.raises(NotConfigured):
        keys.read(url)


def test_urls_that_a_stranger_makes_up_cost_at_most_twenty_reads_a_minute(keys: PublicKeys, clock: Clock) -> None:
    """SNS's certificates have names of which a stranger can make up any number."""
    with published_over_http(b"{}") as url:
        for number in range(20):
            keys.read(f"{url}?{number}")
        with pytest.raises(SystemUnavailable):
            keys.read(f"{url}?20")
        assert asked(url) == 20
        assert keys.read(f"{url}?19") == b"{}"
        clock.now += 61
        assert keys.read(f"{url}?20") == b"{}"


def test_a_good_document_survives_any_number_of_urls_at_which_there_is_nothing(keys: PublicKeys, clock: Clock) -> None:
    """A stranger who knows a topic needs no signature for them, and shut out every sender with published keys."""
    with published_over_http(b"{}") as good, published_over_http(b"", status=404) as url:
        keys.read(good)
        for number in range(200):
            clock.now += 4
            with pytest.raises(WebhookRefused):
                keys.read(f"{url}?{number}", is_named_by_delivery=True)
        assert asked(url) == 200
    # Both hosts are away now.
    assert keys.read(good) == b"{}"
    assert len(keys._failures) <= 64
    assert not keys._reading


def test_what_is_used_survives_what_was_read_later(keys: PublicKeys, clock: Clock) -> None:
    with published_over_http(b"good") as good, published_over_http(b"{}") as url:
        keys.read(good)
        for number in range(100):
            clock.now += 4
            keys.read(f"{url}?{number}")
            assert keys.read(good) == b"good"
        assert asked(good) == 1
        assert len(keys._documents) <= 32


def test_made_up_urls_that_hang_leave_threads_to_other_deliveries(keys: PublicKeys, clock: Clock) -> None:
    """Each that waits keeps one of the eight threads of the webhooks. A document that is known is used meanwhile."""
    with published_over_http(b"{}") as good, published_over_http(b"", status=404) as url:
        keys.read(good, is_named_by_delivery=True)
        clock.now += 3_601
        with ExitStack() as waiting:
            for _ in range(4):
                waiting.enter_context(keys._places)
            with pytest.raises(SystemUnavailable):
                keys.read(url, is_named_by_delivery=True)
            assert keys.read(good, is_named_by_delivery=True) == b"{}"
            assert (asked(url), asked(good)) == (0, 1)
            # What the connection names, a stranger cannot make up.
            with pytest.raises(NotConfigured):
                keys.read(url)
        assert keys.read(good, is_named_by_delivery=True) == b"{}"
        assert asked(good) == 2


def test_urls_that_a_stranger_makes_up_take_no_read_from_another_host(keys: PublicKeys) -> None:
    with published_over_http(b"", status=404) as url, published_over_http(b"{}") as good:
        for number in range(30):
            with pytest.raises((WebhookRefused, SystemUnavailable)):
                keys.read(f"{url}?{number}", is_named_by_delivery=True)
        assert asked(url) == 20
        assert keys.read(good) == b"{}"


def test_a_url_that_was_not_asked_for_is_not_known_to_fail(keys: PublicKeys, clock: Clock) -> None:
    """The real certificate may be behind twenty made-up ones, and its sender comes again in a few seconds."""
    with published_over_http(b"{}") as url:
        for number in range(20):
            keys.read(f"{url}?{number}")
        clock.now += 59
        with pytest.raises(SystemUnavailable):
            keys.read(f"{url}?20")
        clock.now += 2
        assert keys.read(f"{url}?20") == b"{}"
    assert not keys._reading


def test_a_made_up_certificate_is_the_senders_fault_and_says_so(
    monkeypatch: pytest.MonkeyPatch, keys: PublicKeys
) -> None:
    """`NotConfigured` would blame the hub's connection, which lacks nothing."""
    monkeypatch.setattr(service, "public_keys", lambda: keys)
    receiver = service.receiver_from("shop", "", {"scheme": "aws_sns", "topics": ["t"], **RECORD}, {"inventory"})
    with published_over_http(b"", status=404) as url, pytest.raises(WebhookRefused, match="where the delivery") as seen:
        service._reader(receiver)(url, False)
    assert type(seen.value) is WebhookRefused


def asked(url: str) -> int:
    return Published.asked[url.partition("?")[0].rstrip("/")]

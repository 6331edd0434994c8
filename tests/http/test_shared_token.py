"""One token for all workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from cryptography.fernet import Fernet

from crossdock.core.errors import SystemUnavailable
from crossdock.db.database import SharedStore
from crossdock.http.model import Token
from crossdock.http.shared_token import SharedTokens
from tests.shop import query

KEY = Fernet.generate_key()
CANARY = "canary-2b6f0cc9"


class Host:
    """Gives out tokens, slowly, and counts them."""

    def __init__(self, *, takes_s: float = 0.0, valid_for_s: float = 60) -> None:
        self.takes_s, self.valid_for_s, self.given = takes_s, valid_for_s, 0

    def __call__(self) -> Token:
        time.sleep(self.takes_s)
        self.given += 1
        return Token(f"{CANARY}-{self.given}", self.valid_for_s)


@pytest.fixture
def shared(hub_dsn: str) -> Iterator[SharedStore]:
    with SharedStore(hub_dsn) as opened:
        yield opened


def token_of(
    store: SharedStore,
    host: Host,
    *,
    refused: str | None = None,
    name: str = "acme here me",
    secret: str = "hush",  # noqa: S107  made up
    key: bytes = KEY,
    longest_wait_s: float = 120,
) -> str:
    vault = SharedTokens(store, Fernet(key))
    return vault.token(name, secret, host, refused=refused, longest_wait_s=longest_wait_s).text


def test_eight_workers_that_need_a_token_at_once_fetch_one(hub_dsn: str) -> None:
    """Token hosts have narrow limits of their own, and some take the old token back with each new one."""
    host = Host(takes_s=0.3)
    with ExitStack() as ends, ThreadPoolExecutor(8) as threads:
        stores = [ends.enter_context(SharedStore(hub_dsn)) for _ in range(8)]
        got = list(threads.map(lambda store: token_of(store, host), stores))

    assert (set(got), host.given) == ({f"{CANARY}-1"}, 1)


def test_eight_workers_that_are_refused_at_once_fetch_one(hub_dsn: str) -> None:
    host = Host(takes_s=0.1)
    with ExitStack() as ends, ThreadPoolExecutor(8) as threads:
        stores = [ends.enter_context(SharedStore(hub_dsn)) for _ in range(8)]
        old = token_of(stores[0], host)
        got = list(threads.map(lambda store: token_of(store, host, refused=old), stores))

    assert (set(got), host.given) == ({f"{CANARY}-2"}, 2)


def test_a_token_at_its_end_is_fetched_again(shared: SharedStore) -> None:
    host = Host(valid_for_s=0.2)
    token_of(shared, host)
    time.sleep(0.3)

    assert token_of(shared, host) == f"{CANARY}-2"


def test_the_database_holds_ciphertext_only(shared: SharedStore) -> None:
    """A dump of it, or a look of a colleague at it, opens nothing."""
    token_of(shared, Host(), secret=f"{CANARY}-secret")

    shown = str(
        query(shared, "SELECT name, encode(ciphertext, 'escape'), encode(ciphertext, 'base64') FROM shared_token")
    )
    assert "acme" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("other", [{"name": "acme here you"}, {"secret": "another"}, {"key": Fernet.generate_key()}])
def test_a_row_serves_only_whom_it_belongs_to(shared: SharedStore, other: dict[str, Any]) -> None:
    """
    A row copied under another name, and a token that another secret got, are no way in.

    Otherwise a wrong secret would seem to work. After a rotation, a token is fetched with the new key.
    """
    host = Host()
    token_of(shared, host)
    query(shared, "INSERT INTO shared_token SELECT 'acme here you', ciphertext FROM shared_token RETURNING 1")

    assert token_of(shared, host, **other) == f"{CANARY}-2"


def test_a_caller_that_waits_too_long_for_another_worker_gives_up(shared: SharedStore, hub_dsn: str) -> None:
    """Its own call has a deadline."""
    asked, answers = threading.Event(), threading.Event()

    def thinking() -> Token:
        asked.set()
        answers.wait(120)
        return Token("t", 60)

    with SharedStore(hub_dsn) as other, ThreadPoolExecutor(1) as thread:
        vault = SharedTokens(other, Fernet(KEY))
        slow = thread.submit(vault.token, "acme here me", "hush", thinking, refused=None, longest_wait_s=120)
        asked.wait(120)
        with pytest.raises(SystemUnavailable, match="acme is unavailable: no token in time"):
            token_of(shared, Host(), longest_wait_s=0.2)
        assert not slow.done()
        answers.set()
        slow.result()


def test_a_fetch_that_fails_leaves_the_next_free(shared: SharedStore, hub_dsn: str) -> None:
    def down() -> Token:
        raise SystemUnavailable("acme", "down")

    with pytest.raises(SystemUnavailable, match="down"):
        SharedTokens(shared, Fernet(KEY)).token("acme here me", "hush", down, refused=None, longest_wait_s=1)
    with SharedStore(hub_dsn) as other:
        assert token_of(other, Host(), longest_wait_s=30) == f"{CANARY}-1"


def test_no_transaction_is_open_while_a_slow_host_thinks(shared: SharedStore) -> None:
    """An open one would hold back every reader of events on the server."""
    seen: list[Any] = []

    def look() -> Token:
        seen.extend(
            query(
                shared,
                "SELECT state, backend_xid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()",
            )
        )
        return Token("t", 1)

    SharedTokens(shared, Fernet(KEY)).token("acme here me", "hush", look, refused=None, longest_wait_s=1)

    assert seen == []


def test_a_token_is_shared_to_its_end(hub_dsn: str) -> None:
    """A host whose tokens live for a second is asked once a second, not once by each worker."""

    def is_shared() -> bool:
        host = Host(valid_for_s=0.9)
        with SharedStore(hub_dsn) as one, SharedStore(hub_dsn) as other:
            name = f"acme here {id(host)}"
            return token_of(one, host, name=name) == token_of(other, host, name=name)

    # On a machine that stands still for a second it has run out in between: once is enough.
    assert any(is_shared() for _ in range(20))


def test_a_caller_without_time_does_not_wait_for_another_thread(shared: SharedStore) -> None:
    """Its call has ended; the thread that fetches may be waiting for a host that hangs."""
    vault = SharedTokens(shared, Fernet(KEY))
    waited: list[float] = []

    class Taken:
        """A lock that another thread has."""

        def acquire(self, timeout: float) -> bool:
            waited.append(timeout)
            return False

    vault._lock = Taken()  # type: ignore[assignment]
    with pytest.raises(SystemUnavailable, match="no token in time"):
        vault.token("acme here me", "hush", Host(), refused=None, longest_wait_s=0)

    assert waited == [0.0]


def test_one_process_fetches_again_and_again(shared: SharedStore) -> None:
    """Whoever fetched leaves the next thread free, and so does one whose fetch failed."""

    def down() -> Token:
        raise SystemUnavailable("acme", "down")

    vault, host = SharedTokens(shared, Fernet(KEY)), Host(valid_for_s=-1)
    for number in (1, 2):
        assert vault.token("acme here me", "hush", host, refused=None, longest_wait_s=1).text == f"{CANARY}-{number}"
        with pytest.raises(SystemUnavailable, match="down"):
            vault.token("acme here me", "hush", down, refused=None, longest_wait_s=1)

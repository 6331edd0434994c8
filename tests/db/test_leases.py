"""One writer at a time, and a fencing token that stops a writer whose lease expired."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from crossdock.core.errors import LeaseHeld, LeaseLost
from crossdock.db import leases
from crossdock.db.database import Store, StoreUnavailable
from crossdock.sync import ledger
from crossdock.sync.model import Mode, RunState, SyncRequest

KEY = leases.LeaseKey("commercetools", "inventory")
MINUTE = timedelta(minutes=1)
NOT_LONG = timedelta(milliseconds=30)


def begun(store: Store) -> str:
    with store.transaction() as work:
        return ledger.start(work, KEY, SyncRequest(full=True), mode=Mode.FULL).run_id


def take(store: Store, run_id: str, life: timedelta = MINUTE) -> int:
    with store.transaction() as work:
        return leases.take(work, KEY, run_id, life)


def test_a_free_lease_is_taken_and_its_token_noted_on_the_run(store: Store) -> None:
    run_id = begun(store)

    assert take(store, run_id) == 1
    with store.transaction() as work:
        assert ledger.get(work, run_id).fencing_token == 1


def test_a_lease_that_is_held_says_by_whom_and_for_how_long(store: Store) -> None:
    """The message of a waiting run names what it waits for."""
    holder, other = begun(store), begun(store)
    take(store, holder)

    with pytest.raises(LeaseHeld, match=holder) as held:
        take(store, other)

    assert 0 < (held.value.retry_in_s or 0) <= 60


def test_another_entity_and_another_partition_have_leases_of_their_own(store: Store) -> None:
    """A person replays a record while the sync is at work."""
    take(store, begun(store))
    other = begun(store)

    with store.transaction() as work:
        assert leases.take(work, leases.LeaseKey("commercetools", "inventory", "replay"), other, MINUTE) == 1
        assert leases.take(work, leases.LeaseKey("commercetools", "product"), other, MINUTE) == 1


def test_its_own_run_takes_a_lease_again_and_fences_the_try_before(store: Store) -> None:
    """Airflow tries a silent task again; the first worker may only have been asleep, and wakes beside the second."""
    run_id = begun(store)

    assert [take(store, run_id), take(store, run_id)] == [1, 2]
    with pytest.raises(LeaseLost) as lost, store.transaction() as work:
        leases.check(work, KEY, run_id, 1)
    assert lost.value.to_itself


def test_a_takeover_ends_the_overtaken_run(store: Store) -> None:
    """Its worker is dead or cancelled, and nobody else would ever write its end."""
    dead, heir = begun(store), begun(store)
    take(store, dead, NOT_LONG)
    time.sleep(0.05)

    take(store, heir)

    with store.transaction() as work:
        overtaken = ledger.get(work, dead)
    assert overtaken.state is RunState.FAILED
    assert heir in (overtaken.error or "")


def test_a_lease_that_has_run_out_changes_hands_and_its_token_rises(store: Store) -> None:
    dead, heir = begun(store), begun(store)
    take(store, dead, NOT_LONG)
    time.sleep(0.05)

    assert take(store, heir) == 2
    with pytest.raises(LeaseLost, match=heir), store.transaction() as work:
        leases.check(work, KEY, dead, 1)


def test_a_lease_whose_holder_has_ended_is_free_at_once(store: Store) -> None:
    """A run that ended without letting go must not cost the next one a minute."""
    ended, heir = begun(store), begun(store)
    take(store, ended)
    with store.transaction() as work:
        ledger.finish(work, ended, RunState.FAILED, "the worker died")

    assert take(store, heir) == 2


def test_an_expired_lease_that_no_run_took_still_belongs_to_its_run(store: Store) -> None:
    """What fences is the token, not the clock: a slow batch is not a lost one."""
    run_id = begun(store)
    token = take(store, run_id, NOT_LONG)
    time.sleep(0.05)

    with store.transaction() as work:
        leases.check(work, KEY, run_id, token)
        leases.renew(work, KEY, run_id, token, MINUTE)
    with pytest.raises(LeaseHeld):
        take(store, begun(store))


def test_a_lost_lease_cannot_be_renewed(store: Store) -> None:
    dead, heir = begun(store), begun(store)
    token = take(store, dead, NOT_LONG)
    time.sleep(0.05)
    take(store, heir)

    with pytest.raises(LeaseLost, match=heir), store.transaction() as work:
        leases.renew(work, KEY, dead, token, MINUTE)


def test_a_run_that_lost_its_lease_and_took_it_again_has_lost_its_old_token(store: Store) -> None:
    """What it had begun under the old one may be older than what was written since."""
    sleeper, heir = begun(store), begun(store)
    old = take(store, sleeper, NOT_LONG)
    time.sleep(0.05)
    take(store, heir, NOT_LONG)
    time.sleep(0.05)

    assert take(store, sleeper) == 3
    with pytest.raises(LeaseLost), store.transaction() as work:
        leases.check(work, KEY, sleeper, old)


def test_a_lease_is_released_twice_without_harm_and_never_by_another(store: Store) -> None:
    holder, other = begun(store), begun(store)
    take(store, holder)
    with store.transaction() as work:
        leases.release(work, KEY, other)
    with pytest.raises(LeaseHeld):
        take(store, other)

    for _ in range(2):
        with store.transaction() as work:
            leases.release(work, KEY, holder)

    assert take(store, other) == 2
    with store.transaction() as work:
        leases.release(work, KEY, holder)
    with pytest.raises(LeaseHeld):
        take(store, begun(store))


def test_a_lease_that_was_never_taken_fences(store: Store) -> None:
    with pytest.raises(LeaseLost, match="nobody"), store.transaction() as work:
        leases.check(work, KEY, begun(store), 0)


def test_a_renewal_under_the_token_of_an_earlier_try_is_refused(store: Store) -> None:
    """A try that slept would keep the lease of its own successor alive for ever."""
    run_id = begun(store)
    old = take(store, run_id)
    new = take(store, run_id)

    with pytest.raises(LeaseLost), store.transaction() as work:
        leases.renew(work, KEY, run_id, old, MINUTE)
    with store.transaction() as work:
        leases.renew(work, KEY, run_id, new, MINUTE)


def test_a_lease_cannot_change_hands_under_a_commit(store: Store, hub_dsn: str) -> None:
    """Whoever has checked it writes until its commit, so nobody else may begin to write before."""
    run_id = begun(store)
    token = take(store, run_id)

    with Store(hub_dsn) as other, store.transaction() as work:
        leases.check(work, KEY, run_id, token)
        with pytest.raises(StoreUnavailable), other.transaction() as impatient:  # noqa: PT012  it waits for a lock
            impatient.execute(b"SET LOCAL lock_timeout = '200ms'")
            leases.take(impatient, KEY, run_id, MINUTE)
    assert take(store, run_id) == token + 1


def test_a_takeover_ends_neither_runs_that_have_ended_nor_runs_that_wait(store: Store) -> None:
    """One that ended well would be shown as failed; one that waits for the lease has written nothing, and goes on."""
    done, waiting, heir = begun(store), begun(store), begun(store)
    take(store, done)
    with store.transaction() as work:
        ledger.finish(work, done, RunState.DONE)

    take(store, heir)

    with store.transaction() as work:
        states = [ledger.get(work, run_id).state for run_id in (done, waiting, heir)]
    assert states == [RunState.DONE, RunState.RUNNING, RunState.RUNNING]

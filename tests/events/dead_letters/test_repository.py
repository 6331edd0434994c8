"""Dead letters as they are found, chosen and edited; and deliveries that are retried, which are none yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crossdock.core.errors import Conflict, IntegrationPaused, NotFound
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.dead_letters import repository
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import consumer_leases, failures, retry_repository
from crossdock.events.delivery.attempt import Failed, Outcome, Verdict
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.failures import Attempt
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from tests.events.worlds import publish, stock
from tests.shop import query

LIFE = timedelta(minutes=1)
BROKEN, REFUSED = Failure(cause="ValueError", reason="no number"), Failure(cause="Refused", reason="HTTP 422")
SUBSCRIBER = Subscriber(types=(STOCK_CHANGED,), attempts=3, first_wait_s=2.0)


@pytest.fixture
def events(store: Store) -> list[Event]:
    """Two events of each of four keys: A1, B1, C1, D1, then A2 and so on."""
    publish(store, *(stock(key, version, 1) for version in (1, 2) for key in "ABCD"))
    with store.transaction() as work:
        return event_store.select(work, Selection(), limit=10)


@pytest.fixture
def mail(store: Store) -> Claim:
    return claim_of(store, "mail")


def claim_of(store: Store, subscriber: str) -> Claim:
    with store.transaction() as work:
        consumer_leases.register(work, subscriber, 1)
        claim = consumer_leases.claim(work, subscriber, 0, "worker", LIFE)
    assert claim is not None
    return claim


def dead(event: Event, failure: Failure = BROKEN) -> RetryRecord:
    return RetryRecord(event=event, state="dead", failure=failure, attempts=1)


def retrying(event: Event, **more: Any) -> RetryRecord:
    return RetryRecord(event=event, state="retrying", failure=BROKEN, attempts=1, **more)


def states(store: Store) -> list[str]:
    return [state for (state,) in query(store, "SELECT state FROM dead_letter ORDER BY position, subscriber")]


class TestSelection:
    """A person replays or discards what was found: one too many is an effect that nobody asked for."""

    @pytest.fixture
    def letters(self, store: Store, events: list[Event], mail: Claim) -> list[int]:
        """Dead letters in the order of their ids: two of mail by one cause, one by another; one of search; one closed."""
        with store.transaction() as work:
            retry_repository.upsert(work, mail, [dead(events[0]), dead(events[1]), dead(events[2], REFUSED)])
            retry_repository.upsert(work, claim_of(store, "search"), [dead(events[3], REFUSED)])
            retry_repository.upsert(work, mail, [dead(events[4])])
            ids = [letter.dead_letter_id for letter in repository.find(work, state=None)]
            repository.close(work, ids[-1], "discarded", "otto")
        return ids

    @pytest.mark.parametrize(
        ("wanted", "places"),
        [
            ({}, [0, 1, 2, 3]),
            ({"state": None}, [0, 1, 2, 3, 4]),
            ({"state": "discarded"}, [4]),
            ({"cause": "ValueError"}, [0, 1]),
            ({"cause": "ValueError", "state": None}, [0, 1, 4]),
            ({"cause": "Refused", "subscriber": "mail"}, [2]),
            ({"subscriber": "search"}, [3]),
            ({"limit": 2}, [0, 1]),
        ],
        ids=str,
    )
    def test_it_has_what_was_asked_for_and_nothing_else(
        self, store: Store, letters: list[int], wanted: dict[str, Any], places: list[int]
    ) -> None:
        with store.transaction() as work:
            found = repository.find(work, **wanted)

        assert [letter.dead_letter_id for letter in found] == [letters[place] for place in places]

    def test_a_page_begins_after_the_last_letter_of_the_one_before(self, store: Store, letters: list[int]) -> None:
        with store.transaction() as work:
            pages = [repository.find(work, after=after, limit=2) for after in (0, letters[1], letters[3])]
            named = repository.find(work, dead_letter_ids=[letters[1], letters[4]])

        assert [[letter.dead_letter_id for letter in page] for page in pages] == [letters[:2], letters[2:4], []]
        assert [letter.dead_letter_id for letter in named] == [letters[1]]

    def test_a_choice_is_all_that_are_open_or_those_of_a_cause_or_the_named(
        self, store: Store, letters: list[int]
    ) -> None:
        """A closed one may be named: a person may replay it again."""
        with store.transaction() as work:
            assert list(repository.choose(work)) == letters[:4]
            assert list(repository.choose(work, cause="ValueError")) == letters[:2]
            assert repository.choose(work, [letters[4], letters[0]]) == {letters[0]: "dead", letters[4]: "discarded"}
            with pytest.raises(NotFound):
                repository.choose(work, [letters[0], 4711])

    def test_the_causes_are_counted_the_largest_group_first(self, store: Store, letters: list[int]) -> None:
        with store.transaction() as work:
            repository.close(work, letters[2], "discarded", "otto")
            groups = [(group.subscriber, group.cause, group.dead_letters) for group in repository.causes(work)]
            open_ = repository.open_by_type(work)

        assert groups == [("mail", "ValueError", 2), ("search", "Refused", 1)]
        assert open_ == {STOCK_CHANGED: 3}

    def test_an_edit_is_kept_beside_the_original_and_can_be_removed(self, store: Store, letters: list[int]) -> None:
        with store.transaction() as work:
            original = repository.get(work, letters[0]).event.data
            repository.edit(work, letters[0], '{"edited": true}')
            edited = repository.get(work, letters[0])
            assert (edited.event.data, edited.deliverable.data) == (original, '{"edited": true}')
            assert repository.get(work, letters[1]).edited_data is None
            repository.edit(work, letters[0], None)
            assert repository.get(work, letters[0]).deliverable.data == original

    def test_a_letter_that_is_being_delivered_or_waits_is_not_edited(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        """The attempt under way has the data as they were."""
        records = [
            RetryRecord(event=event, state=state)
            for event, state in zip(events[:2], ("trying", "waiting"), strict=True)
        ]
        with store.transaction() as work:
            retry_repository.upsert(work, mail, records)
            for letter in repository.find(work, state=None):
                with pytest.raises(Conflict, match=r"is (trying|waiting) and cannot be edited now"):
                    repository.edit(work, letter.dead_letter_id, "{}")


class TestRetries:
    def test_only_events_at_work_are_retried_each_key_by_its_first_one(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        """A dead one waits for a person: it is not tried again, and its key's next event goes on."""
        records = [retrying(events[0]), RetryRecord(event=events[4], state="waiting")]
        records += [dead(events[1]), retrying(events[5]), retrying(events[2], wait=LIFE)]
        with store.transaction() as work:
            retry_repository.upsert(work, mail, records)
            due = [letter.event for letter in retry_repository.heads_of_line(work, mail)]
            blocked = retry_repository.blocked_keys(work, mail)
            pending = [letter.event for letter in retry_repository.pending_of_keys(work, mail, ["A", "B"])]

        assert due == [events[0], events[5]], "C is not due yet"
        assert blocked == {"A", "B", "C"}
        assert pending == [events[0], events[4], events[5]]

    def test_an_attempt_that_was_recorded_and_never_ended_is_due_at_once(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        """Its worker died: there was nobody to say when to try again."""
        with store.transaction() as work:
            retry_repository.upsert(work, mail, [RetryRecord(event=events[0], state="trying", attempts=1, wait=LIFE)])
            assert [letter.event for letter in retry_repository.heads_of_line(work, mail)] == [events[0]]

    def test_one_retry_has_at_most_two_hundred_events(self, store: Store, mail: Claim) -> None:
        """A key whose events pile up behind a failure must not fill the worker's memory, or outlast its lease."""
        publish(store, *(stock("E", version, 1) for version in range(1, 202)))
        with store.transaction() as work:
            waiting = event_store.select(work, Selection(), limit=1_000)
            retry_repository.upsert(work, mail, [RetryRecord(event=event, state="waiting") for event in waiting])

            assert [letter.event for letter in retry_repository.pending_of_keys(work, mail, ["E"])] == waiting[:200]

    def test_a_delivery_that_never_failed_leaves_no_row_and_one_that_did_is_recovered(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        with store.transaction() as work:
            records = [retrying(events[0]), RetryRecord(event=events[1], state="waiting")]
            retry_repository.upsert(work, mail, records)
            retry_repository.mark_recovered(work, [each.dead_letter_id for each in repository.find(work, state=None)])

        assert states(store) == ["recovered"]

    def test_what_a_person_closed_during_an_attempt_stays_as_it_is(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        """The discard and its reason are in the audit trail; the row that they name must still be there."""
        with store.transaction() as work:
            retry_repository.upsert(work, mail, [RetryRecord(event=events[0], state="waiting")])
            (letter,) = repository.find(work, state=None)
            repository.close(work, letter.dead_letter_id, "discarded", "otto")
            retry_repository.mark_recovered(work, [letter.dead_letter_id])
            retry_repository.upsert(work, mail, [retrying(events[0])])
            assert retry_repository.record_attempts(work, {letter.dead_letter_id: 1.0}) == {}

        assert states(store) == ["discarded"]

    def test_the_record_of_an_attempt_goes_when_it_succeeds_unless_an_earlier_one_failed(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        trying = [RetryRecord(event=event, state="trying", attempts=1) for event in events[:2]]
        with store.transaction() as work:
            retry_repository.upsert(work, mail, [retrying(events[1]), *trying, retrying(events[2])])
            retry_repository.delete_attempts(work, mail, events[:3])

        assert query(store, "SELECT partition_key, state, cause FROM dead_letter ORDER BY position") == [
            ("B", "trying", "ValueError"),
            ("C", "retrying", "ValueError"),
        ]

    def test_a_subscriber_has_dead_letters_when_one_of_its_own_is_dead(
        self, store: Store, events: list[Event], mail: Claim
    ) -> None:
        with store.transaction() as work:
            retry_repository.upsert(work, mail, [retrying(events[0])])
            retry_repository.upsert(work, claim_of(store, "search"), [dead(events[1])])
            assert not retry_repository.any_dead(work, "mail")
            retry_repository.upsert(work, mail, [dead(events[2])])
            assert retry_repository.any_dead(work, "mail")


class TestFailures:
    """What becomes of an event that failed."""

    def record(self, work: Work, claim: Claim, event: Event, verdict: Verdict, attempts: int) -> None:
        outcome = Outcome(failed=[Failed(event, BROKEN, verdict)])
        failures.record(work, claim, SUBSCRIBER, outcome, lambda _: Attempt(event, attempts, is_recorded=False))

    @pytest.mark.parametrize(
        ("failure", "becomes"),
        [
            ((Verdict.TRANSIENT, 1), ("retrying", 1)),
            ((Verdict.TRANSIENT, 2), ("retrying", 1)),
            ((Verdict.TRANSIENT, 3), ("dead", 1)),
            ((Verdict.TERMINAL, 1), ("dead", 1)),
            ((Verdict.UNKNOWN, 1), ("dead", 1)),
            ((Verdict.SOURCE_OUTAGE, 3), ("retrying", 0)),
            ((Verdict.IN_USE, 3), ("retrying", 0)),
        ],
        ids=str,
    )
    def test_it_is_dead_after_its_last_attempt_and_an_outage_is_no_attempt(
        self, store: Store, events: list[Event], mail: Claim, failure: tuple[Verdict, int], becomes: tuple[str, int]
    ) -> None:
        with store.transaction() as work:
            self.record(work, mail, events[0], *failure)

        assert query(store, "SELECT state, attempts FROM dead_letter") == [becomes]

    @pytest.mark.parametrize(
        ("cause", "probes", "asked_s", "wait_s"),
        [
            ("HostUnreachable", 0, 0.0, 2),
            ("HostUnreachable", 2, 0.0, 8),
            ("HostUnreachable", 40, 0.0, 60),
            ("HostUnreachable", 0, 120.0, 120),
            ("HostUnreachable", 0, 9_999.0, 600),
            (IntegrationPaused.__name__, 0, 0.0, 60),
            (IntegrationPaused.__name__, 0, 120.0, 60),
        ],
    )
    def test_a_source_is_probed_soon_then_rarer_and_no_sooner_than_it_asked_for(
        self, events: list[Event], cause: str, probes: int, asked_s: float, wait_s: float
    ) -> None:
        """A pause is of a person, whose end probes at once: until then each probe is in vain."""
        failed = Failed(events[0], Failure(cause=cause, reason=""), Verdict.SOURCE_OUTAGE, asked_s)

        assert failures.probe_wait(SUBSCRIBER, failed, probes) == timedelta(seconds=wait_s)

    @pytest.mark.parametrize(("attempts", "wait_s"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 600), (10_000, 600)])
    def test_each_wait_is_twice_the_last_up_to_ten_minutes(self, attempts: int, wait_s: float) -> None:
        """Soon enough for a glitch, rare enough for an outage, and never a month after the cause is gone."""
        assert failures.wait_s(SUBSCRIBER, attempts) == wait_s

"""What every connector promises about reading, whatever its system does. A rule here is a rule for all of them."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from cryptography.fernet import Fernet

from crossdock.core.errors import (
    AddressRefused,
    HubError,
    SourceInvalid,
    SystemRefused,
    SystemUnavailable,
    Terminal,
    Transient,
)
from crossdock.db.database import Store
from crossdock.http.breaker import BreakerRules
from crossdock.http.call_metrics import usage_of_run
from crossdock.http.client import Limits
from crossdock.http.config import ClientConfig
from crossdock.http.model import CallPolicy, Rate
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.sync.source import Cursor, Range, Source
from tests.contracts.benches import CANARY, CONNECTORS, QUICK, RULES, Bench, Connector, by_id, by_time, pages
from tests.http.raw_server import ONE_SECOND, RawServer, answer

#: Waits of a second or two are slept, longer ones are not.
PATIENT = Limits(timeout_s=60.0, attempts=3, longest_wait_s=3.0)
#: Answers that mean "ask again", each with the error when it does not stop.
PASSING: list[tuple[Any, type[Transient]]] = [
    *(({"status": status}, SystemUnavailable) for status in (429, 500, 502, 503, 504)),
    ({"reset": True}, SystemUnavailable),
    ({"truncate": 0.6}, SystemUnavailable),
    ({"truncate_json": 0.6}, SourceInvalid),
    ({"truncate_json": 0}, SourceInvalid),
    ({"not_json": "<html>Sign in</html>"}, SourceInvalid),
    ({"wrong_type": True}, SourceInvalid),
    ({"gzip_bomb_mb": 5}, SourceInvalid),
]
named = pytest.mark.parametrize(
    ("fault", "kind"), PASSING, ids=lambda value: str(value) if isinstance(value, dict) else ""
)


@pytest.fixture(params=CONNECTORS, ids=lambda connector: connector.name)
def connector(request: pytest.FixtureRequest) -> Connector:
    chosen: Connector = request.param
    return chosen


@pytest.fixture
def bench(connector: Connector) -> Iterator[Bench]:
    """The connector's system with 40 records."""
    with connector.bench() as opened:
        yield opened


def skip_where_exempt(bench: Bench, rule: str) -> None:
    assert rule in RULES
    if reason := bench.exempt.get(rule):
        pytest.skip(reason)


def test_each_exemption_names_an_existing_rule(bench: Bench) -> None:
    """Otherwise a renamed rule would silently apply to no connector."""
    assert set(bench.exempt) <= RULES


def ids_of(bench: Bench, part: Range, after: Cursor | None = None, **options: Any) -> list[str]:
    """The ids that a read of *part* brings, in the order they came."""
    source = bench.source(**options)
    return [key for page in pages(source, bench.resource, part, after) for key in bench.ids_on(page)]


def signed_in(bench: Bench, **options: Any) -> Callable[[], Any]:
    """A call for one page, of a connector that has its token."""
    source = bench.source(**options)
    source.describe(bench.resource, None)
    return lambda: source.page(bench.resource, by_id()[0], None)


class TestCheck:
    def test_a_source_in_order_describes_its_size_and_its_clock(self, bench: Bench) -> None:
        """The source's clock, because a watermark by ours would skip what a slower clock has yet to write."""
        before = datetime.now(UTC).replace(microsecond=0)  # the source's clock has whole seconds
        description = bench.source().describe(bench.resource, None)

        assert description.records == (None if "counts" in bench.exempt else 40)
        assert before <= description.source_now <= datetime.now(UTC)

    def test_the_newest_date_is_told_also_if_it_is_ahead_of_the_clock(self, bench: Bench) -> None:
        """A clock that was ahead dated the record: no window up to now reaches it."""
        skip_where_exempt(bench, "newest")
        ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        before = bench.source().describe(bench.resource, None).source_now
        bench.change(2, at=ahead)

        for since in (None, before):
            assert bench.source().describe(bench.resource, since).newest == ahead
        assert bench.source().describe(bench.resource, ahead + timedelta(seconds=1)).newest is None

    def test_wrong_credentials_end_the_run_and_say_what_to_check(self, bench: Bench) -> None:
        """Trying again cannot help, and may lock the account."""
        with pytest.raises(SystemRefused, match=r"HTTP 401.*Check the id and the secret") as caught:
            bench.source_with_wrong_secret().describe(bench.resource, None)

        assert isinstance(caught.value, Terminal)
        assert (bench.data_requests(), bench.token_requests()) == ((1, 0) if "tokens" in bench.exempt else (0, 1))

    def test_a_host_that_is_down_is_named_and_tried_later(self, bench: Bench) -> None:
        """Which host, and why: the first two questions of the person on call."""
        with pytest.raises(SystemUnavailable, match=r"no answer from 127\.0\.0\.1:\d+ .*Connection refused") as caught:
            bench.source_of_dead_host().describe(bench.resource, None)

        assert isinstance(caught.value, Transient)

    def test_a_total_that_is_missing_is_no_zero(self, bench: Bench) -> None:
        """The guard against a shrunken source compares with it."""
        skip_where_exempt(bench, "counts")
        with RawServer(answer(bench.page_without_total())) as server, pytest.raises(SourceInvalid, match="no total"):
            bench.source_of_page(server.url).describe(bench.resource, None)

    def test_three_different_errors_have_three_different_messages(self, bench: Bench) -> None:
        """Credentials, scope, network: three people to ask."""
        page = signed_in(bench)

        def wrong_scope() -> None:
            bench.fault({"status": 403}, repeat=True)
            page()

        messages = set()
        for look in (
            lambda: bench.source_with_wrong_secret().describe(bench.resource, None),
            wrong_scope,
            lambda: bench.source_of_dead_host().describe(bench.resource, None),
        ):
            with pytest.raises(HubError) as caught:
                look()
            messages.add(str(caught.value))

        assert len(messages) == 3
        assert [
            advice
            for advice in ("id and the secret", "scope", "no answer from")
            if not any(advice in text for text in messages)
        ] == []

    def test_looking_twice_finds_the_same(self, bench: Bench) -> None:
        first, second = (bench.source().describe(bench.resource, None) for _ in range(2))

        assert first.records == second.records
        assert first.source_now <= second.source_now
        assert first.source_now.tzinfo is UTC

    def test_a_name_that_resolves_into_our_own_network_is_not_called(self, bench: Bench) -> None:
        """The right answer to the first question and a private one to the second is an attack."""
        looked_up: list[str] = []

        def resolve(host: str, port: int, **_: Any) -> Any:
            looked_up.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        with pytest.raises(AddressRefused, match=r"shop\.example resolves to 127\.0\.0\.1"):
            bench.source_by_name(resolve).describe(bench.resource, None)
        assert (looked_up, bench.data_requests(), bench.token_requests()) == (["shop.example"], 0, 0)


class TestReading:
    @pytest.mark.parametrize("page_records", [1, 7, 40, 41, 500])
    def test_a_full_read_by_ranges_brings_every_id_once(self, bench: Bench, page_records: int) -> None:
        """Neither a page's edge nor a range's may lose a record, or bring it twice."""
        cuts = () if "cuts" in bench.exempt else ("40", "80", bench.ids()[30])
        found = [key for part in by_id(*cuts) for key in ids_of(bench, part, page_records=page_records)]

        assert sorted(found) == bench.ids()

    @pytest.mark.parametrize("page_records", [1, 3, 500])
    def test_an_incremental_read_brings_exactly_what_changed(self, bench: Bench, page_records: int) -> None:
        before = bench.source().describe(bench.resource, None).source_now
        changed = bench.change(9)

        found = ids_of(bench, by_time(before), page_records=page_records)

        assert found == changed
        assert bench.source().describe(bench.resource, before).records == (None if "counts" in bench.exempt else 9)

    @pytest.mark.parametrize("part", [by_id()[0], by_time()], ids=["by id", "by time"])
    def test_a_read_continues_from_any_page_boundary(self, bench: Bench, part: Range) -> None:
        """A run that was interrupted starts again after the last page that landed."""
        source = bench.source(page_records=7)
        whole = list(pages(source, bench.resource, part))
        ids = [bench.ids_on(page) for page in whole]

        for number, page in enumerate(whole[:-1], start=1):
            rest = ids_of(bench, part, page.cursor, page_records=7)
            assert rest == [key for on_page in ids[number:] for key in on_page]

    def test_records_that_share_an_instant_are_not_lost_between_pages(self, bench: Bench) -> None:
        """A batch job at the source writes a thousand rows in one millisecond."""
        now = datetime.now(UTC)
        changed = bench.change(20, at=now)

        assert ids_of(bench, by_time(now), page_records=3) == changed
        assert sorted(ids_of(bench, by_time(), page_records=1)) == bench.ids()

    def test_a_page_is_not_larger_than_requested(self, bench: Bench) -> None:
        page = bench.source().page(bench.resource, by_id()[0], None, limit=3)

        assert (page.records, len(bench.ids_on(page)), page.last) == (3, 3, False)

    def test_an_empty_source_is_one_empty_last_page(self, connector: Connector) -> None:
        """Read to its end, nothing found: not an error, and not without an end."""
        with connector.bench(records=0) as bench:
            page = bench.source().page(bench.resource, by_id()[0], None)

            assert (page.records, page.cursor, page.last) == (0, None, True)
            assert bench.source().describe(bench.resource, None).records == (None if "counts" in bench.exempt else 0)

    def test_nothing_changed_is_one_empty_last_page(self, bench: Bench) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)

        page = bench.source().page(bench.resource, by_time(later), None)

        assert (page.records, page.last) == (0, True)

    @pytest.mark.parametrize("part", [by_id()[0], by_time()], ids=["by id", "by time"])
    def test_records_that_move_while_pages_are_read_are_not_lost(self, bench: Bench, part: Range) -> None:
        """With offset pagination, three changes per page lose one record in two hundred."""
        bench.fault(*[{"mutate_during": {"stock_moves": 3}}] * 6)

        found = ids_of(bench, part, page_records=5)

        assert set(found) == set(bench.ids())

    def test_a_late_update_within_the_overlap_is_read(self, bench: Bench) -> None:
        """Its transaction was open when the last run read past its instant."""
        now = datetime.now(UTC)
        bench.fault({"late_update": {"seconds": 120}})
        bench.source().page(bench.resource, by_id()[0], None, limit=1)

        assert ids_of(bench, by_time(now - timedelta(seconds=110))) == []
        assert len(ids_of(bench, by_time(now - timedelta(minutes=5)))) == 1

    def test_a_page_that_comes_twice_is_requested_again(self, bench: Bench) -> None:
        """A cache on the way answers with the page before."""
        bench.fault("ok", {"duplicate_page": True}, "ok", {"duplicate_page": True})

        assert ids_of(bench, by_id()[0], page_records=10) == bench.ids()

    def test_a_page_that_comes_for_ever_ends_the_read(self, bench: Bench) -> None:
        """Landing it for ever would be a run without an end."""
        bench.fault("ok", {"duplicate_page": True}, repeat=True)

        with pytest.raises(SourceInvalid, match="it repeats the previous page"):
            ids_of(bench, by_id()[0], page_records=10)
        assert bench.data_requests() == 1 + QUICK.attempts

    def test_an_unknown_field_is_kept(self, bench: Bench) -> None:
        """Systems grow fields on a Tuesday afternoon, without a word."""
        skip_where_exempt(bench, "unknown fields")
        bench.add_field()

        found = list(pages(bench.source(), bench.resource, by_id()[0]))

        assert [key for page in found for key in bench.ids_on(page)] == bench.ids()
        assert all(b"shelfLife" in page.body for page in found if page.records)

    def test_strange_keys_find_nothing_and_break_nothing(self, bench: Bench) -> None:
        """They come from people, spreadsheets and other systems."""
        keys = ['"', "\\", '") or id > ("', "a\r\nX-Evil: 1", "\0", "😀", "%00", "é" * 200]

        assert ids_of(bench, bench.by_keys(keys)) == []

    def test_a_deleted_record_is_not_read_and_takes_no_other_along(self, bench: Bench) -> None:
        source = bench.source(page_records=7)
        first = source.page(bench.resource, by_id()[0], None)
        bench.delete(bench.ids_on(first)[-1])
        bench.delete(bench.ids()[20])

        rest = ids_of(bench, by_id()[0], first.cursor, page_records=7)

        assert rest == bench.ids()[6:]

    def test_a_record_without_a_required_field_affects_no_other(self, bench: Bench) -> None:
        """Validation rejects that record alone, with a reason."""
        bench.spoil(bench.ids()[3])

        assert ids_of(bench, by_id()[0], page_records=5) == bench.ids()

    @pytest.mark.parametrize(
        "text",
        [
            "a-kind-that-nobody-has-heard-of",
            "👩🏽‍🚀🛋️",
            "كرسي",
            "e\u0301 \u202eevil",
            "Ω\u0000",
            "ß" * 200_000,
            "{{7*7}}'--",
        ],
        ids=["unknown word", "emoji", "right to left", "combining", "NUL", "huge", "code"],
    )
    def test_any_text_comes_as_it_is(self, bench: Bench, text: str) -> None:
        """What it means is for the mapping; what arrives here must be what was sent."""
        key = bench.ids()[2]
        bench.put(key, text)

        found = [
            page
            for page in pages(bench.source(page_records=1), bench.resource, by_id()[0])
            if key in bench.ids_on(page)
        ]

        assert [bench.texts_on(page)[key] for page in found] == [text]


class TestSharing:
    """What all connectors do with what workers share."""

    @pytest.fixture
    def calls(self, store: Store) -> Iterator[SharedSafeguards]:
        with SharedSafeguards(store, "acme", cipher=Fernet(Fernet.generate_key()), run_of=lambda: "run-1") as shared:
            yield shared

    def shared(self, bench: Bench, calls: SharedSafeguards, *, limits: Limits = QUICK, **policy: Any) -> Source:
        config = ClientConfig(safeguards=calls.safeguards(CallPolicy(**policy)))
        return bench.source(limits=limits, config=config)

    def test_it_waits_for_its_permits(self, bench: Bench, calls: SharedSafeguards) -> None:
        source = self.shared(bench, calls, limits=PATIENT, rate=Rate(calls=20))
        source.describe(bench.resource, None)
        began = time.monotonic()
        for _ in range(10):
            source.describe(bench.resource, None)

        assert time.monotonic() - began > 9 * Rate(calls=20).spacing_s

    def test_a_source_that_is_known_to_be_down_is_not_called(self, bench: Bench, calls: SharedSafeguards) -> None:
        source = self.shared(bench, calls, breaker=BreakerRules(failures_in_a_row=2, open_s=30))
        bench.fault({"status": 503}, repeat=True)
        for _ in range(5):
            with pytest.raises(SystemUnavailable):
                source.describe(bench.resource, None)

        assert bench.data_requests() == 2

    def test_a_refusal_is_no_outage(self, bench: Bench, calls: SharedSafeguards) -> None:
        """A system that says no is at work; the next question may be a better one."""
        source = self.shared(bench, calls, breaker=BreakerRules(failures_in_a_row=2, open_s=30))
        bench.fault({"status": 404}, repeat=True)
        for _ in range(5):
            with pytest.raises(SystemRefused):
                source.describe(bench.resource, None)

        assert bench.data_requests() == 5

    def test_its_calls_are_counted_for_the_run(self, bench: Bench, calls: SharedSafeguards, store: Store) -> None:
        source = self.shared(bench, calls)
        bench.fault("ok", {"status": 503}, "ok", {"status": 404})
        source.describe(bench.resource, None)
        source.describe(bench.resource, None)
        with pytest.raises(SystemRefused):
            source.describe(bench.resource, None)
        calls.close()

        with store.transaction() as work:
            usage = usage_of_run(work, "run-1")
        assert (usage.successes, usage.failures, usage.refusals, usage.retries) == (2, 1, 1, 1)

    def test_two_workers_fetch_one_token(self, bench: Bench, calls: SharedSafeguards) -> None:
        skip_where_exempt(bench, "tokens")
        for _ in range(3):
            self.shared(bench, calls).describe(bench.resource, None)
        assert bench.token_requests() == 1

        bench.revoke_tokens()
        for _ in range(3):
            self.shared(bench, calls).describe(bench.resource, None)
        assert bench.token_requests() == 2

    def test_no_secret_and_no_token_is_in_the_database(
        self, bench: Bench, calls: SharedSafeguards, store: Store
    ) -> None:
        """A reader of the hub's tables must not be able to call in its name."""
        source = self.shared(bench, calls, limits=PATIENT, rate=Rate(calls=100))
        source.describe(bench.resource, None)
        for status in (403, 503):
            bench.fault({"status": status}, repeat=True)
            with pytest.raises(HubError):
                source.page(bench.resource, bench.by_keys([f"{CANARY}-key"]), None)
        calls.close()

        dump = dump_of(store)
        assert "shared_token" in dump
        assert "breaker" in dump
        assert CANARY not in dump
        assert bench.tokens() or "tokens" in bench.exempt
        assert not [token for token in bench.tokens() if token in dump]


def dump_of(store: Store) -> str:
    """Every row of every table of the hub, as text; bytes as text too, where they are some."""
    with store.transaction() as work:
        names = [
            name for (name,) in work.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'hub' ORDER BY 1")
        ]
        rows = [(name, work.execute(f'SELECT t::text FROM hub."{name}" t'.encode()).fetchall()) for name in names]
        opened = work.execute("SELECT encode(ciphertext, 'escape') FROM shared_token").fetchall()
    return repr(rows) + repr(opened)


class TestWaits:
    @pytest.mark.parametrize(("retry_after", "at_least_s"), [(1, 1.0), ("date:+2", 0.9)])
    def test_the_wait_that_a_source_requests_is_kept(self, bench: Bench, retry_after: Any, at_least_s: float) -> None:
        """A client that calls again too soon is throttled harder."""
        page = signed_in(bench, limits=PATIENT)
        bench.fault({"status": 429, "retry_after": retry_after})
        began, requests_before = time.monotonic(), bench.data_requests()

        assert page().records == 40
        assert time.monotonic() - began >= at_least_s
        assert bench.data_requests() - requests_before == 2

    @pytest.mark.parametrize(
        ("retry_after", "reported_s"), [(4, 4), ("date:+120", 119), (3600, 900), (1e9, 900), ("date:+90000", 900)]
    )
    def test_a_long_wait_is_left_to_the_scheduler_and_not_slept(
        self, bench: Bench, retry_after: Any, reported_s: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker's slot that sleeps for minutes is a slot less for everybody; the scheduler can wait for free."""
        page, slept = signed_in(bench, limits=PATIENT), list[float]()
        monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=slept.append))
        bench.fault({"status": 429, "retry_after": retry_after}, repeat=True)
        began, requests_before = time.monotonic(), bench.data_requests()

        with pytest.raises(Transient) as caught:
            page()

        assert caught.value.retry_in_s is not None
        # A date comes nearer while the answer is on its way.
        assert reported_s - 2 - (time.monotonic() - began) <= caught.value.retry_in_s <= min(reported_s + 2, 900)
        assert (slept, bench.data_requests() - requests_before) == ([], 1)

    def test_a_negative_wait_is_no_wait(self, bench: Bench) -> None:
        """Our own growing waits hold then."""
        page = signed_in(bench)
        bench.fault({"status": 429, "retry_after": -1})

        assert page().records == 40


class TestFaults:
    @named
    def test_a_passing_fault_is_retried_and_nothing_is_lost(self, bench: Bench, fault: Any, kind: type) -> None:  # noqa: ARG002
        """A page that was cut on its way comes whole the next time."""
        source = bench.source(page_records=15)
        bench.fault("ok", fault, "ok", fault)

        found = [key for page in pages(source, bench.resource, by_id()[0]) for key in bench.ids_on(page)]

        assert found == bench.ids()

    @named
    def test_a_lasting_fault_ends_after_the_allowed_number_of_requests(
        self, bench: Bench, fault: Any, kind: type
    ) -> None:
        """
        Counted at the server: retries that multiply, one client's with another's, make an outage worse.

        A pooled connection that ends before its answer may have been closed while it waited: it is replaced once, uncounted.
        """
        page = signed_in(bench)
        bench.fault(fault, repeat=True)
        before = bench.data_requests()

        with pytest.raises(kind):
            page()
        assert bench.data_requests() - before == QUICK.attempts + (fault == {"reset": True})

    def test_during_an_outage_the_token_is_not_requested_more_often(self, bench: Bench) -> None:
        """It is part of the call that needs it: three attempts are three requests, not nine."""
        skip_where_exempt(bench, "tokens")
        bench.fault({"status": 503}, repeat=True)
        bench.token_fault({"status": 503}, repeat=True)

        with pytest.raises(SystemUnavailable):
            bench.source().describe(bench.resource, None)
        assert (bench.data_requests(), bench.token_requests()) == (0, QUICK.attempts)

    def test_when_data_is_down_one_token_does_for_all_attempts(self, bench: Bench) -> None:
        skip_where_exempt(bench, "tokens")
        bench.fault({"status": 503}, repeat=True)

        with pytest.raises(SystemUnavailable):
            bench.source().describe(bench.resource, None)
        assert (bench.data_requests(), bench.token_requests()) == (QUICK.attempts, 1)

    @pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
    def test_a_refusal_is_not_tried_again(self, bench: Bench, status: int) -> None:
        """The response would be the same, and other calls need the shared rate limit."""
        page = signed_in(bench)
        bench.fault({"status": status}, repeat=True)
        before = bench.data_requests()

        with pytest.raises(SystemRefused, match=f"HTTP {status}") as caught:
            page()

        assert isinstance(caught.value, Terminal)
        assert caught.value.status == status
        assert bench.data_requests() - before == 1

    def test_a_redirect_is_not_followed(self, bench: Bench) -> None:
        """It could send our token, or calls into our network, anywhere."""
        page = signed_in(bench)
        with RawServer(answer()) as other_server:
            bench.fault({"redirect": other_server.url}, repeat=True)
            with pytest.raises(SystemRefused, match="Redirects are not followed"):
                page()

        assert other_server.requests == []

    @pytest.mark.parametrize("fault", [{"timeout": "before"}, {"drip": 100}, {"drip_headers": 3}], ids=str)
    def test_a_call_ends_at_its_deadline(self, bench: Bench, fault: Any) -> None:
        """Drop by drop, no single read takes long; such an answer once held a slot for hours."""
        page = signed_in(bench, limits=ONE_SECOND)
        bench.fault(fault)
        began = time.monotonic()

        with pytest.raises(SystemUnavailable, match="took longer than 1 s"):
            page()
        assert time.monotonic() - began > 0.8
        assert bench.was_left_early()

    @pytest.mark.parametrize("fault", [{"timeout": "before"}, {"drip": 1}], ids=str)
    def test_a_call_ends_at_its_deadline_with_its_token_included(self, bench: Bench, fault: Any) -> None:
        skip_where_exempt(bench, "tokens")
        bench.token_fault(fault)
        source = bench.source(limits=ONE_SECOND)

        with pytest.raises(SystemUnavailable, match="took longer than 1 s"):
            source.describe(bench.resource, None)
        assert bench.was_left_early()

    def test_a_response_that_took_too_long_is_requested_again(self, bench: Bench) -> None:
        page = signed_in(bench, limits=Limits(timeout_s=2, attempts=2, longest_wait_s=0.1))
        bench.fault({"timeout": "before"})

        assert page().records == 40


class TestTokens:
    def test_a_token_that_ends_mid_run_is_renewed_once(self, bench: Bench) -> None:
        """Eight pages in flight are refused together; eight renewals would meet the token host's own limit."""
        skip_where_exempt(bench, "tokens")
        page = signed_in(bench)
        bench.fault(*[{"latency_ms": 60}] * 16)
        bench.token_fault({"latency_ms": 150})
        bench.revoke_tokens()

        with ThreadPoolExecutor(8) as pool:
            fetched = list(pool.map(lambda _: page(), range(24)))

        assert [one.records for one in fetched] == [40] * 24
        assert bench.token_requests() == 2

    def test_a_token_revoked_just_after_it_was_fetched_is_renewed(self, bench: Bench) -> None:
        """The token that was sent decides whether it is new, not its age."""
        skip_where_exempt(bench, "tokens")
        page = signed_in(bench)
        for renewals in (2, 3, 4):
            bench.revoke_tokens()
            assert page().records == 40
            assert bench.token_requests() == renewals

    def test_a_connector_whose_new_tokens_are_refused_too_gives_up(self, bench: Bench) -> None:
        skip_where_exempt(bench, "tokens")
        page = signed_in(bench)
        bench.fault({"status": 401}, repeat=True)
        before = bench.data_requests()

        with pytest.raises(SystemRefused, match="HTTP 401"):
            page()
        assert (bench.data_requests() - before, bench.token_requests()) == (2, 2)

    def test_credentials_that_are_withdrawn_mid_run_end_it(self, bench: Bench) -> None:
        """A person has to fix the credentials; a retry would not help."""
        skip_where_exempt(bench, "tokens")
        page = signed_in(bench)
        bench.revoke_tokens()
        bench.token_fault({"status": 401}, repeat=True)

        with pytest.raises(SystemRefused, match="Check the id and the secret"):
            page()


class TestSecrets:
    def test_no_failure_shows_a_secret_a_token_or_a_key(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """Messages go into task logs, pages and tickets; so do the errors below them, and the logs of libraries."""
        caplog.set_level(logging.DEBUG)
        source = bench.source(limits=Limits(timeout_s=0.2, attempts=2, longest_wait_s=0.01, answer_bytes=1_000_000))
        source.describe(bench.resource, None)
        shown, failures = "", [fault for fault, _ in PASSING]
        failures += [{"status": status} for status in (400, 401, 403, 404, 409)]
        failures += [{"timeout": "before"}, {"drip": 100}, {"drip_headers": 20}, {"redirect": "http://[" + CANARY}]

        for fault in failures:
            bench.fault(fault, repeat=True)
            with pytest.raises(HubError) as caught:
                source.page(bench.resource, bench.by_keys([f"{CANARY}-key"]), None)
            shown += "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        for wrong in (bench.source_with_wrong_secret(), bench.source_of_dead_host()):
            with pytest.raises(HubError) as caught:
                wrong.page(bench.resource, bench.by_keys([f"{CANARY}-key"]), None)
            shown += "".join(traceback.format_exception(caught.value)) + repr(caught.value)

        shown += caplog.text + repr([record.__dict__ for record in caplog.records])
        assert "Retrying in" in shown
        assert CANARY not in shown
        assert len(bench.tokens()) > 1 or "tokens" in bench.exempt
        assert not [token for token in bench.tokens() if token in shown]

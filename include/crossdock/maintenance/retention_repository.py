"""
What is kept no longer: the oldest first, so many rows a transaction, and never what is still needed.

Each function takes away at most *limit* and says how much that was; less than *limit* means that no more is due.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from crossdock.db.database import Work

#: Runs whose time is over: from *pulled_before* on for those of single records that webhooks asked for, which is never
#: earlier than *before*. Said twice, because no index answers the CASE.
_ENDED = """state <> 'running' AND finished_at < %(pulled_before)s AND finished_at < CASE WHEN partition LIKE 'webhook:%%' THEN %(pulled_before)s
       ELSE %(before)s END"""

#: Said again outside: a failed run that somebody has opened again meanwhile keeps its pages. What is in quarantine
#: needs none, it is kept whole; nor what is open, which is read again from its source.
_CLEAR_LANDING = f"""
UPDATE sync_run run SET landing_cleared_at = clock_timestamp()
 WHERE state <> 'running' AND run_id = ANY(ARRAY(
    SELECT run_id FROM sync_run old
     WHERE {_ENDED} AND EXISTS (SELECT FROM sync_range part WHERE part.run_id = old.run_id)
       AND run_id <> ALL(%(but)s)
     ORDER BY finished_at LIMIT %(limit)s))
RETURNING run_id
""".encode()

_FORGET_PAGES = b"DELETE FROM sync_range WHERE run_id = ANY(%(run_ids)s)"

#: What stays of the ledger: the newest run of each lease, from which the next one goes on; a run that moved a watermark
#: to where it is; what an item in quarantine or an open record came from; and whatever has pages. Looked at in the
#: order of their ends, each once a round: all at once, half a million of them and as many items take two seconds. The two
#: questions to the quarantine are not EXISTS: as a join, the planner reads every item through for a thousand runs.
_FORGET_RUNS = f"""
WITH seen AS MATERIALIZED (
    SELECT run_id, integration, entity, partition, started_at, finished_at FROM sync_run
     WHERE {_ENDED} AND (finished_at, run_id) > (%(seen_at)s, %(seen_id)s)
     ORDER BY finished_at, run_id LIMIT %(limit)s),
gone AS (
    DELETE FROM sync_run WHERE state <> 'running' AND run_id IN (
        SELECT run_id FROM seen old
         WHERE EXISTS (SELECT FROM sync_run newer
                        WHERE newer.integration = old.integration AND newer.entity = old.entity
                          AND newer.partition = old.partition AND newer.started_at > old.started_at)
           AND NOT EXISTS (SELECT FROM sync_range part WHERE part.run_id = old.run_id)
           AND NOT EXISTS (SELECT FROM watermark WHERE moved_by = old.run_id)
           AND (SELECT true FROM quarantine_item WHERE state = 'open' AND first_run_id = old.run_id LIMIT 1) IS NULL
           AND (SELECT true FROM quarantine_item WHERE state = 'open' AND last_run_id = old.run_id LIMIT 1) IS NULL
           AND NOT EXISTS (SELECT FROM open_record WHERE first_run_id = old.run_id))
    RETURNING run_id)
SELECT finished_at, run_id, (SELECT count(*) FROM gone) FROM seen ORDER BY finished_at DESC, run_id DESC LIMIT 1
""".encode()

_FORGET_IDENTITIES = b"""
DELETE FROM event_identity WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_identity WHERE stored_at < %(before)s LIMIT %(limit)s))
"""

#: A letter that recovered tells of the past only. The others say what a subscriber had instead of an event, or that it
#: never had it: a read model that is built again asks for them as long as the store has the event.
_FORGET_LETTERS = b"""
DELETE FROM dead_letter WHERE dead_letter_id = ANY(ARRAY(
    SELECT dead_letter_id FROM dead_letter letter
     WHERE closed_at < %(before)s AND state IN ('recovered', 'replayed', 'discarded', 'superseded')
       AND (state = 'recovered' AND edited_data IS NULL
            OR NOT EXISTS (SELECT FROM event WHERE (event.epoch, event.xid, event.position)
                                                 = (letter.epoch, letter.xid, letter.position)))
     ORDER BY closed_at LIMIT %(limit)s))
"""

_FORGET_REPLAYS = b"""
DELETE FROM event_replay WHERE replay_id = ANY(ARRAY(
    SELECT replay_id FROM event_replay WHERE state <> 'open' AND ended_at < %(before)s ORDER BY replay_id LIMIT %(limit)s))
"""

_FORGET_REFUSALS = b"""
DELETE FROM refused_webhook WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM refused_webhook WHERE hour < %(before)s LIMIT %(limit)s))
"""

_FORGET_ALERTS = b"""
DELETE FROM alert WHERE alert_id = ANY(ARRAY(
    SELECT alert_id FROM alert WHERE closed_at < %(before)s ORDER BY alert_id LIMIT %(limit)s))
"""

#: A reader that lives says so several times in the life of its lease, with or without events.
_REMOVED = b"""
SELECT subscriber FROM event_consumer WHERE subscriber <> ALL(%(known)s)
 GROUP BY subscriber HAVING max(moved_at) < %(before)s AND max(expires_at) < clock_timestamp() ORDER BY subscriber
"""

_FORGET_INBOX = b"""
DELETE FROM event_inbox WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_inbox WHERE subscriber = %(subscriber)s LIMIT %(limit)s))
"""

_FORGET_READER = b"DELETE FROM event_consumer WHERE subscriber = %(subscriber)s AND moved_at < %(before)s"


def clear_landing(
    work: Work, before: datetime, pulled_before: datetime, *, but: Collection[str] = (), limit: int
) -> list[str]:
    """
    Runs whose pages are not needed any more, *but* some, noted as cleared: from the commit on, none of them goes on.

    They are named again until `forget_pages` is told that their files are gone.
    """
    values = {"before": before, "pulled_before": pulled_before, "but": list(but), "limit": limit}
    return [run_id for (run_id,) in work.execute(_CLEAR_LANDING, values)]


def forget_pages(work: Work, run_ids: Collection[str]) -> None:
    """The index of the pages of these runs, gone: their files are."""
    work.execute(_FORGET_PAGES, {"run_ids": list(run_ids)})


#: Before all runs.
FIRST_RUN = (datetime(1, 1, 1, tzinfo=UTC), "")


def forget_runs(
    work: Work, before: datetime, pulled_before: datetime, seen: tuple[datetime, str], *, limit: int
) -> tuple[int, tuple[datetime, str] | None]:
    """How many of the *limit* runs that ended after *seen* are gone, and the last that was looked at; None after the last."""
    values = {"before": before, "pulled_before": pulled_before, "limit": limit}
    row = work.execute(_FORGET_RUNS, {**values, "seen_at": seen[0], "seen_id": seen[1]}).fetchone()
    return (int(row[2]), (row[0], row[1])) if row else (0, None)


def forget_identities(work: Work, before: datetime, *, limit: int) -> int:
    """What others called their events: one of theirs that came so long ago and comes again is a new one."""
    return work.execute(_FORGET_IDENTITIES, {"before": before, "limit": limit}).rowcount


def forget_letters(work: Work, before: datetime, *, limit: int) -> int:
    """Closed ones; those that are dead wait for a person, however long."""
    return work.execute(_FORGET_LETTERS, {"before": before, "limit": limit}).rowcount


def forget_replays(work: Work, before: datetime, *, limit: int) -> int:
    return work.execute(_FORGET_REPLAYS, {"before": before, "limit": limit}).rowcount


def forget_refusals(work: Work, before: datetime, *, limit: int) -> int:
    return work.execute(_FORGET_REFUSALS, {"before": before, "limit": limit}).rowcount


def forget_alerts(work: Work, before: datetime, *, limit: int) -> int:
    """Closed ones."""
    return work.execute(_FORGET_ALERTS, {"before": before, "limit": limit}).rowcount


def removed_subscribers(work: Work, known: Collection[str], before: datetime) -> list[str]:
    """Subscribers that are not *known*, and for which nobody has read since *before*."""
    values = {"known": list(known), "before": before}
    return [subscriber for (subscriber,) in work.execute(_REMOVED, values)]


def forget_inbox(work: Work, subscriber: str, *, limit: int) -> int:
    return work.execute(_FORGET_INBOX, {"subscriber": subscriber, "limit": limit}).rowcount


def forget_reader(work: Work, subscriber: str, before: datetime) -> None:
    """Its places in the store, which held back every month that it had not read. Told again, it begins at the first event."""
    work.execute(_FORGET_READER, {"subscriber": subscriber, "before": before})

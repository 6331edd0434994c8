"""Send calls that write, each with a row in the attempt log that outlives the process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal, TypeVar

import msgspec
from psycopg.pq import TransactionStatus

from crossdock.core.errors import Conflict, Declined, HubError, OutcomeUnknown, SystemRefused, Terminal
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.http.client import DeclineOf, HttpClient, not_declined
from crossdock.http.model import KeyRules, Limits
from crossdock.http.response import HttpResponse
from crossdock.integrations.attempts import repository
from crossdock.integrations.attempts.model import AlreadyDone, Attempt, Outcome, Resolution, Write
from crossdock.observability import audit, decisions
from crossdock.observability.decisions import Decision, DecisionKind

T = TypeVar("T")

#: Makes a call that writes, once or with its own retries: with these rules of its key, or None if it must not be repeated
#: once it may have arrived. Raises as `HttpClient.send`.
Call = Callable[[KeyRules | None], T]
#: Runs first in the transaction that opens an attempt. If it raises, nothing is sent.
OnBegin = Callable[[Work], None]
#: Runs first in the transaction that records a call as done, with its answer.
OnAnswer = Callable[[Work, T], None]


def begins_always(_: Work) -> None:
    """Let every attempt begin."""


def _keeps_nothing(_: Work, __: object) -> None:
    """Have nothing recorded with an answer."""


def send(
    store: Store,
    client: HttpClient,
    write: Write,
    parse: Callable[[HttpResponse], T],
    *,
    decline_of: DeclineOf = not_declined,
    retry_on: frozenset[int] = frozenset(),
    guarded: bool = False,
    asks_person: bool = False,
    on_begin: OnBegin = begins_always,
    on_done: OnAnswer[T] = _keeps_nothing,
) -> T:
    """Send *write* over HTTP and log it, as `logged`."""

    def call(rules: KeyRules | None) -> T:
        return client.send(
            write.method,
            write.path,
            write.body,
            parse,
            query=write.query,
            headers=write.headers,
            form=write.form,
            idempotency_key=write.key if rules else None,
            key_rules=rules or KeyRules(),
            decline_of=decline_of,
            retry_on=retry_on,
        )

    return logged(
        store, write, client.limits, call, guarded=guarded, asks_person=asks_person, on_begin=on_begin, on_done=on_done
    )


def logged(
    store: Store,
    write: Write,
    limits: Limits,
    call: Call[T],
    *,
    guarded: bool = False,
    asks_person: bool = False,
    on_begin: OnBegin = begins_always,
    on_done: OnAnswer[T] = _keeps_nothing,
) -> T:
    """
    Make the *call* of *write* and log it: its attempt is committed before the call, and its outcome afterwards.

    With a key that was used before, the request is sent again only if that cannot repeat the effect: the earlier one
    had none, or the system replays the answer of the key, or the request is *guarded*: it names the version that it
    changes, so that the system applies it once at most. Set that only after a read has shown that it was not applied
    yet: otherwise a refusal says nothing. *on_begin* runs first in the transaction that opens the attempt; if it raises, nothing
    is sent. *on_done* runs first in the transaction that records the call as done. *asks_person*: a person decides about an outcome that
    stays unknown, from the moment at which the call must be over.

    Raises:
        KeyReused: the key belongs to another request; nothing was sent.
        AlreadyDone: it was done before, and its answer could not be had again.
        OutcomeUnknown: this request or an earlier one may have had its effect. Resolve the attempt, then go on.
        SystemUnavailable, SystemRefused, AddressRefused: it had no effect; as `HttpClient.send`.
        StoreUnavailable: the hub's database failed. Running again is safe: the attempt says what may be sent.
        Terminal: a transaction of *store* is open, so that the attempt would not be committed; nothing was sent.

    """
    _refuse_open_transaction(store)
    longest = timedelta(seconds=limits.attempts * limits.longest_attempt_s)
    with store.transaction() as work:
        on_begin(work)
        attempt, is_new = repository.begin(work, write, longest=longest, asks_person=asks_person)
    rules = write.key_rules if is_new else _rules_left(write, attempt, limits)
    if not is_new and rules is None and (not guarded or attempt.outcome is Outcome.DONE):
        raise _without_answer(attempt, "an earlier call with its key has no known outcome")
    failpoint("send.begun")
    try:
        answer = call(rules)
    except Declined:
        _end(store, attempt, Outcome.REFUSED, None if is_new else Resolution.REPLAYED_KEY)
        raise
    except HubError as error:
        # The refusal of a repetition says nothing of the earlier request: a gateway may have refused it.
        _end(store, attempt, _outcome_of(error) if is_new else Outcome.UNKNOWN)
        if is_new:
            raise
        cause = error.cause if isinstance(error, OutcomeUnknown) else error
        raise _without_answer(attempt, f"its repetition failed: {cause}") from error
    failpoint("send.answered")
    with store.transaction() as work:
        resolution = None if is_new else Resolution.REPLAYED_KEY if rules else Resolution.GET
        # First: what it locks is locked before attempts everywhere.
        on_done(work, answer)
        repository.end(work, attempt, Outcome.DONE, resolution)
    return answer


def found_done(store: Store, write: Write) -> None:
    """Record that a read has shown the effect of *write*, whose outcome was unknown."""
    with store.transaction() as work:
        if attempt := repository.find(work, write.integration, write.key):
            repository.end(work, attempt, Outcome.DONE, Resolution.GET)


def found_failed(store: Store, write: Write) -> None:
    """Record that a read has shown that *write*, whose outcome was unknown, had no effect and can have none any more."""
    with store.transaction() as work:
        if attempt := repository.find(work, write.integration, write.key):
            repository.end(work, attempt, Outcome.FAILED, Resolution.GET)


def resolve_by_person(
    store: Store,
    attempt_id: int,
    outcome: Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED],
    reason: str,
    *,
    actor: str,
    decision_id: int | None = None,
) -> Attempt:
    """
    Record what a person found out about an attempt whose outcome was unknown, with an entry in the audit trail.

    After `done`, its key has no further effect. After `refused` or `failed`, the same key sends the request anew.
    *decision_id* is the decision that this is the answer to; without it, what is asked now is answered.

    Raises:
        AlreadyDecided: somebody has decided before.
        NotFound: no attempt has that ID.
        Conflict: its outcome is known already, or its call may still be running.

    """
    with store.transaction() as work:
        repository.lock(work, attempt_id)
        if decision_id is not None:
            decisions.refuse_decided(work, decision_id)
        resolved = repository.resolve(work, attempt_id, outcome, Resolution.PERSON)
        decisions.record(work, DecisionKind.ATTEMPT, str(attempt_id), outcome, actor=actor)
        detail = {"integration": resolved.integration, "action": resolved.action, "outcome": outcome, "reason": reason}
        audit.add(work, actor=actor, act="attempt.resolve", subject=f"attempt/{attempt_id}", detail=detail)
    return resolved


def decide(store: Store, decision: Decision, choice: str, reason: str, actor: str) -> Attempt:
    """
    Carry out what was decided about an attempt.

    Raises:
        Conflict: somebody has decided before, or its outcome is known by now.

    """
    attempt_id, outcome = int(decision.subject), _found_out(choice)
    return resolve_by_person(store, attempt_id, outcome, reason, actor=actor, decision_id=decision.decision_id)


def _found_out(choice: str) -> Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED]:
    match Outcome(choice):
        case Outcome.DONE | Outcome.REFUSED | Outcome.FAILED as outcome:
            return outcome
        case _:
            raise Conflict(f"An attempt is resolved as done, refused or failed, not as {choice}")


def _refuse_open_transaction(store: Store) -> None:
    with store.question() as connection:
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            raise Terminal("A call that writes was made inside a transaction. Commit first, then send")


def _rules_left(write: Write, attempt: Attempt, limits: Limits) -> KeyRules | None:
    """Shorten the key's window by the age of *attempt*; None if the system may have forgotten the key."""
    if write.key_rules is None:
        return None
    left_s = write.key_rules.window_s - attempt.age.total_seconds()
    return msgspec.structs.replace(write.key_rules, window_s=left_s) if left_s >= limits.longest_attempt_s else None


def _without_answer(attempt: Attempt, cause: str) -> HubError:
    if attempt.outcome is Outcome.DONE:
        return AlreadyDone(attempt)
    return OutcomeUnknown(attempt.integration, f"{attempt.action!r} with the key {attempt.key!r}", cause)


def _outcome_of(error: HubError) -> Outcome:
    match error:
        case OutcomeUnknown():
            return Outcome.UNKNOWN
        case SystemRefused():
            return Outcome.REFUSED
        case _:
            return Outcome.FAILED


def _end(store: Store, attempt: Attempt, outcome: Outcome, resolution: Resolution | None = None) -> None:
    with store.transaction() as work:
        repository.end(work, attempt, outcome, resolution)

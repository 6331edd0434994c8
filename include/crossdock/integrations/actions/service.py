"""Perform the actions that connectors declare: reads, and writes that have one effect for each key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crossdock.core.errors import (
    AddressRefused,
    BadRequest,
    CircuitOpen,
    Declined,
    NotFound,
    OutcomeUnknown,
    SystemRefused,
    Transient,
)
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.model import KeyRules
from crossdock.http.response import HttpResponse
from crossdock.integrations import repository
from crossdock.integrations.actions import repository as last_known
from crossdock.integrations.actions.model import (
    Action,
    ActionKind,
    Document,
    Done,
    Ended,
    Failed,
    Idempotency,
    InputInvalid,
    LastKnown,
    Refused,
    RefusedBy,
    Unknown,
)
from crossdock.integrations.actions.ports import Effect, OpenClient, Sighting, WriteAction, WriteCall, WriteRequest
from crossdock.integrations.attempts import service as attempts
from crossdock.integrations.attempts.model import AlreadyDone, Write
from crossdock.integrations.attempts.service import OnBegin, begins_always
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import Manifest, manifest_of
from crossdock.integrations.registered import find_active
from crossdock.observability import audit

log = logger(__name__)

#: Called in the last transaction of a write that was done, for what belongs to it.
OnDone = Callable[[Work, Done], None]

_NOTHING_SEEN = Sighting(Effect.UNCLEAR)
#: Refusals that are about the account or its connection, not about what was asked: another system may take it.
_OF_THE_ACCOUNT = frozenset({401, 403, 404, 405, 410})


@dataclass(frozen=True)
class _Read:
    """One call of a read action."""

    integration: str
    manifest: Manifest
    client: Any
    name: str
    given: Document


@dataclass(frozen=True)
class _Call:
    """One call of a write action."""

    manifest: Manifest
    client: Any
    name: str
    given: Document
    write: Write
    on_begin: OnBegin
    on_done: OnDone | None
    actor: str | None
    asks_person: bool

    @property
    def action(self) -> Action:
        return self.manifest.actions[self.name]

    @property
    def provided(self) -> WriteAction | WriteCall:
        found: WriteAction | WriteCall = self.manifest.run_of(self.name)
        return found


def manifest_for(store: Store, integration_id: str) -> Manifest:
    """
    Find the manifest that declares the actions of an integration.

    Raises:
        NotFound: There is no such integration, or not the file that declares it.

    """
    with store.transaction() as work:
        kind = repository.get(work, integration_id).kind
    return manifest_of(kind).of_integration(integration_id)


def perform(
    store: Store,
    open_client: OpenClient,
    integration_id: str,
    name: str,
    given: Document,
    *,
    key: str,
    actor: str | None,
    on_done: OnDone | None = None,
    on_begin: OnBegin = begins_always,
    asks_person: bool = True,
) -> Ended:
    """
    Perform the action *name* of an integration with the input *given*; return how it ended.

    A write has one effect for each *key*, however often it is called: a repetition returns its result, and resolves an
    unknown outcome as the action declares. No transaction is open during a call to the system.

    Args:
        store: The hub's database, without an open transaction.
        open_client: Opens the connector's client.
        integration_id: The integration.
        name: The action, as its manifest has it.
        given: The input.
        key: Names the effect: 1 to 64 visible ASCII characters, the same for each repetition. A read ignores it.
        actor: Who performs it, for the audit trail; None if the caller has its own entry there for what it does.
        on_done: Runs in the transaction that records a write as done, or in a later one if a read or an earlier call has shown it.
        on_begin: Runs first in the transaction that opens the attempt of a write. If it raises, nothing is sent.
        asks_person: Whether a person decides about a write whose outcome stays unknown. False where the caller asks itself.

    Raises:
        NotFound: There is no such integration or action, or the integration was removed.
        IntegrationPaused: Somebody paused the integration.
        InputInvalid: The action's schema refuses the input.
        Conflict: The key was used for another input.
        StoreUnavailable: The hub's database failed. Repeating the call with the same key is safe.

    """
    integration = find_active(store, integration_id)
    if integration is None:
        raise NotFound(f"There is no integration {integration_id!r}")
    manifest = manifest_of(integration.kind).of_integration(integration_id)
    action = manifest.action(name)
    if errors := tuple(errors_in(action.input, given, "/input")):
        raise InputInvalid(name, errors)
    with open_client(integration, manifest) as client:
        if action.kind is ActionKind.READ:
            return _read_or_last_known(store, _Read(integration_id, manifest, client, name, given))
        request = _request(manifest.run_of(name), client, name, given)
        write = Write(
            integration=integration_id,
            action=name,
            key=key,
            method=request.method,
            path=request.path,
            body=request.body,
            form=request.form,
            query=request.query or None,
            headers=request.headers,
            key_rules=_key_rules(action),
        )
        call = _Call(manifest, client, name, given, write, on_begin, on_done, actor, asks_person)
        ended, is_recorded = _write(store, call)
    if not is_recorded:
        _record(store, call, ended)
    return ended


def _read_or_last_known(store: Store, read: _Read) -> Ended:
    """Read, and remember the output; while the system does not answer, fall back to the last one if the action says so."""
    fallback = read.manifest.actions[read.name].fallback
    ended = _read(read)
    if not isinstance(fallback, LastKnown):
        return ended
    with store.transaction() as work:
        match ended:
            case Done(output=output) if output is not None:
                last_known.keep(work, read.integration, read.name, read.given, output)
            case Failed():
                return last_known.find(work, read.integration, read.name, read.given, fallback) or ended
    return ended


def _read(read: _Read) -> Ended:
    try:
        output: Document = read.manifest.run_of(read.name)(read.client, read.given)
    except (SystemRefused, AddressRefused) as error:
        return _refused(error)
    except Transient as error:
        return _failed(error)
    if problem := _output_problem(read.manifest.actions[read.name], output):
        return Failed(f"{read.integration} answered {read.name} with an invalid document: {problem}")
    return Done(output)


def _request(provided: WriteAction | WriteCall, client: Any, name: str, given: Document) -> WriteRequest:
    """Build the request; without HTTP, what stands for it in the attempt's digest."""
    if isinstance(provided, WriteCall):
        return WriteRequest("POST", name, dict(given))
    return provided.request(client, given)


def _write(store: Store, call: _Call) -> tuple[Ended, bool]:
    """
    Send the request, and once more if a read shows that the first had no effect and the system allows only one.

    Return also whether its end is recorded already, by its caller and in the audit trail.
    """
    cause = ""
    for guarded in (False, True):
        try:
            return Done(_sent(store, call, guarded=guarded)), True
        except AlreadyDone:
            return Done(_seen(call).output), False
        except OutcomeUnknown as error:
            cause = str(error)
        except (SystemRefused, AddressRefused) as error:
            return _refused(error), False
        except Transient as error:
            return _failed(error), False
        seen = _seen(call)
        if known := _known_by(store, call, seen, cause):
            return known, False
        if seen.effect is Effect.UNCLEAR:
            break
    return Unknown(f"{cause}. {_advice(call.action)}"), False


def _known_by(store: Store, call: _Call, seen: Sighting, cause: str) -> Ended | None:
    """Record what a read has shown of a write whose answer was lost; None if it is not known yet."""
    match seen.effect:
        case Effect.VISIBLE:
            attempts.found_done(store, call.write)
            return Done(seen.output)
        case Effect.MISSED:
            attempts.found_failed(store, call.write)
            return Failed(f"{cause}. The record has changed since, and shows that the request had no effect")
        case _:
            return None


def _sent(store: Store, call: _Call, *, guarded: bool) -> Document:
    def on_done(work: Work, output: Document) -> None:
        _record_done(work, call, Done(output))
        _audit(work, call, "done")

    match call.provided:
        case WriteAction() as provided:
            return attempts.send(
                store,
                call.client.http,
                call.write,
                _parser(call, provided),
                decline_of=provided.decline_of,
                retry_on=provided.retry_on,
                guarded=guarded,
                asks_person=call.asks_person,
                on_begin=call.on_begin,
                on_done=on_done,
            )
        case WriteCall() as provided:
            return attempts.logged(
                store,
                call.write,
                provided.limits_of(call.client),
                lambda _: _checked(call, provided.call(call.client, call.given, call.write.key)),
                guarded=guarded,
                asks_person=call.asks_person,
                on_begin=call.on_begin,
                on_done=on_done,
            )


def _seen(call: _Call) -> Sighting:
    """
    Read what became of the write, as its action declares.

    The request was sent: a read that cannot be asked for shows nothing, and must not pass for a refusal of the write.
    """
    name, read_back = call.action.read_back, call.provided.read_back
    if name is None or read_back is None:
        return _NOTHING_SEEN
    try:
        given = read_back.input_of(call.given)
        if errors := tuple(errors_in(call.manifest.action(name).input, given, "/input")):
            raise InputInvalid(name, errors)
        ended = _read(_Read(call.write.integration, call.manifest, call.client, name, given))
    except BadRequest as error:
        log.warning("%s of %s cannot be looked up: %s", call.name, call.write.integration, error)
        return _NOTHING_SEEN
    if not isinstance(ended, Done) or ended.output is None:
        return _NOTHING_SEEN
    return read_back.judge(call.given, ended.output)


def _parser(call: _Call, provided: WriteAction) -> Callable[[HttpResponse], Document]:
    """Read and validate the output of a write. An answer that is not valid leaves the outcome unknown."""

    def parse(response: HttpResponse) -> Document:
        output = provided.output_of(response)
        if problem := _output_problem(call.action, output):
            raise response.invalid(f"is not what {call.name} answers: {problem}")
        return output

    return parse


def _checked(call: _Call, output: Document) -> Document:
    if problem := _output_problem(call.action, output):
        raise OutcomeUnknown(call.write.integration, call.name, f"its output is not valid: {problem}")
    return output


def _output_problem(action: Action, output: Document) -> str:
    return "; ".join(f"{error.pointer}: {error.message}" for error in errors_in(action.output, output, ""))


def _key_rules(action: Action) -> KeyRules | None:
    declared = action.idempotency
    if not isinstance(declared, Idempotency):
        return None
    return KeyRules(
        window_s=declared.window_s,
        header=declared.header,
        in_use_status=declared.in_use_status,
        retry_header=declared.retry_header,
    )


def _refused(error: SystemRefused | AddressRefused) -> Refused:
    match error:
        case Declined():
            return Refused(str(error), error.status, RefusedBy.DECISION, error.code, error.try_other)
        case SystemRefused():
            try_other = error.status in _OF_THE_ACCOUNT if error.try_other is None else error.try_other
            return Refused(str(error), error.status, try_other=try_other)
        case AddressRefused():
            return Refused(str(error), try_other=True)


def _failed(error: Transient) -> Failed:
    """Translate an error of a call that had no effect. An error of the hub's own database is raised: it says nothing of the system."""
    if isinstance(error, StoreUnavailable):
        raise error
    return Failed(str(error), error.retry_in_s, was_called=not isinstance(error, CircuitOpen))


def _advice(action: Action) -> str:
    if action.unknown == "person":
        return "Look it up in the system"
    if action.unknown == "webhook":
        return "If it had its effect, the system's webhook says so; if none comes, look it up in the system"
    return "Repeat the call with the same key to resolve it; if it stays unknown, look it up in the system"


def _record(store: Store, call: _Call, ended: Ended) -> None:
    """Record a write in the audit trail, and have the caller record what is done."""
    if call.actor is None and not isinstance(ended, Done):
        return
    with store.transaction() as work:
        if isinstance(ended, Done):
            _record_done(work, call, ended)
        _audit(work, call, type(ended).__name__.lower())


def _record_done(work: Work, call: _Call, done: Done) -> None:
    if call.on_done is not None:
        call.on_done(work, done)


def _audit(work: Work, call: _Call, outcome: str) -> None:
    """Without its input, which may have personal data."""
    if call.actor is None:
        return
    write = call.write
    detail: dict[str, Any] = {"action": write.action, "key": write.key, "outcome": outcome}
    audit.add(work, actor=call.actor, act="integration.act", subject=f"integration/{write.integration}", detail=detail)

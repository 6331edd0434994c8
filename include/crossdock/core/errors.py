"""
What can go wrong, in two families that say what the caller should do.

Third-party errors become one of these once, at the edge where they appear, with `raise … from`.
`crossdock.app.airflow.retry_policy` turns the families into Airflow's retry decisions; nobody else knows Airflow's.
"""

from __future__ import annotations

from crossdock.core.hints import Hint, HintId


class HubError(Exception):
    """Something the hub could not do. Its text names no command: each surface has its own words for the hint."""

    def __init__(self, message: str, *, hint: Hint | None = None) -> None:
        #: What to do about it; None where the message says all, or nothing can be done.
        self.hint = hint
        super().__init__(message)


class Transient(HubError):
    """Running again later may succeed."""

    def __init__(self, message: str, *, retry_in_s: float | None = None, hint: Hint | None = None) -> None:
        #: What the other side asked us to wait, in seconds; None when it did not say.
        self.retry_in_s = retry_in_s
        super().__init__(message, hint=hint)


class Terminal(HubError):
    """Running again gives the same answer; someone has to look."""


class SystemUnavailable(Transient):
    """An external system did not answer, or answered that it cannot now."""

    def __init__(self, system: str, what: str, *, retry_in_s: float | None = None) -> None:
        self.system = system
        super().__init__(f"{system} is unavailable: {what}", retry_in_s=retry_in_s)


class CircuitOpen(SystemUnavailable):
    """A system has been failing, so it is not called for a while; asking would only take its and our time."""


class RateLimited(SystemUnavailable):
    """The turn to call a system is further away than a worker should sleep."""


class Throttled(SystemUnavailable):
    """An external system answered that we ask too often."""


class AddressRefused(Terminal):
    """A connection's host leads to a place in our own network, which its extra does not allow, or is called in the open."""

    def __init__(self, message: str, *, network: str | None = None) -> None:
        #: What `allowed_networks` would have to name; None where that is not what is wrong.
        self.network = network
        super().__init__(message)


class SystemRefused(Terminal):
    """An external system understood the request and said no."""

    def __init__(self, system: str, status: int, said: str) -> None:
        self.system, self.status, self.said = system, status, said
        super().__init__(f"{system} refused the request with HTTP {status}: {said}")


class SourceInvalid(Transient):
    """
    An answer is not what it claims to be: cut, not JSON, the wrong type, or without its rows.

    Transient, because a page cut on its way comes whole the next time; a source that keeps
    answering so fails the run when the retries are used up. It never counts as "0 rows".
    """

    def __init__(self, system: str, page: str, status: int, cause: str) -> None:
        self.system, self.page, self.status, self.cause = system, page, status, cause
        super().__init__(f"{system}: {page} answered HTTP {status} but {cause}")


class LeaseHeld(Transient):
    """Another run of the same entity is at work."""

    def __init__(self, what: str, holder: str, retry_in_s: float) -> None:
        self.holder = holder
        super().__init__(
            f"The sync of {what} is held by run {holder}. It is tried again in {retry_in_s:.0f} s",
            retry_in_s=retry_in_s,
            hint=Hint(HintId.SHOW_RUN, holder),
        )


class LeaseLost(Terminal):
    """The run was overtaken while it slept; its commit is refused."""

    def __init__(self, what: str, run_id: str, holder: str | None) -> None:
        #: Whether a later try of the very same run has the lease: then the run goes on without this worker.
        self.to_itself = holder == run_id
        super().__init__(
            f"Run {run_id} lost its lease on {what} to {holder or 'nobody'} and wrote nothing more. "
            "What it had not loaded is read by the newer run; there is nothing to do."
        )


class ReplayStopped(Terminal):
    """Somebody stopped the replay while a slice of it was at work, or another worker has it now."""

    def __init__(self, replay_id: int) -> None:
        super().__init__(f"Replay {replay_id} was stopped, or another worker goes on with it; nothing more was written")


class HeldForApproval(Terminal):
    """A read looks wrong enough that a person has to say so."""

    def __init__(self, run_id: str, entity: str, read: int, known: int) -> None:
        self.run_id, self.read, self.known = run_id, read, known
        super().__init__(
            f"Run {run_id} read {read} {entity} records where the hub knows {known}: nothing was loaded. "
            "If the source really shrank, a full sync that accepts it (accept_shrunken) loads them",
            hint=Hint(HintId.ALLOW_SHRINK, entity),
        )


class BadRequest(Terminal):
    """A person asked for something that cannot be; the message says what can."""


class NotFound(Terminal):
    """No such thing under that id."""


class Conflict(Terminal):
    """Something of that name is there already, or is in use; the message says what to do about it."""


class VersionChanged(Terminal):
    """Somebody changed the thing since the caller looked at it; look again, then decide."""

    def __init__(self, what: str, expected: int, current: int) -> None:
        self.current = current
        super().__init__(f"{what} is at version {current} by now, not {expected}: read it again, then change it")


class IntegrationPaused(Terminal):
    """Somebody paused the integration: its syncs read nothing until it is resumed."""

    def __init__(self, integration_id: str, paused_by: str) -> None:
        super().__init__(
            f"{integration_id} is paused by {paused_by}; nothing is read until it is resumed",
            hint=Hint(HintId.RESUME_INTEGRATION, integration_id),
        )


class BadEvent(Terminal):
    """An event's data are not what its type promises."""

    def __init__(self, event_id: str, event_type: str, why: str) -> None:
        self.event_id = event_id
        super().__init__(f"Event {event_id} is no {event_type}: {why}. Mend its data, then replay it")

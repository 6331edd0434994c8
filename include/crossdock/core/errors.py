"""
The errors of the hub, in two families that say what the caller should do, and one error that belongs to neither.

A third-party error becomes one of these once, where it appears, with `raise … from`.
`crossdock.app.airflow.retry_policy` turns the families into Airflow's retry decisions.
"""

from __future__ import annotations

from crossdock.core.hints import Hint, HintId


class HubError(Exception):
    """An error of the hub. Its message names no command: CLI, API and a task's log each phrase the hint."""

    def __init__(self, message: str, *, hint: Hint | None = None) -> None:
        #: What to do about it; None where the message says all, or nothing can be done.
        self.hint = hint
        super().__init__(message)


class Transient(HubError):
    """An error that may be gone when the same call is made again later."""

    def __init__(self, message: str, *, retry_in_s: float | None = None, hint: Hint | None = None) -> None:
        #: The delay that the other side requested (Retry-After), in seconds; None if it requested none.
        self.retry_in_s = retry_in_s
        super().__init__(message, hint=hint)


class HubUnavailable(Transient):
    """
    A part of the hub's own surroundings cannot be used now: its database, its landing, Airflow's connections.

    Never the fault of an event or a record, however often it happens: no attempt is counted.
    """


class Terminal(HubError):
    """An error that stays the same when the call is made again; a person has to fix the cause."""


class OutcomeUnknown(HubError):
    """
    A request that writes may have arrived, and nobody knows whether it had its effect.

    Neither Transient nor Terminal: sending it again could repeat the effect, and to give up could lose it. It is
    resolved as its connector declares (the same idempotency key again, a list, a webhook, a person), never by time.
    """

    def __init__(self, system: str, endpoint: str, cause: str) -> None:
        self.system, self.endpoint, self.cause = system, endpoint, cause
        super().__init__(
            f"{system}: it is unknown whether {endpoint} had its effect: {cause}. Do not make another one before that is known"
        )


class SystemUnavailable(Transient):
    """An external system did not respond, or responded that it is unavailable."""

    def __init__(self, system: str, what: str, *, status: int | None = None, retry_in_s: float | None = None) -> None:
        #: *what* happened, in words that may be stored: they stay true, so they name no remaining seconds.
        self.system, self.what = system, what
        #: The HTTP status of the response; None if none came.
        self.status = status
        super().__init__(f"{system} is unavailable: {what}", retry_in_s=retry_in_s)


class CircuitOpen(SystemUnavailable):
    """The circuit breaker is open: the system has been failing, so it is not called for a while."""


class RateLimited(SystemUnavailable):
    """The next permit of the rate limit is further away than a worker should sleep."""


class Throttled(SystemUnavailable):
    """An external system responded that we call too often: HTTP 429, or in other words."""


class Busy(SystemUnavailable):
    """An external system works, and refused one call for now: what the call is about is locked. The same call may succeed later."""


class AddressRefused(Terminal):
    """The SSRF guard refused an address: it is in a private network that the connection does not allow, or has no TLS."""

    def __init__(self, message: str, *, network: str | None = None) -> None:
        #: The network that `allowed_networks` would have to contain; None if that is not the reason.
        self.network = network
        super().__init__(message)


class SystemRefused(Terminal):
    """An external system understood the request and refused it."""

    def __init__(
        self, system: str, status: int, message: str, *, protocol: str = "HTTP", try_other: bool | None = None
    ) -> None:
        self.system, self.status, self.message = system, status, message
        #: Whether another system may be asked for the same effect; None where the status says it.
        self.try_other = try_other
        super().__init__(f"{system} refused the request with {protocol} {status}: {message}")


class AccessRefused(SystemRefused):
    """An external system refuses our credentials, not this request: it refuses each call until they are changed."""


class Declined(SystemRefused):
    """
    An external system processed the request and decided against it: a card without funds, an address that bounced before.

    It is the outcome of the request and of all with its idempotency key: none of them had its effect.
    """

    try_other: bool

    def __init__(
        self,
        system: str,
        status: int,
        message: str,
        *,
        code: str | None = None,
        try_other: bool = False,
        protocol: str = "HTTP",
    ) -> None:
        #: The system's own word for the reason, such as `insufficient_funds`.
        self.code = code
        super().__init__(system, status, message, protocol=protocol, try_other=try_other)


class SourceInvalid(Transient):
    """
    A response is not valid: truncated, not JSON, of the wrong type, or without its rows.

    Transient, because a page that was truncated on its way is complete the next time; if the source keeps
    responding like this, the run fails once the retries are used up. It never counts as "0 rows".
    """

    def __init__(self, system: str, page: str, status: int, cause: str) -> None:
        self.system, self.page, self.status, self.cause = system, page, status, cause
        super().__init__(f"{system}: {page} returned HTTP {status}, but {cause}")


class LeaseHeld(Transient):
    """Another run of the same stream is running."""

    def __init__(self, what: str, holder: str, retry_in_s: float) -> None:
        self.holder = holder
        super().__init__(
            f"The lease on {what} is held by run {holder}. It is retried automatically in {retry_in_s:.0f} s",
            retry_in_s=retry_in_s,
            hint=Hint(HintId.SHOW_RUN, holder),
        )


class LeaseLost(Terminal):
    """Another run took the lease while this one did not renew it; the commit is refused."""

    def __init__(self, what: str, run_id: str, holder: str | None) -> None:
        #: Whether a later try of the same run has the lease: then the run continues without this worker.
        self.to_itself = holder == run_id
        super().__init__(
            f"Run {run_id} lost its lease on {what} to {holder or 'nobody'}. Nothing more was written. "
            "The newer run reads what this one had not loaded; there is nothing to do."
        )


class ReplayStopped(Terminal):
    """Somebody stopped the replay during a slice, or another worker took it over."""

    def __init__(self, replay_id: int) -> None:
        super().__init__(f"Replay {replay_id} was stopped, or another worker continues it. Nothing more was written")


class HeldForApproval(Terminal):
    """A read of the whole source is empty or much smaller than expected, so a person has to approve it."""

    def __init__(self, run_id: str, stream: str, read: int, known: int) -> None:
        self.run_id, self.read, self.known = run_id, read, known
        super().__init__(
            f"Run {run_id} read {read} records of {stream}, but the hub has {known}. Nothing was loaded. "
            "If the source really shrank, run a full sync with allow_shrink",
            hint=Hint(HintId.ALLOW_SHRINK, stream),
        )


class IntegrationUnusable(Terminal):
    """An integration cannot be called as it is set up: each call fails like this until somebody changes it."""


class BadRequest(Terminal):
    """The request is invalid; the message says what is valid."""


class NotFound(Terminal):
    """There is no object with that ID."""


class Gone(Terminal):
    """It was there and is no longer kept, so a reader who goes on from here would miss something."""


class Conflict(Terminal):
    """The name is taken or in use, or the state does not allow the change; the message says what to do."""


class VersionChanged(Terminal):
    """Somebody changed the object since the caller read it (optimistic concurrency): read it again, then decide."""

    def __init__(self, what: str, expected: int, current: int) -> None:
        self.current = current
        super().__init__(f"{what} is now at version {current}, not {expected}. Read it again, then change it")


class IntegrationPaused(Terminal):
    """The integration is paused: nothing is read from it or sent to it until it is resumed."""

    def __init__(self, integration_id: str, paused_by: str) -> None:
        super().__init__(
            f"{integration_id} was paused by {paused_by}. Nothing is read or sent until it is resumed",
            hint=Hint(HintId.RESUME_INTEGRATION, integration_id),
        )


class BadEvent(Terminal):
    """An event's data do not have the form that its type promises."""

    def __init__(self, event_id: str, event_type: str, why: str) -> None:
        self.event_id = event_id
        super().__init__(f"Event {event_id} is not a valid {event_type}: {why}. Fix its data, then replay it")

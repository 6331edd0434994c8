"""Make a decision that something waits for: whoever asked carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossdock.commerce.payments import service as payments
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.integrations.attempts import service as attempts
from crossdock.observability import decisions
from crossdock.observability.decisions import AlreadyDecided, Decision, DecisionKind
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions
from crossdock.workflows.declared.flow import version_in

#: Carries out a choice and records it, in one transaction: the decision, the choice, why, and who decided.
Executor = Callable[[Store, Decision, str, str, str], object]


def _decide_step(store: Store, decision: Decision, choice: str, reason: str, actor: str) -> None:
    execution = engine.decide(store, decision, choice, reason, actor)
    if version_in(execution.flow) is not None:
        # The run of its DAG has failed, and nobody would take it up for minutes.
        executions.go_on_without_run(store, execution.execution_id)


_EXECUTORS: Mapping[DecisionKind, Executor] = {
    DecisionKind.STEP: _decide_step,
    DecisionKind.ATTEMPT: attempts.decide,
    DecisionKind.WORKFLOW: executions.decide,
}


def make(store: Store, decision: Decision, choice: str, *, reason: str, actor: str, ref: str | None = None) -> Decision:
    """
    Make *decision*, once, and return it as it is then. *ref* is a gateway's reference of what it did.

    Raises:
        BadRequest: *choice* is none of its choices; or a payment's call was done, and *ref* is missing; or the decision
            takes none.
        Conflict: somebody has decided before, or it is no longer waited for.
        NotFound: the question was taken back in the meantime.

    """
    if decision.decided_at is not None:
        raise AlreadyDecided(decision)
    if choice not in decision.choices:
        raise BadRequest(f"The choices of decision {decision.decision_id} are {', '.join(decision.choices)}")
    if decision.kind is DecisionKind.PAYMENT:
        payments.decide(store, decision, choice, reason, actor=actor, ref=ref)
    elif ref is not None:
        raise BadRequest(f"Decision {decision.decision_id} takes no reference: it is not about a payment's call")
    else:
        _EXECUTORS[decision.kind](store, decision, choice, reason, actor)
    with store.transaction() as work:
        return decisions.get(work, decision.decision_id)

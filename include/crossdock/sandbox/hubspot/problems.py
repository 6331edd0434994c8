"""The vendor's refusals, as exceptions that carry their bodies."""

import json
import uuid
from typing import Any

from crossdock.sandbox.engine.problems import Problem


class CrmProblem(Problem):
    """A refusal in the vendor's form."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(status, message, category)
        self.category, self.message = category, message
        own = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), "category": category}
        self.body = own | more


def of_status(status: int) -> CrmProblem:
    """Make the vendor's error for the fault `status`."""
    if status == 429:  # noqa: PLR2004 - the one whose body names a policy
        return throttled("TEN_SECONDLY_ROLLING")
    return CrmProblem(status, "FAULT", f"A fault script set the status {status}.")


def throttled(policy: str) -> CrmProblem:
    """Make the refusal of a call beyond a limit; *policy* says which."""
    word = {"DAILY": "daily", "TEN_SECONDLY_ROLLING": "ten_secondly_rolling"}[policy]
    return CrmProblem(
        429, "RATE_LIMITS", f"You have reached your {word} limit.", errorType="RATE_LIMIT", policyName=policy
    )


def invalid(message: str) -> CrmProblem:
    return CrmProblem(400, "VALIDATION_ERROR", message)


def invalid_values(faults: list[dict[str, Any]]) -> CrmProblem:
    """Refuse the values of a write."""
    shown = [
        {"isValid": False, "message": fault["message"], "error": fault["code"], **_name(fault)} for fault in faults
    ]
    return CrmProblem(400, "VALIDATION_ERROR", f"Property values were not valid: {json.dumps(shown)}", errors=faults)


def taken(contact_id: str) -> CrmProblem:
    return CrmProblem(409, "CONFLICT", f"Contact already exists. Existing ID: {contact_id}")


def not_found(what: str) -> CrmProblem:
    return CrmProblem(404, "OBJECT_NOT_FOUND", f"Object not found.  objectId are usually numeric. {what}")


def _name(fault: dict[str, Any]) -> dict[str, str]:
    return {"name": fault["context"]["propertyName"][0]}

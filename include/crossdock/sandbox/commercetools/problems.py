"""The vendor's error bodies, as exceptions that carry them."""

from typing import Any

from crossdock.sandbox.engine.problems import Problem

_CODES = {
    400: "InvalidInput",
    401: "invalid_token",
    403: "insufficient_scope",
    404: "ResourceNotFound",
    409: "ConcurrentModification",
    413: "ContentTooLarge",
    500: "General",
    502: "BadGateway",
    503: "OverCapacity",
    504: "QueryTimedOut",
}


class VendorError(Problem):
    """A refusal with the body that the vendor's schemas describe."""

    def __init__(self, status: int, message: str, code: str = "", **fields: Any) -> None:
        super().__init__(status, message, code or _CODES.get(status, "General"), **fields)

    @classmethod
    def oauth(cls, status: int, code: str, message: str) -> "VendorError":
        """Make a refusal of the authorisation server, which has OAuth's fields beside those of the API."""
        refusal = cls(status, message, code)
        refusal.body |= {"error": code, "error_description": message}
        return refusal


def of_status(status: int) -> VendorError:
    """Make the vendor's error for the fault `status`."""
    message = f"A fault script set the status {status}."
    if status == 401:  # noqa: PLR2004 - the one status that OAuth answers
        return VendorError.oauth(status, "invalid_token", "invalid_token")
    if status == 409:  # noqa: PLR2004 - the one whose body carries a version
        return VendorError(status, message, currentVersion=1)
    return VendorError(status, message)


def invalid_input(message: str) -> VendorError:
    return VendorError(400, message, "InvalidInput")


def malformed(parameter: str, why: str) -> VendorError:
    return invalid_input(f"Malformed parameter: {parameter}: {why}")


def not_found(what: str) -> VendorError:
    return VendorError(404, f"The Resource with {what} was not found.", "ResourceNotFound")


def not_referenced(type_id: str, key: str) -> VendorError:
    message = f"The referenced object of type '{type_id}' with key '{key}' was not found."
    return VendorError(400, message, "ReferencedResourceNotFound", typeId=type_id, key=key)


def duplicate(field: str, value: Any) -> VendorError:
    message = f"A duplicate value '\"{value}\"' exists for field '{field}'."
    return VendorError(400, message, "DuplicateField", field=field, duplicateValue=value)


def stale_version(resource_id: str, expected: int, actual: int) -> VendorError:
    message = f"Object {resource_id} has a different version than expected. Expected: {expected} - Actual: {actual}."
    return VendorError(409, message, "ConcurrentModification", currentVersion=actual)

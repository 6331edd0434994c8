"""The vendor's error bodies, as exceptions that carry them."""

from typing import Any

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


class VendorError(Exception):
    """A refusal in the vendor's words: *status*, and a *body* that its schemas describe."""

    def __init__(self, status: int, message: str, code: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        error = {"code": code or _CODES.get(status, "General"), "message": message, **fields}
        self.body: dict[str, Any] = {"statusCode": status, "message": message, "errors": [error]}

    @classmethod
    def oauth(cls, status: int, code: str, message: str) -> "VendorError":
        """A refusal by the authorisation server, which says everything twice: OAuth's way and the API's."""
        refusal = cls(status, message, code)
        refusal.body |= {"error": code, "error_description": message}
        return refusal


def of_status(status: int) -> VendorError:
    """What the vendor answers with *status* when nobody asked for anything special."""
    message = f"The sandbox was told to answer {status}."
    if status == 401:  # noqa: PLR2004 - the one status that OAuth answers
        return VendorError.oauth(status, "invalid_token", "invalid_token")
    if status == 409:  # noqa: PLR2004 - the one whose body carries a version
        return VendorError(status, message, currentVersion=1)
    return VendorError(status, message)


def invalid_input(message: str) -> VendorError:
    return VendorError(400, message, "InvalidInput")


def malformed(parameter: str, why: str) -> VendorError:
    return invalid_input(f"Malformed parameter: {parameter}: {why}")


def not_json(why: str) -> VendorError:
    message = "Request body does not contain valid JSON."
    return VendorError(400, message, "InvalidJsonInput", detailedErrorMessage=why)


def not_found(what: str) -> VendorError:
    return VendorError(404, f"The Resource with {what} was not found.", "ResourceNotFound")


def duplicate(field: str, value: Any) -> VendorError:
    message = f"A duplicate value '\"{value}\"' exists for field '{field}'."
    return VendorError(400, message, "DuplicateField", field=field, duplicateValue=value)


def stale_version(resource_id: str, expected: int, actual: int) -> VendorError:
    message = f"Object {resource_id} has a different version than expected. Expected: {expected} - Actual: {actual}."
    return VendorError(409, message, "ConcurrentModification", currentVersion=actual)

"""Which mails the system takes: the rules of the vendor's request that a sender of one mail can break."""

import json
import re
from typing import Any

_ADDRESS = re.compile(r"[^\s@<>,;]{1,64}@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+")
_MOST_RECIPIENTS, _MOST_CATEGORIES, _LONGEST_CATEGORY = 1_000, 10, 255
_MAX_CUSTOM_ARGS_BYTES = 10_000
_KNOWN = {
    "personalizations",
    "from",
    "reply_to",
    "subject",
    "content",
    "categories",
    "custom_args",
    "tracking_settings",
    "headers",
    "mail_settings",
}


class MailInvalid(Exception):
    """The system refuses the mail; *field* is where."""

    def __init__(self, message: str, field: str | None = None) -> None:
        self.message, self.field = message, field
        super().__init__(message)


def mail_of(body: bytes) -> dict[str, Any]:
    """
    Read a mail.

    Raises:
        MailInvalid: a field is missing or not valid, or is one that the sandbox does not simulate.

    """
    try:
        mail = json.loads(body)
    except ValueError as error:
        raise MailInvalid("Bad Request") from error
    if not isinstance(mail, dict):
        raise MailInvalid("Bad Request")
    if unknown := sorted(mail.keys() - _KNOWN):
        raise MailInvalid("The sandbox does not simulate this field.", unknown[0])
    _check_address(mail.get("from"), "from")
    _check_personalizations(mail)
    _check_content(mail.get("content"))
    _check_categories(mail.get("categories", []))
    return mail


def _check_personalizations(mail: dict[str, Any]) -> None:
    found = mail.get("personalizations")
    if not isinstance(found, list) or not found:
        raise MailInvalid(
            "The personalizations field is required and must have at least one personalization.", "personalizations"
        )
    seen = set()
    for number, one in enumerate(found):
        at = f"personalizations.{number}"
        recipients = one.get("to") if isinstance(one, dict) else None
        if not isinstance(recipients, list) or not 1 <= len(recipients) <= _MOST_RECIPIENTS:
            raise MailInvalid("The to array is required for all personalization objects.", f"{at}.to")
        for place, recipient in enumerate(recipients):
            _check_address(recipient, f"{at}.to.{place}")
            if recipient["email"].lower() in seen:
                raise MailInvalid("Each email address in the personalization block should be unique.", f"{at}.to")
            seen.add(recipient["email"].lower())
        if len(json.dumps(one.get("custom_args", {})).encode()) > _MAX_CUSTOM_ARGS_BYTES:
            raise MailInvalid("The custom args are larger than 10,000 bytes.", f"{at}.custom_args")
        if not (one.get("subject") or mail.get("subject")):
            raise MailInvalid("The subject is required.", "subject")


def _check_address(found: Any, at: str) -> None:
    if not isinstance(found, dict) or not isinstance(found.get("email"), str):
        raise MailInvalid("The email parameter is required.", f"{at}.email")
    if not _ADDRESS.fullmatch(found["email"]):
        raise MailInvalid("Does not contain a valid address.", f"{at}.email")


def _check_content(found: Any) -> None:
    if not isinstance(found, list) or not found:
        raise MailInvalid("The content array is required.", "content")
    for number, part in enumerate(found):
        if not isinstance(part, dict) or not part.get("type") or not part.get("value"):
            raise MailInvalid(
                "The content value must be a string at least one character in length.", f"content.{number}"
            )
    types = [part["type"] for part in found]
    if types != sorted(types, key=lambda kind: {"text/plain": 0, "text/html": 1}.get(kind, 2)):
        raise MailInvalid("If present, text/plain must be first, followed by text/html.", "content")


def _check_categories(found: Any) -> None:
    if not isinstance(found, list) or len(found) > _MOST_CATEGORIES or len(set(found)) < len(found):
        raise MailInvalid("The categories must be unique and at most 10.", "categories")
    if any(not isinstance(name, str) or len(name) > _LONGEST_CATEGORY for name in found):
        raise MailInvalid("A category is longer than 255 characters.", "categories")

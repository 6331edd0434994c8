"""What a CloudEvent 1.0 in JSON looks like, by its specification: what our documents are held against."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_REQUIRED = ("id", "source", "specversion", "type")
_OPTIONAL_TEXT = ("datacontenttype", "dataschema", "subject", "time")
_NAME = re.compile(r"[a-z0-9]+")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;.*)?")
#: RFC 3339: seconds and an offset are not optional, as they are in ISO 8601.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)")
_INTEGERS = range(-(2**31), 2**31)


class NoCloudEvent(ValueError):
    """The message names the attribute and what was expected."""


def checked(document: Any) -> dict[str, Any]:
    """
    *document* when it is a CloudEvent 1.0 in the JSON format, without the attributes that are null.

    Raises:
        NoCloudEvent: it is none; the message names the attribute and what was expected.

    """
    if not isinstance(document, dict):
        raise NoCloudEvent("A CloudEvent is a JSON object")
    found = {name: value for name, value in document.items() if value is not None}
    for name in _REQUIRED:
        if name not in found:
            raise NoCloudEvent(f"A CloudEvent has the attribute {name!r}; this one has not")
    if found["specversion"] != "1.0":
        raise NoCloudEvent("Only specversion '1.0' of CloudEvents is known")
    if "data" in found and "data_base64" in found:
        raise NoCloudEvent("A CloudEvent has 'data' or 'data_base64', never both")
    for name, value in found.items():
        if name not in {"data", "data_base64"}:
            _check_attribute(name, value)
    _check_forms(found)
    return found


def _check_attribute(name: str, value: Any) -> None:
    if not _NAME.fullmatch(name):
        raise NoCloudEvent(f"{name!r} is no name of an attribute: only a to z and 0 to 9 are")
    if name in (*_REQUIRED, *_OPTIONAL_TEXT):
        if not isinstance(value, str) or not value:
            raise NoCloudEvent(f"The attribute {name!r} is text that is not empty")
    elif isinstance(value, int) and not isinstance(value, bool):
        if value not in _INTEGERS:
            raise NoCloudEvent(f"The attribute {name!r} is no integer of 32 bits")
    elif not isinstance(value, str | bool):
        raise NoCloudEvent(f"The attribute {name!r} is text, an integer or a boolean")


def _check_forms(found: dict[str, Any]) -> None:
    if "time" in found:
        _check_time(found["time"])
    if "datacontenttype" in found and not _MEDIA_TYPE.fullmatch(found["datacontenttype"]):
        raise NoCloudEvent("The attribute 'datacontenttype' is a media type such as application/json")


def _check_time(text: str) -> None:
    if not _RFC3339.fullmatch(text):
        raise NoCloudEvent("The attribute 'time' is an RFC 3339 time such as 2026-11-24T15:00:00Z")
    try:
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).upper())
    except ValueError as error:
        raise NoCloudEvent("The attribute 'time' is not a date of the calendar") from error

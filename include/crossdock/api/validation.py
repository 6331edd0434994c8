"""Bounds of the parameters of every route."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from crossdock.core.printable import UNPRINTABLE_IN_SCHEMAS
from crossdock.integrations.model import INTEGRATION_ID
from crossdock.maintenance.alerting.routes import ROUTE_NAME

#: Plain text, all of it printable: it is written into logs and compared with what people typed.
PLAIN = rf"^[^{UNPRINTABLE_IN_SCHEMAS}]+$"
EVENT_ID = r"^[0-9]{1,9}-[0-9]{1,18}$"
ORDER_ID = r"^ord_[0-9a-f]{32}$"
PAYMENT_ID = r"^pay_[0-9a-f]{32}$"
REFERENCE = r"^[A-Za-z0-9._-]{1,64}$"
CURRENCY = r"^[A-Z]{3}$"
COUNTRY = r"^[A-Z]{2}$"
#: Text with at least one visible character: all else counts as blank, as with Python's `strip`.
NOT_BLANK = r"[^\s\x00-\x20\x7f-\xa0]"
#: Pattern → what it means, for whoever did not match it: nobody should have to read a regular expression.
FORMS = {
    PLAIN: "must be plain text without control characters",
    NOT_BLANK: "must not be blank",
    EVENT_ID: "must be the ID of an event, such as 1-4711",
    ORDER_ID: "must be the ID of an order: ord_ and 32 hexadecimal digits",
    PAYMENT_ID: "must be the ID of a payment: pay_ and 32 hexadecimal digits",
    REFERENCE: "must have 1 to 64 letters, digits, dots, underscores or hyphens",
    CURRENCY: "must be a currency of ISO 4217, such as EUR",
    COUNTRY: "must be a country of ISO 3166, such as DE",
    INTEGRATION_ID: "must have 2 to 63 lowercase letters, digits or _, and start with a letter, such as shop_eu",
    ROUTE_NAME: "must have 1 to 63 lowercase letters, digits, - or _, and start with a letter, such as on-call",
}

#: The largest whole number that every JSON parser keeps exact (RFC 7493). There will never be more ids than that.
MOST_EXACT = 2**53 - 1


#: For a strict integer in a body. JSON knows one kind of number: 4990.0 is the integer 4990 (JSON Schema 2020-12, 4.2.3).
WHOLE = BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)


def _refuse_number(value: Any) -> Any:
    if not isinstance(value, str | None):
        raise ValueError("must be a timestamp such as 2026-11-21T09:30:00Z")  # noqa: TRY004  pydantic expects it
    return value


#: A timestamp in a body. pydantic would take a number for the seconds since 1970, which no schema of ours allows.
Timestamp = Annotated[AwareDatetime, BeforeValidator(_refuse_number)]


def _refuse_other_form(form: str, example: str) -> Any:
    """Make a validator of a parameter: pydantic would take `0` for an instant of 1970, which no schema of ours allows."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.match(form, value):
            raise ValueError(f"must be such as {example}")
        return value

    return check


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the calendar in UTC") from error


#: A timestamp in a body that is compared and written in UTC.
UtcTimestamp = Annotated[Timestamp, AfterValidator(_in_utc)]
#: A timestamp and a day as parameters.
QueryTimestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_refuse_other_form(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]", "2026-11-21T09:30:00Z")),
    AfterValidator(_in_utc),
]
QueryDay = Annotated[date, BeforeValidator(_refuse_other_form(r"[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2026-11-21"))]

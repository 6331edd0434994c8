"""The properties that a contact may have, and the rules for their values."""

import re
from dataclasses import dataclass
from typing import Any

EMAIL = "email"
#: The other addresses of a merged contact.
OTHER_EMAILS = "hs_additional_emails"
MERGED_IDS = "hs_merged_object_ids"
#: Sent for each contact, asked for or not.
ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
#: Sent too when a request names no properties.
DEFAULT = ("email", "firstname", "lastname")
_ADDRESS = re.compile(r"[^\s@,;]+@[^\s@,;]+\.[^\s@,;]+")


@dataclass(frozen=True)
class Property:
    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    unique: bool = False
    read_only: bool = False
    options: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Describe the property as the vendor does."""
        options = [
            {"label": option.title(), "value": option, "displayOrder": number, "hidden": False}
            for number, option in enumerate(self.options)
        ]
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": "",
            "groupName": "contactinformation",
            "options": options,
            "displayOrder": -1,
            "hasUniqueValue": self.unique,
            "hidden": False,
            "formField": True,
            "calculated": False,
            "externalOptions": False,
            "archived": False,
            "hubspotDefined": self.name not in ("customer_number", "order_standing"),
            "modificationMetadata": {
                "archivable": True,
                "readOnlyDefinition": False,
                "readOnlyValue": self.read_only,
            },
        }


_ALL = (
    Property(EMAIL, "Email"),
    Property("firstname", "First name"),
    Property("lastname", "Last name"),
    Property("company", "Company name"),
    Property("phone", "Phone number", field_type="phonenumber"),
    Property("hs_language", "Preferred language", "enumeration", "select", options=("en", "de", "fr")),
    Property("lifecyclestage", "Lifecycle stage", "enumeration", "radio", options=("lead", "customer", "evangelist")),
    Property("customer_number", "Customer number", unique=True),
    Property("order_standing", "Order standing", "enumeration", "select", options=("good", "blocked", "review")),
    Property(OTHER_EMAILS, "Additional email addresses", "enumeration", "checkbox", read_only=True),
    Property(MERGED_IDS, "Merged record IDs", "enumeration", "checkbox", read_only=True),
    Property("createdate", "Create date", "datetime", "date", read_only=True),
    Property("lastmodifieddate", "Last modified date", "datetime", "date", read_only=True),
    Property("hs_object_id", "Record ID", "number", "number", read_only=True),
)
PROPERTIES = {known.name: known for known in _ALL}
#: By which contacts are found and upserted: no two contacts have the same value.
UNIQUE = frozenset({EMAIL, *(known.name for known in _ALL if known.unique)})


def faults_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    """List what is wrong with the *values* of a write, as the vendor's `errors` do."""
    return [fault for name, value in values.items() if (fault := _fault_of(name, value))]


def stored(name: str, value: str) -> str:
    """Give *value* as it is stored: e-mail addresses without capitals and blanks around."""
    return value.strip().lower() if name == EMAIL else value


def _fault_of(name: str, value: Any) -> dict[str, Any] | None:
    known = PROPERTIES.get(name)
    if known is None:
        return _fault(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if known.read_only:
        return _fault(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
    if not isinstance(value, str):
        return _fault(name, "INVALID_TYPE", f"{value!r} is not text")
    if name == EMAIL and value and not _ADDRESS.fullmatch(stored(name, value)):
        return _fault(name, "INVALID_EMAIL", f"Email address {value} is invalid")
    if known.options and value and value not in known.options:
        return _fault(name, "INVALID_OPTION", f"{value} was not one of the allowed options: {list(known.options)}")
    return None


def _fault(name: str, code: str, message: str) -> dict[str, Any]:
    return {"message": message, "code": code, "context": {"propertyName": [name]}}

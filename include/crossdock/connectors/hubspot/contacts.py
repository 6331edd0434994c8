"""A contact as the vendor sends it, and its properties as fields of a customer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from crossdock.integrations.actions.model import Document

EMAIL = "email"
#: The other addresses of a merged contact, separated by semicolons.
_OTHER_EMAILS = "hs_additional_emails"
#: Field of a customer → property of a contact.
PROPERTIES = {
    "email": EMAIL,
    "first_name": "firstname",
    "last_name": "lastname",
    "company_name": "company",
    "locale": "hs_language",
}


class Contact(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    properties: dict[str, str | None]
    updated_at: str


class BatchError(msgspec.Struct, frozen=True):
    """Why some inputs of a batch were not processed."""

    category: str = "UNKNOWN"
    context: dict[str, Any] = {}
    #: What is wrong in detail, each with a code.
    errors: list[dict[str, Any]] = []

    @property
    def code(self) -> str:
        """The most precise word for the reason."""
        return code_of(self.errors) or self.category

    def names(self, name: str) -> Sequence[Any]:
        """List what the context has under *name*."""
        found = self.context.get(name, ())
        return found if isinstance(found, list) else (found,)


class Batch(msgspec.Struct, frozen=True):
    results: list[Contact]
    errors: list[BatchError] = []


def code_of(errors: Iterable[Mapping[str, Any]]) -> str | None:
    """Find the first code in the details of a refusal."""
    return next((str(error["code"]) for error in errors if error.get("code")), None)


def same_key(key: str, key_property: str) -> str:
    """Write a key as the vendor stores it: e-mail addresses without capitals."""
    return key.lower() if key_property == EMAIL else key


def names_to_read(key_property: str, attributes: Iterable[str]) -> list[str]:
    """Name the properties that make a customer with *attributes*."""
    others = [_OTHER_EMAILS] if key_property == EMAIL else []
    return sorted({key_property, *PROPERTIES.values(), *others, *attributes})


def customer_of(contact: Contact, key_property: str, attributes: Iterable[str]) -> Document:
    """Describe a contact as a customer."""
    has = contact.properties
    others = (has.get(_OTHER_EMAILS) or "").split(";") if key_property == EMAIL else []
    return {
        "ref": contact.id,
        "version": contact.updated_at,
        "key": has.get(key_property) or None,
        "other_keys": [key.strip() for key in others if key.strip()],
        **{field: has.get(name) or None for field, name in PROPERTIES.items()},
        "attributes": {name: has.get(name) or None for name in attributes},
    }


def keys_of(customer: Document) -> list[str]:
    """List all keys that find *customer*."""
    return [key for key in [customer["key"], *customer["other_keys"]] if key]


def properties_of(fields: Document) -> dict[str, str]:
    """Translate the *fields* of a customer to properties; an empty text clears one."""
    named = {PROPERTIES[field]: value for field, value in fields.items() if field in PROPERTIES}
    return {name: value or "" for name, value in {**named, **fields.get("attributes", {})}.items()}


def differences(fields: Document, customer: Document) -> Iterator[str]:
    """Name the *fields* whose values *customer* does not have."""
    for field in PROPERTIES:
        if field in fields and _plain(field, fields[field]) != _plain(field, customer[field]):
            yield field
    for name, value in fields.get("attributes", {}).items():
        if (value or "") != (customer["attributes"].get(name) or ""):
            yield name


def _plain(field: str, value: str | None) -> str:
    return same_key(value or "", field)

"""The contacts and the rules of a change: unique values, normal forms, merges, and a search index that lags."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crossdock.sandbox.engine.clock import Clock
from crossdock.sandbox.hubspot.contacts import ID_STEP, Contact, contacts
from crossdock.sandbox.hubspot.problems import invalid, invalid_values, not_found, taken
from crossdock.sandbox.hubspot.properties import EMAIL, MERGED_IDS, OTHER_EMAILS, UNIQUE, faults_of, stored


@dataclass(frozen=True)
class Effect:
    """One line of the ledger."""

    #: created, updated or merged.
    kind: str
    contact_id: str
    #: Names of the properties that were set.
    properties: tuple[str, ...] = ()


class ContactState:
    """All contacts. Thread-safe; a call that changes several holds `lock`."""

    def __init__(self, seed: int, count: int, first_id: int = 51) -> None:
        self.lock = threading.RLock()
        self.clock = Clock()
        self.ledger: list[Effect] = []
        #: How long a change is hidden from a search.
        self.search_lag_s = 0.0
        self._contacts = {contact.id: contact for contact in contacts(seed, count, first_id)}
        #: The ID of a contact that was merged into another → the other's.
        self._survivors: dict[str, str] = {}
        self._next_id = first_id + ID_STEP * count
        self._index = dict(self._contacts)
        self._unindexed: list[tuple[float, str]] = []

    def all(self) -> list[Contact]:
        """List the contacts in the order of their IDs."""
        with self.lock:
            return sorted(self._contacts.values(), key=lambda contact: int(contact.id))

    def indexed(self) -> list[Contact]:
        """List the contacts as a search sees them."""
        with self.lock:
            due = time.monotonic() - self.search_lag_s
            seen = [contact_id for at, contact_id in self._unindexed if at <= due]
            self._unindexed = [change for change in self._unindexed if change[0] > due]
            for contact_id in seen:
                self._index_now(contact_id)
            return sorted(self._index.values(), key=lambda contact: int(contact.id))

    def find(self, value: str, id_property: str | None = None) -> Contact | None:
        """
        Find a contact by its ID, or by the value of a unique property.

        A merged contact is found by all its IDs and e-mail addresses.

        Raises:
            CrmProblem: 400, the property is not unique.

        """
        with self.lock:
            if id_property is None:
                return self._contacts.get(self._survivors.get(value, value))
            if id_property not in UNIQUE:
                raise invalid(f"Unable to find by non-unique 0-1 property {id_property}")
            wanted = stored(id_property, value)
            return next((found for found in self._contacts.values() if wanted in _values(found, id_property)), None)

    def get(self, value: str, id_property: str | None = None) -> Contact:
        """
        Find as `find`.

        Raises:
            CrmProblem: 404, there is none; 400, the property is not unique.

        """
        found = self.find(value, id_property)
        if found is None:
            raise not_found(f"resource not found by {id_property or 'hs_object_id'}")
        return found

    def create(self, values: Mapping[str, Any]) -> Contact:
        """
        Add a contact.

        Raises:
            CrmProblem: 400, a value is not valid; 409, another contact has the value of a unique property.

        """
        with self.lock:
            self._refuse(values, None)
            now, contact_id = self.clock.now(), str(self._next_id)
            self._next_id += ID_STEP
            own = {"createdate": now, "lastmodifieddate": now, "hs_object_id": contact_id}
            return self._put("created", Contact(contact_id, _cleaned(values) | own, now, now), values)

    def update(self, contact: Contact, values: Mapping[str, Any], *, at: str | None = None) -> Contact:
        """
        Set properties of a contact, at the instant *at* or now; an empty text clears one.

        Raises:
            CrmProblem: as `create`.

        """
        with self.lock:
            self._refuse(values, contact.id)
            now = at or self.clock.now()
            properties = contact.properties | _cleaned(values) | {"lastmodifieddate": now}
            return self._put("updated", replace(contact, properties=properties, updated_at=now), values)

    def merge(self, primary: Contact, other: Contact) -> Contact:
        """Merge *other* into *primary*, which then is found by the addresses and IDs of both."""
        with self.lock:
            emails = {*_values(primary, EMAIL), *_values(other, EMAIL)} - {primary.properties.get(EMAIL, "")}
            ids = sorted({*_list(primary, MERGED_IDS), *_list(other, MERGED_IDS), other.id})
            now = self.clock.now()
            lists = {OTHER_EMAILS: ";".join(sorted(emails)), MERGED_IDS: ";".join(ids), "lastmodifieddate": now}
            self.remove(other.id)
            self._survivors |= dict.fromkeys(ids, primary.id)
            merged = replace(primary, properties=other.properties | primary.properties | lists, updated_at=now)
            return self._put("merged", merged, {})

    def remove(self, contact_id: str) -> None:
        """Delete a contact."""
        with self.lock:
            self._contacts.pop(contact_id, None)
            self._unindexed.append((time.monotonic(), contact_id))

    def spoil(self, contact_id: str) -> None:
        """Take from a contact what each must have, for tests: the instant of its creation."""
        with self.lock:
            self._contacts[contact_id] = replace(self._contacts[contact_id], created_at="")

    def _refuse(self, values: Mapping[str, Any], own_id: str | None) -> None:
        if faults := faults_of(dict(values)):
            raise invalid_values(faults)
        for name in sorted(UNIQUE & values.keys()):
            other = self.find(values[name], name) if values[name] else None
            if other and other.id != own_id:
                raise taken(other.id)

    def _put(self, kind: str, contact: Contact, values: Mapping[str, Any]) -> Contact:
        self._contacts[contact.id] = contact
        self._unindexed.append((time.monotonic(), contact.id))
        self.ledger.append(Effect(kind, contact.id, tuple(sorted(values))))
        return contact

    def _index_now(self, contact_id: str) -> None:
        if contact_id in self._contacts:
            self._index[contact_id] = self._contacts[contact_id]
        else:
            self._index.pop(contact_id, None)


def _cleaned(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: stored(name, value) for name, value in values.items()}


def _values(contact: Contact, name: str) -> set[str]:
    others = _list(contact, OTHER_EMAILS) if name == EMAIL else []
    return {contact.properties.get(name, ""), *others} - {""}


def _list(contact: Contact, name: str) -> list[str]:
    return [part for part in contact.properties.get(name, "").split(";") if part]

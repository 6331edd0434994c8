"""
Actions on HubSpot: find, create, update and upsert customers, and read whether one may order.

The vendor knows no idempotency keys. The values of the key property are unique, so that a contact cannot be created twice:
what became of a lost answer is read by the key, or by the ID, from the records themselves. The search lags, so no outcome is
resolved by it. Keys go in bodies, never in paths: a path is in messages, and an e-mail address is personal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crossdock.connectors.hubspot.client import CONTACTS, HubSpot, batch_of
from crossdock.connectors.hubspot.contacts import (
    EMAIL,
    Batch,
    BatchError,
    Contact,
    code_of,
    customer_of,
    differences,
    keys_of,
    names_to_read,
    properties_of,
    same_key,
)
from crossdock.core.errors import Declined, SystemUnavailable
from crossdock.core.instants import from_utc_text
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document, InputInvalid
from crossdock.integrations.actions.ports import Effect, ReadBack, Sighting, WriteAction, WriteRequest
from crossdock.integrations.model import FieldError

# Made once, here: the API server's threads run actions (core/decoding.py).
_contact = msgspec.json.Decoder(Contact)
_batch = msgspec.json.Decoder(Batch)
_BAD_REQUEST = 400
_NOT_FOUND = "OBJECT_NOT_FOUND"


class _Refusal(msgspec.Struct, frozen=True):
    category: str = ""
    errors: list[dict[str, Any]] = []


class _Upserted(Contact, frozen=True, rename="camel"):
    new: bool = False
    object_write_trace_id: str | None = None


class _UpsertBatch(msgspec.Struct, frozen=True):
    results: list[_Upserted]
    errors: list[BatchError] = []


_refusal = msgspec.json.Decoder(_Refusal)
_upsert_batch = msgspec.json.Decoder(_UpsertBatch)


def find_customer(crm: HubSpot, given: Document) -> Document:
    """Read one customer by the key or by the contact's ID."""
    attributes = given.get("attributes", [])
    if "ref" in given:
        found = _read(crm, [given["ref"]], None, attributes)
    else:
        found = _read(crm, [same_key(given["key"], crm.key_property)], crm.key_property, attributes)
    return {"customer": found[0] if found else None}


def find_customers(crm: HubSpot, given: Document) -> Document:
    """Read the customers with the keys."""
    keys = sorted({same_key(key, crm.key_property) for key in given["keys"]})
    return {"customers": _read(crm, keys, crm.key_property, given.get("attributes", []))}


def get_standing(crm: HubSpot, given: Document) -> Document:
    """Read whether a customer may order. Of one whom the CRM does not know it says nothing."""
    name = crm.standing.property
    found = find_customer(crm, {"key": given["key"], "attributes": [name] if name else []})["customer"]
    if found is None:
        return {"standing": "unknown", "ref": None}
    return {"standing": crm.standing.of(found["attributes"].get(name)), "ref": found["ref"]}


def _read(crm: HubSpot, ids: Sequence[str], id_property: str | None, attributes: Sequence[str]) -> list[Document]:
    document = batch_of(ids, id_property, names_to_read(crm.key_property, attributes))
    batch = crm.http.post_json(f"{CONTACTS}/batch/read", document, _whole)
    return [customer_of(contact, crm.key_property, attributes) for contact in batch.results]


def _whole(response: HttpResponse) -> Batch:
    """Decode a batch. Contacts that do not exist are missing from it; any other error means that it is not whole."""
    batch: Batch = response.decoded(_batch.decode)
    if reasons := {error.category for error in batch.errors} - {_NOT_FOUND}:
        raise response.unavailable(SystemUnavailable, f"some contacts could not be read: {', '.join(sorted(reasons))}")
    return batch


def _changed(response: HttpResponse) -> Document:
    contact: Contact = response.decoded(_contact.decode)
    return {"ref": contact.id, "version": contact.updated_at}


def _declined(response: HttpResponse) -> Declined | None:
    """
    Read the refusal of values: the same are refused again, also after an earlier call whose answer was lost.

    The vendor's own message quotes the values, which may be personal, so it is not shown.
    """
    if response.status != _BAD_REQUEST:
        return None
    try:
        refusal = _refusal.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if refusal.category != "VALIDATION_ERROR":
        return None
    code = code_of(refusal.errors) or refusal.category
    where = ", ".join(_properties_named(refusal.errors))
    message = f"{response.endpoint}: {code}{f' in {where}' if where else ''}. Correct the customer's data, or the field"
    return Declined(response.system, response.status, message, code=code)


def _properties_named(errors: Iterable[dict[str, Any]]) -> list[str]:
    contexts = [error.get("context") for error in errors]
    names = [context.get("propertyName") for context in contexts if isinstance(context, dict)]
    return sorted({str(name) for listed in names if isinstance(listed, list) for name in listed})


def _create(crm: HubSpot, given: Document) -> WriteRequest:
    properties = properties_of(given) | {crm.key_property: same_key(given["key"], crm.key_property)}
    return WriteRequest("POST", CONTACTS, {"properties": properties, "associations": []})


def _update(_: HubSpot, given: Document) -> WriteRequest:
    return WriteRequest(
        "PATCH", f"{CONTACTS}/{_path_part(given['ref'])}", {"properties": properties_of(given["changes"])}
    )


def _path_part(ref: str) -> str:
    if not (ref.isascii() and ref.isdecimal()):
        raise InputInvalid(
            "update_customer", [FieldError("/input/ref", "must be the ID of a contact, which is a number")]
        )
    return ref


def _upsert(crm: HubSpot, given: Document) -> WriteRequest:
    _refuse_repeated(crm, given["customers"])
    inputs = [
        {
            "id": same_key(customer["key"], crm.key_property),
            "idProperty": crm.key_property,
            "objectWriteTraceId": str(number),
            "properties": _without_key(crm, customer),
        }
        for number, customer in enumerate(given["customers"])
    ]
    return WriteRequest("POST", f"{CONTACTS}/batch/upsert", {"inputs": inputs})


def _without_key(crm: HubSpot, customer: Document) -> dict[str, str]:
    """Leave out an address that is the key: of a merged contact it may be the second, and would become the first."""
    properties = properties_of(customer)
    is_key = crm.key_property == EMAIL and same_key(properties.get(EMAIL, ""), EMAIL) == same_key(
        customer["key"], EMAIL
    )
    return {name: value for name, value in properties.items() if not (is_key and name == EMAIL)}


def _refuse_repeated(crm: HubSpot, customers: Sequence[Document]) -> None:
    """Refuse two customers with one key: the vendor refuses the whole batch, without saying which."""
    seen: set[str] = set()
    for number, customer in enumerate(customers):
        key = same_key(customer["key"], crm.key_property)
        if key in seen:
            error = FieldError(f"/input/customers/{number}/key", "is the key of another customer of the batch")
            raise InputInvalid("upsert_customers", [error])
        seen.add(key)


def _upserted(response: HttpResponse) -> Document:
    """Read the outcome of each customer. One without an outcome makes that of the batch unknown."""
    batch: _UpsertBatch = response.decoded(_upsert_batch.decode)
    outcomes = {
        contact.object_write_trace_id: _outcome("created" if contact.new else "updated", contact.id)
        for contact in batch.results
    } | {
        str(trace): _outcome("refused", code=error.code)
        for error in batch.errors
        for trace in error.names("objectWriteTraceId")
    }
    asked = [given["objectWriteTraceId"] for given in msgspec.json.decode(response.request.body or b"{}")["inputs"]]
    if missing := [number for number in asked if number not in outcomes]:
        raise response.invalid(f"says nothing of the inputs {', '.join(missing)}")
    return {"results": [{"number": int(number), **outcomes[number]} for number in asked]}


def _plain(key: str) -> str:
    """Write a key as it compares. The input does not say whether it is an address: its sign does."""
    return key.lower() if "@" in key else key


def _outcome(outcome: str, ref: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "ref": ref, "code": code}


def _attributes(fields: Document) -> list[str]:
    return sorted(fields.get("attributes", {}))


def _judge_created(given: Document, read: Document) -> Sighting:
    """No contact with the key: none was created, and the key's uniqueness lets at most one be."""
    found = read["customer"]
    if found is None:
        return Sighting(Effect.ABSENT)
    if any(differences(given, found)):
        return Sighting(Effect.UNCLEAR)
    return Sighting(Effect.VISIBLE, {"ref": found["ref"], "version": found["version"]})


def _judge_updated(given: Document, read: Document) -> Sighting:
    found = read["customer"]
    if found is None:
        return Sighting(Effect.UNCLEAR)
    if not any(differences(given["changes"], found)):
        return Sighting(Effect.VISIBLE, {"ref": found["ref"], "version": found["version"]})
    return Sighting(Effect.ABSENT if found["version"] == given["version"] else Effect.UNCLEAR)


def _judge_upserted(given: Document, read: Document) -> Sighting:
    """Judge each customer: only those may be sent again that are not there, or did not change since the values were true."""
    by_key = {_plain(key): found for found in read["customers"] for key in keys_of(found)}
    as_of, results = from_utc_text(given["as_of"]), []
    effect = Effect.VISIBLE
    for number, customer in enumerate(given["customers"]):
        found = by_key.get(_plain(customer["key"]))
        if found is None:
            effect = Effect.ABSENT
        elif not any(differences(customer, found)):
            results.append({"number": number, **_outcome("stored", found["ref"])})
        elif from_utc_text(found["version"]) < as_of:
            effect = Effect.ABSENT
        else:
            return Sighting(Effect.UNCLEAR)
    return Sighting(effect, {"results": results} if effect is Effect.VISIBLE else None)


CREATE_CUSTOMER = WriteAction(
    request=_create,
    output_of=_changed,
    decline_of=_declined,
    read_back=ReadBack(
        input_of=lambda given: {"key": given["key"], "attributes": _attributes(given)}, judge=_judge_created
    ),
)

UPDATE_CUSTOMER = WriteAction(
    request=_update,
    output_of=_changed,
    decline_of=_declined,
    read_back=ReadBack(
        input_of=lambda given: {"ref": given["ref"], "attributes": _attributes(given["changes"])}, judge=_judge_updated
    ),
)

UPSERT_CUSTOMERS = WriteAction(
    request=_upsert,
    output_of=_upserted,
    decline_of=_declined,
    read_back=ReadBack(
        input_of=lambda given: {
            "keys": [customer["key"] for customer in given["customers"]],
            "attributes": sorted({name for customer in given["customers"] for name in _attributes(customer)}),
        },
        judge=_judge_upserted,
    ),
)

"""
Run by the SDK's own Python, never by ours: every call that the sandbox simulates, as the vendor's own client makes it.

Takes the sandbox's address and the address of a contact in it; the token comes from SANDBOX_CRM_TOKEN. Writes what it was
answered, by type, as one JSON document.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from hubspot import HubSpot
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchReadInputSimplePublicObjectId,
    Filter,
    FilterGroup,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInputUpsert,
    SimplePublicObjectId,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import ApiException

url, known = sys.argv[1:]
client = HubSpot(access_token=os.environ["SANDBOX_CRM_TOKEN"], host=url)
contacts = client.crm.contacts
NEW = "Ada+Shop@CRM.example"


def typed(answer: Any) -> dict[str, Any]:
    """The parsed answer of a contact: its type, and what its types made of the text."""
    return {
        "type": type(answer).__name__,
        "id": answer.id,
        "email": (answer.properties or {}).get("email"),
        "lastname": (answer.properties or {}).get("lastname"),
        "updated": type(answer.updated_at).__name__,
        "archived": answer.archived,
    }


def batch(answer: Any) -> dict[str, Any]:
    return {
        "type": type(answer).__name__,
        "status": answer.status,
        "ids": [contact.id for contact in answer.results],
        "new": [getattr(contact, "new", None) for contact in answer.results],
        "traces": [contact.object_write_trace_id for contact in answer.results],
        "errors": [[error.category, error.context] for error in getattr(answer, "errors", None) or []],
    }


def refused(call: Callable[[], object], client_error: type[Exception] = ApiException) -> list[Any] | None:
    """What the SDK makes of a refusal."""
    try:
        call()
    except client_error as error:
        document = json.loads(error.body)
        return [error.status, document["category"], document["message"], document.get("policyName")]
    return None


def named(ids: list[str], id_property: str | None = None) -> Any:
    return contacts.batch_api.read(
        BatchReadInputSimplePublicObjectId(
            id_property=id_property,
            inputs=[SimplePublicObjectId(id=contact_id) for contact_id in ids],
            properties=["email", "lastname"],
            properties_with_history=[],
        )
    )


def upserted(id_property: str, *inputs: tuple[str, dict[str, str]]) -> Any:
    return contacts.batch_api.upsert(
        BatchInputSimplePublicObjectBatchInputUpsert(
            inputs=[
                SimplePublicObjectBatchInputUpsert(
                    id=key, id_property=id_property, object_write_trace_id=str(number), properties=properties
                )
                for number, (key, properties) in enumerate(inputs)
            ]
        )
    )


def searched(since_ms: str, **more: Any) -> Any:
    changed = Filter(property_name="lastmodifieddate", operator="GTE", value=since_ms)
    group = FilterGroup(filters=[changed])
    return contacts.search_api.do_search(
        PublicObjectSearchRequest(
            filter_groups=[group], sorts=["hs_object_id"], properties=["email"], limit=3, after="0", **more
        )
    )


first_page = contacts.basic_api.get_page(limit=4, properties=["email"], archived=False)
by_email = contacts.basic_api.get_by_id(known, id_property="email", properties=["email", "lastname"])
created = contacts.basic_api.create(
    SimplePublicObjectInputForCreate(properties={"email": NEW, "lastname": "Byron"}, associations=[])
)
updated = contacts.basic_api.update(
    NEW, SimplePublicObjectInput(properties={"lastname": "Lovelace"}), id_property="email"
)
found = searched("0")
prop = client.crm.properties.core_api.get_by_name("contacts", "order_standing")
answers = {
    "page": {
        "type": type(first_page).__name__,
        "ids": [contact.id for contact in first_page.results],
        "after": first_page.paging.next.after,
    },
    "all": [contact.id for contact in contacts.get_all(properties=["email"])],
    "by email": typed(by_email),
    "by id": typed(contacts.basic_api.get_by_id(by_email.id, properties=["email", "lastname"])),
    "created": typed(created),
    "updated": typed(updated),
    "taken": refused(
        lambda: contacts.basic_api.create(
            SimplePublicObjectInputForCreate(properties={"email": NEW.upper()}, associations=[])
        )
    ),
    "unknown": refused(lambda: contacts.basic_api.get_by_id("4711")),
    "invalid": refused(
        lambda: contacts.basic_api.update(created.id, SimplePublicObjectInput(properties={"email": "nothing"}))
    ),
    "read": batch(named([known, NEW], "email")),
    "read with a missing one": batch(named([created.id, "4711"])),
    "upserted": batch(upserted("email", (NEW, {"lastname": "Byron"}), ("c2@crm.example", {}))),
    "upserted in part": batch(upserted("customer_number", ("C-1", {}), ("C-2", {"email": "nothing"}))),
    "not unique": refused(lambda: upserted("lastname", ("Ito", {}))),
    "search": {
        "type": type(found).__name__,
        "total": found.total,
        "ids": [contact.id for contact in found.results],
        "after": found.paging.next.after,
    },
    "property": [type(prop).__name__, prop.name, prop.type, prop.has_unique_value, [o.value for o in prop.options]],
    "page of none": refused(lambda: contacts.basic_api.get_page(limit=101)),
    "created id": created.id,
}
sys.stdout.write(json.dumps(answers))

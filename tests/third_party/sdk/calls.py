"""
Run by the SDK's own Python, never by ours: every call that the flows make, as the vendor's own client makes it.

Takes the sandbox's address, the client's id and the project; its secret comes from SANDBOX_CLIENT_SECRET. Writes what it
was answered as one JSON document.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback speaks no TLS

from commercetools import CommercetoolsError
from commercetools.platform import Client
from commercetools.platform.models import InventoryEntryChangeQuantityAction, InventoryEntryUpdate

url, client_id, project = sys.argv[1:]
client = Client(
    client_id=client_id,
    client_secret=os.environ["SANDBOX_CLIENT_SECRET"],
    scope=[f"view_products:{project}", f"view_orders:{project}", f"manage_products:{project}"],
    url=url,
    token_url=f"{url}/oauth/token",
)
root = client.with_project_key(project)


def paged(resource: Any) -> dict[str, Any]:
    """All by keyset, as the flows read; and the parsed answers' own words."""
    first = resource.get(limit=1, with_total=True)
    seen, after = [], None
    while True:
        where = [f'id > "{after}"'] if after else None
        page = resource.get(where=where, sort=["id asc"], limit=7, with_total=False)
        seen += [row.id for row in page.results]
        if page.count < page.limit:
            break
        after = seen[-1]
    newest = resource.get(sort=["lastModifiedAt desc", "id desc"], limit=1).results[0]
    instant = newest.last_modified_at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    since = resource.get(where=[f'lastModifiedAt >= "{instant}"'], sort=["lastModifiedAt asc", "id asc"])
    by_id = resource.with_id(newest.id).get()
    return {
        "total": first.total,
        "ids": seen,
        "newest": newest.id,
        "since": [row.id for row in since.results],
        "by id": [by_id.id, by_id.version],
        "unknown": resource.with_id("00000000-0000-4000-8000-000000000000").get() is None,
        "version": newest.version,
    }


def refused(call: Callable[[], object]) -> list[Any] | None:
    """What the SDK makes of a refusal."""
    try:
        call()
    except CommercetoolsError as error:
        return [error.response.status_code, error.codes]
    return None


answers = {name: paged(getattr(root, name)()) for name in ("inventory", "product_projections", "orders")}
entry = root.inventory().with_id(answers["inventory"]["newest"])
raised = InventoryEntryChangeQuantityAction(quantity=41)
version = answers["inventory"]["version"]
updated = entry.post(InventoryEntryUpdate(version=version, actions=[raised]))
answers["updated"] = [updated.version, updated.quantity_on_stock]
answers["conflict"] = refused(lambda: entry.post(InventoryEntryUpdate(version=version, actions=[raised])))
answers["too large a page"] = refused(lambda: root.inventory().get(limit=501))
sys.stdout.write(json.dumps(answers))

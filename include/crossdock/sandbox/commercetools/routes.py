"""The vendor's routes: a request in, a response out; what goes wrong is a `VendorError`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from crossdock.sandbox.commercetools import actions, graphql
from crossdock.sandbox.commercetools.collection import Json, Page, Row
from crossdock.sandbox.commercetools.entities import CUSTOMERS, ENTITIES, INVENTORY, ORDERS, PRODUCTS, Entity
from crossdock.sandbox.commercetools.problems import VendorError, duplicate, invalid_input, malformed, not_found
from crossdock.sandbox.commercetools.queries import Query, query_of
from crossdock.sandbox.commercetools.state import World
from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.messages import Request, Response, of_json


@dataclass(frozen=True)
class Face:
    """How one path shows an entity."""

    entity: Entity
    #: How a kept document looks here; None where it is sent as it is kept.
    view: Callable[[Json], Json] | None = None
    writable: bool = True


def _as_product(projection: Json) -> Json:
    """The product that a projection is the one (current and staged) view of."""
    own = ("id", "version", "createdAt", "lastModifiedAt", "key", "productType", "taxCategory", "priceMode")
    inner = ("name", "description", "slug", "categories", "categoryOrderHints", "searchKeywords", "masterVariant")
    data = {name: projection[name] for name in (*inner, "variants", "attributes") if name in projection}
    catalogue = {"published": projection["published"], "hasStagedChanges": False, "current": data, "staged": data}
    return {name: projection[name] for name in own if name in projection} | {"masterData": catalogue}


FACES = {
    "inventory": Face(INVENTORY),
    "product-projections": Face(PRODUCTS, writable=False),
    "products": Face(PRODUCTS, view=_as_product),
    "orders": Face(ORDERS),
    "customers": Face(CUSTOMERS),
}


def handle(world: World, project: str, request: Request, share: float | None = None) -> Response:
    """
    The answer to a request that carries a live token.

    Args:
        world: What the retailer knows.
        project: The key of the one project.
        request: What is asked.
        share: The part of the rows (by id) that a list may show; None for all.

    Raises:
        VendorError: the vendor's refusal.

    """
    if request.parts[0] != project:
        raise VendorError.oauth(403, "insufficient_scope", f"The token has no scope for '{request.parts[0]}'.")
    match request.method, request.parts[1:]:
        case "GET", ():
            return of_json(200, _project(project))
        case "GET", (path,) if path in FACES:
            return _list(world, FACES[path], request, share)
        case "POST", ("graphql",):
            return graphql.handle(partial(_listed, world, share), request)
        case "POST", ("inventory",):
            return _create(world, request)
        case method, (path, name) if path in FACES:
            return _single(world, FACES[path], method, name, request)
    raise _nowhere(request)


def _nowhere(request: Request) -> VendorError:
    if request.parts[1:2] and request.parts[1] in FACES:
        return VendorError(405, f"The sandbox has no {request.method} {request.path}.", "InvalidOperation")
    return VendorError(404, f"URI not found: {request.path}", "ResourceNotFound")


def _project(project: str) -> Json:
    return {
        "version": 1,
        "key": project,
        "name": f"Sandbox {project}",
        "countries": ["DE", "FR", "GB", "US"],
        "currencies": ["EUR", "GBP", "USD"],
        "languages": ["en", "de"],
        "createdAt": "2026-01-01T00:00:00.000Z",
        "messages": {"enabled": False},
        "carts": {"deleteDaysAfterLastModification": 90, "countryTaxRateFallbackEnabled": False},
        "inventory": {"releaseExpiredReservations": False},
        "discounts": {"discountCombinationMode": "Stacking"},
    }


def _list(world: World, face: Face, request: Request, share: float | None) -> Response:
    query, page = _page(world, face, request.query, share)
    head = f'{{"limit":{query.limit},"offset":{query.offset},"count":{len(page.rows)},'
    return Response(200, head.encode() + _total(page) + b'"results":[' + b",".join(_shown(page, face)) + b"]}")


def _page(world: World, face: Face, parameters: Mapping[str, list[str]], share: float | None) -> tuple[Query, Page]:
    query = query_of(parameters, face.entity.fields)
    shelf = world.shelf(face.entity.name)
    if share is not None:
        query = replace(query, last_id=_last_of(shelf.ids(), share))
    return query, shelf.page(query, face.view)


def _listed(world: World, share: float | None, path: str, parameters: Mapping[str, list[str]]) -> Json:
    """A list as GraphQL sees it: documents that its resolvers go through."""
    face = FACES[path]
    query, page = _page(world, face, parameters, share)
    results = [row.document if face.view is None else face.view(row.document) for row in page.rows]
    return {"offset": query.offset, "count": len(results), "total": page.total, "results": results}


def _last_of(ids: list[str], share: float) -> str:
    kept = ids[: int(len(ids) * share)]
    return kept[-1] if kept else ""


def _total(page: Page) -> bytes:
    return b"" if page.total is None else b'"total":%d,' % page.total


def _shown(page: Page, face: Face) -> list[bytes]:
    return [_bytes_of(row, face) for row in page.rows]


def _bytes_of(row: Row, face: Face) -> bytes:
    return row.raw if face.view is None else codec.encode(face.view(row.document))


def _single(world: World, face: Face, method: str, name: str, request: Request) -> Response:
    if method == "GET":
        return Response(200, _bytes_of(_found(world, face.entity, name), face))
    if method not in ("POST", "DELETE") or not face.writable:
        raise _nowhere(request)
    resource_id = _found(world, face.entity, name).id
    if method == "POST":
        return Response(200, _bytes_of(_update(world, face.entity, resource_id, request.json()), face))
    return Response(200, _bytes_of(world.delete(face.entity.name, resource_id, _version(request)), face))


def _found(world: World, entity: Entity, name: str) -> Row:
    """The row that a path's last part names, by id or by `key=…`."""
    path, equals, wanted = name.partition("=")
    if not equals:
        return world.get(entity.name, name)
    if path not in entity.paths:
        raise not_found(name)
    rows = world.shelf(entity.name).find(entity.paths[path], wanted)
    if not rows:
        raise not_found(f"{entity.paths[path]} '{wanted}'")
    return rows[0]


def _version(request: Request) -> int:
    versions = request.query.get("version", [])
    if len(versions) != 1 or not (versions[0].isascii() and versions[0].isdecimal()):
        raise malformed("version", "exactly one whole number is required.")
    return int(versions[0])


def _update(world: World, entity: Entity, resource_id: str, update: Json) -> Row:
    version = actions.whole(update, "version")

    def edit(document: Json) -> None:
        before = dict(document)
        actions.apply(entity.name, document, update.get("actions"))
        _refuse_twins(world, entity, before, document)

    return world.change(entity.name, resource_id, edit, version=version)


def _create(world: World, request: Request) -> Response:
    draft = request.json()
    entry: Json = {"sku": actions.text(draft, "sku"), "quantityOnStock": actions.whole(draft, "quantityOnStock")}
    entry["availableQuantity"] = entry["quantityOnStock"]
    for name, read in _OPTIONAL.items():
        if draft.get(name) is not None:
            entry[name] = read(draft, name)
    with world.shelf(INVENTORY.name).lock:
        _refuse_twins(world, INVENTORY, {}, entry)
        return Response(201, world.create(INVENTORY.name, entry).raw)


_OPTIONAL: dict[str, Callable[[Json, str], Any]] = {
    "key": actions.text,
    "supplyChannel": actions.reference,
    "restockableInDays": actions.whole,
    "expectedDelivery": actions.instant,
}


def _refuse_twins(world: World, entity: Entity, before: Json, after: Json) -> None:
    """
    Refuses a second resource with what must be unique.

    Raises:
        VendorError: 400 DuplicateField.

    """
    shelf = world.shelf(entity.name)
    for field in {"key", "orderNumber", "email"} & set(entity.lookups):
        value = after.get(field)
        if value != before.get(field) and isinstance(value, str) and shelf.find(field, value):
            raise duplicate(field, value)
    if entity is not INVENTORY or _place(before) == _place(after):
        return
    twins = shelf.find("sku", after["sku"]) if isinstance(after.get("sku"), str) else []
    if any(_place(twin.document) == _place(after) for twin in twins if twin.id != after.get("id")):
        raise duplicate("sku", after["sku"])


def _place(entry: Json) -> tuple[Any, Any]:
    return entry.get("sku"), (entry.get("supplyChannel") or {}).get("id")


def route_of(request: Request) -> str:
    """The name of the route for scripts of faults; "*" where it has none of its own."""
    if request.parts[:1] == ("oauth",):
        return "oauth"
    if request.parts[1:] == ("graphql",):
        return graphql.route_of(request)
    return request.parts[1] if request.parts[1:] and request.parts[1] in FACES else "*"


def is_list(request: Request) -> bool:
    """Whether its answer is a page."""
    asked = request.method, request.parts[1:]
    return asked == ("POST", ("graphql",)) or (asked[0] == "GET" and len(asked[1]) == 1 and asked[1][0] in FACES)


def entity_named(name: str) -> Entity:
    """
    Raises:
        VendorError: 400, naming the known ones.

    """
    if name not in ENTITIES:
        raise invalid_input(f"There is no entity '{name}'; the known ones are {', '.join(ENTITIES)}.")
    return ENTITIES[name]

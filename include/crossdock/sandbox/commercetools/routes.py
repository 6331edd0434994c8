"""The vendor's routes: a request in, a response out; a refusal is a `VendorError`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from crossdock.sandbox.commercetools import actions, graphql
from crossdock.sandbox.commercetools.catalogue import as_product, as_projection
from crossdock.sandbox.commercetools.collection import Json, Page, Row
from crossdock.sandbox.commercetools.data.building_blocks import EXPORT_CHANNEL
from crossdock.sandbox.commercetools.entities import CUSTOMERS, INVENTORY, ORDERS, PRICES, PRODUCTS, Entity
from crossdock.sandbox.commercetools.problems import VendorError, duplicate, malformed, not_found, not_referenced
from crossdock.sandbox.commercetools.queries import Query, flag, query_of, refuse_unknown, refuse_unknown_of_list
from crossdock.sandbox.commercetools.state import RetailerState
from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.faults import ANY_ROUTE
from crossdock.sandbox.engine.messages import Request, Response, json_response


@dataclass(frozen=True)
class Endpoint:
    """How one path shows an entity."""

    entity: Entity
    #: Turns a stored document into what the path shows; None if it is sent as it is stored.
    view: Callable[[Json], Json] | None = None
    writable: bool = True
    #: The scope that a token needs to write here, without the project.
    scope: str = "manage_products"
    #: Whether the path hides what is not published, unless the parameter `staged` asks for it.
    hides_unpublished: bool = False

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters that only this path takes."""
        return frozenset({"staged"}) if self.hides_unpublished else frozenset()


ENDPOINTS = {
    "inventory": Endpoint(INVENTORY),
    "product-projections": Endpoint(
        PRODUCTS, view=partial(as_projection, staged=False), writable=False, hides_unpublished=True
    ),
    "products": Endpoint(PRODUCTS, view=as_product),
    "standalone-prices": Endpoint(PRICES, scope="manage_standalone_prices"),
    "orders": Endpoint(ORDERS, scope="manage_orders"),
    "customers": Endpoint(CUSTOMERS, scope="manage_customers"),
}


def refuse_without_scope(request: Request, project: str, scopes: frozenset[str]) -> None:
    """
    Refuse a request that writes with a token for reading.

    Raises:
        VendorError: 403 insufficient_scope.

    """
    path = request.parts[1] if request.parts[1:] else ""
    if request.method == "GET" or path not in ENDPOINTS:
        return
    enough = {f"{ENDPOINTS[path].scope}:{project}", f"manage_project:{project}"}
    if scopes.isdisjoint(enough):
        missing = ", ".join(sorted(enough))
        raise VendorError.oauth(
            403, "insufficient_scope", f"Insufficient scope. One of the following scopes is missing: {missing}."
        )


def handle(state: RetailerState, project: str, request: Request, share: float | None = None) -> Response:
    """
    Answer a request that carries a valid token.

    Args:
        state: The retailer's data.
        project: The key of the only project.
        request: The request.
        share: The share of the rows (the first ones by ID) that a list may show; None means all.

    Raises:
        VendorError: the vendor would refuse the request.
        NotJsonError: its body is not a JSON object.

    """
    if request.parts[0] != project:
        raise VendorError.oauth(403, "insufficient_scope", f"The token has no scope for '{request.parts[0]}'.")
    match request.method, request.parts[1:]:
        case "GET", ():
            return json_response(200, _project(project))
        case "GET", (path,) if path in ENDPOINTS:
            return _list(state, _asked(ENDPOINTS[path], request), request, share)
        case "HEAD", (path,) if path in ENDPOINTS:
            return _exists(state, ENDPOINTS[path], request, share)
        case "POST", ("graphql",):
            return graphql.handle(partial(_list_for_graphql, state, share), request)
        case "POST", ("inventory",):
            return _create(state, request)
        case method, (path, name) if path in ENDPOINTS:
            return _single(state, _asked(ENDPOINTS[path], request), method, name, request)
    raise _no_such_route(request)


def _no_such_route(request: Request) -> VendorError:
    if request.parts[1:2] and request.parts[1] in ENDPOINTS:
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


def _asked(endpoint: Endpoint, request: Request) -> Endpoint:
    """Give the endpoint as the parameter `staged` of *request* wants it."""
    if not endpoint.hides_unpublished or not flag(request.query, "staged", default=False):
        return endpoint
    return replace(endpoint, view=partial(as_projection, staged=True), hides_unpublished=False)


def _exists(state: RetailerState, endpoint: Endpoint, request: Request, share: float | None) -> Response:
    """Say by the status alone whether a list has any row: the vendor's HEAD takes `where` and nothing else."""
    refuse_unknown(request.query, frozenset({"where"}))
    _, page = _page(state, endpoint, {**request.query, "limit": ["1"], "withTotal": ["false"]}, share)
    if not page.rows:
        raise not_found("the given predicate")
    return Response(200, b"")


def _list(state: RetailerState, endpoint: Endpoint, request: Request, share: float | None) -> Response:
    refuse_unknown_of_list(request.query, ENDPOINTS[request.parts[1]].parameters)
    query, page = _page(state, endpoint, request.query, share)
    head = f'{{"limit":{query.limit},"offset":{query.offset},"count":{len(page.rows)},'
    rows = b",".join(_bytes_of(row, endpoint) for row in page.rows)
    return Response(200, head.encode() + _total(page) + b'"results":[' + rows + b"]}")


def _page(
    state: RetailerState, endpoint: Endpoint, parameters: Mapping[str, list[str]], share: float | None
) -> tuple[Query, Page]:
    if endpoint.hides_unpublished:
        parameters = {**parameters, "where": [*parameters.get("where", ()), "published = true"]}
    query = query_of(parameters, endpoint.entity.fields)
    collection = state.collection(endpoint.entity.name)
    if share is not None:
        query = replace(query, last_id=_last_visible(collection.ids(), share))
    return query, collection.page(query, endpoint.view)


def _list_for_graphql(
    state: RetailerState, share: float | None, path: str, parameters: Mapping[str, list[str]]
) -> Json:
    """Make a list of documents, for the GraphQL resolvers to go through."""
    endpoint = ENDPOINTS[path]
    query, page = _page(state, endpoint, parameters, share)
    results = [row.document if endpoint.view is None else endpoint.view(row.document) for row in page.rows]
    return {"offset": query.offset, "count": len(results), "total": page.total, "results": results}


def _last_visible(ids: list[str], share: float) -> str:
    visible = ids[: int(len(ids) * share)]
    return visible[-1] if visible else ""


def _total(page: Page) -> bytes:
    return b"" if page.total is None else b'"total":%d,' % page.total


def _bytes_of(row: Row, endpoint: Endpoint) -> bytes:
    return row.raw if endpoint.view is None else codec.encode(endpoint.view(row.document))


def _single(state: RetailerState, endpoint: Endpoint, method: str, name: str, request: Request) -> Response:
    if method in ("GET", "HEAD"):
        refuse_unknown(request.query, ENDPOINTS[request.parts[1]].parameters)
        row = _find(state, endpoint.entity, name)
        if endpoint.hides_unpublished and not as_projection(row.document, staged=False).get("published"):
            raise not_found(f"ID '{row.id}'")
        return Response(200, _bytes_of(row, endpoint))
    if method not in ("POST", "DELETE") or not endpoint.writable:
        raise _no_such_route(request)
    refuse_unknown(request.query, frozenset({"version"} if method == "DELETE" else ()))
    resource_id = _find(state, endpoint.entity, name).id
    if method == "POST":
        return Response(200, _bytes_of(_update(state, endpoint.entity, resource_id, request.json()), endpoint))
    return Response(200, _bytes_of(state.delete(endpoint.entity.name, resource_id, _version(request)), endpoint))


def _find(state: RetailerState, entity: Entity, name: str) -> Row:
    """Find the row that the last part of a path names, by ID or by `key=…`."""
    path, equals, key = name.partition("=")
    if not equals:
        return state.get(entity.name, name)
    if path not in entity.paths:
        raise not_found(name)
    rows = state.collection(entity.name).find(entity.paths[path], key)
    if not rows:
        raise not_found(f"{entity.paths[path]} '{key}'")
    return rows[0]


def _version(request: Request) -> int:
    versions = request.query.get("version", [])
    if len(versions) != 1 or not (versions[0].isascii() and versions[0].isdecimal()):
        raise malformed("version", "exactly one whole number is required.")
    return int(versions[0])


def _update(state: RetailerState, entity: Entity, resource_id: str, update: Json) -> Row:
    version = actions.integer(update, "version")
    changes = update.get("actions")
    if isinstance(changes, list):
        changes = [_completed(state, action) if isinstance(action, dict) else action for action in changes]

    def edit(document: Json) -> None:
        before = dict(document)
        actions.apply(entity.name, document, changes)
        _refuse_duplicates(state, entity, before, document)

    return state.change(entity.name, resource_id, edit, version=version)


def _create(state: RetailerState, request: Request) -> Response:
    draft = _with_ids(state, request.json())
    refuse_unknown(request.query, frozenset())
    for name in draft:
        if name not in ("sku", "quantityOnStock", *_OPTIONAL):
            raise VendorError(400, f"The sandbox does not implement the field '{name}'.", "InvalidOperation")
    entry: Json = {"sku": actions.text(draft, "sku"), "quantityOnStock": actions.integer(draft, "quantityOnStock")}
    entry["availableQuantity"] = entry["quantityOnStock"]
    for name, read in _OPTIONAL.items():
        if draft.get(name) is not None:
            entry[name] = read(draft, name)
    with state.collection(INVENTORY.name).lock:
        _refuse_duplicates(state, INVENTORY, {}, entry)
        return Response(201, state.create(INVENTORY.name, entry).raw)


_OPTIONAL: dict[str, Callable[[Json, str], Any]] = {
    "key": actions.text,
    "supplyChannel": actions.reference,
    "restockableInDays": actions.integer,
    "expectedDelivery": actions.instant,
    "minCartQuantity": actions.integer,
    "maxCartQuantity": actions.integer,
    "reservationExpirationInMinutes": actions.integer,
}


def _with_ids(state: RetailerState, draft: Json) -> Json:
    """
    Replace the key of a channel in *draft* by its ID, as the vendor does in all that it stores.

    Raises:
        VendorError: 400 ReferencedResourceNotFound.

    """
    ids = dict([*state.references.channels, EXPORT_CHANNEL])
    replaced = dict(draft)
    for name in ("supplyChannel", "channel"):
        channel = draft.get(name)
        if not isinstance(channel, dict) or "id" in channel or not isinstance(channel.get("key"), str):
            continue
        if channel["key"] not in ids:
            raise not_referenced("channel", channel["key"])
        replaced[name] = {"typeId": "channel", "id": ids[channel["key"]]}
    return replaced


def _completed(state: RetailerState, action: Json) -> Json:
    """Complete an update action with what the vendor adds: the IDs of channels, and the time of a synchronisation."""
    complete = _with_ids(state, action)
    return {"syncedAt": state.clock.now(), **complete} if action.get("action") == "updateSyncInfo" else complete


def _refuse_duplicates(state: RetailerState, entity: Entity, before: Json, after: Json) -> None:
    """
    Refuse a second resource with a value that must be unique.

    Raises:
        VendorError: 400 DuplicateField.

    """
    collection = state.collection(entity.name)
    for field in {"key", "orderNumber", "email"} & set(entity.lookups):
        value = after.get(field)
        if value != before.get(field) and isinstance(value, str) and collection.find(field, value):
            raise duplicate(field, value)
    if entity is not INVENTORY or _natural_key(before) == _natural_key(after):
        return
    same_sku = collection.find("sku", after["sku"]) if isinstance(after.get("sku"), str) else []
    if any(_natural_key(row.document) == _natural_key(after) for row in same_sku if row.id != after.get("id")):
        raise duplicate("sku", after["sku"])


def _natural_key(entry: Json) -> tuple[Any, Any]:
    return entry.get("sku"), (entry.get("supplyChannel") or {}).get("id")


def route_of(request: Request) -> str:
    """Name the route of a request for fault scripts; "*" if it has none of its own."""
    if request.parts[:1] == ("oauth",):
        return "oauth"
    if request.parts[1:] == ("graphql",):
        return graphql.route_of(request)
    return request.parts[1] if request.parts[1:] and request.parts[1] in ENDPOINTS else ANY_ROUTE


def is_list(request: Request) -> bool:
    """Recognise a request whose response is a page."""
    match request.method, request.parts[1:]:
        case "POST", ("graphql",):
            return True
        case "GET", (path,):
            return path in ENDPOINTS
    return False

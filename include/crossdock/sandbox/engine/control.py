"""The `/_sandbox` routes, by which tests and demos steer the retailer; no part of the vendor's API."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import msgspec

from crossdock.sandbox.commercetools import actions
from crossdock.sandbox.commercetools.collection import Json, Row
from crossdock.sandbox.commercetools.entities import ENTITIES, ORDERS
from crossdock.sandbox.commercetools.problems import VendorError, invalid_input
from crossdock.sandbox.commercetools.retailer import Shop
from crossdock.sandbox.commercetools.routes import entity_named
from crossdock.sandbox.commercetools.simulation import live
from crossdock.sandbox.commercetools.state import Size, World
from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.faults import LIFE, FaultRefusedError
from crossdock.sandbox.engine.messages import Request, Response, of_json

ROOT = "_sandbox"

_SIZES = tuple(field.name for field in fields(Size))


def handle(shop: Shop, request: Request) -> Response:
    """
    The answer to a control request.

    Raises:
        VendorError: 400, 403 or 404, saying what is known.

    """
    if "origin" in request.headers:
        # Only browsers send it: a web page in somebody's browser could reach this port too.
        raise VendorError(403, "The control routes refuse requests with an Origin header.", "insufficient_scope")
    act = _ROUTES.get((request.method, request.parts[1:2]))
    if act is None:
        known = ", ".join(f"{method} /{'/'.join((ROOT, *path))}" for method, path in _ROUTES)
        raise VendorError(404, f"No {request.method} {request.path} here; there are {known}.", "ResourceNotFound")
    return of_json(200, act(shop, request))


def _about(shop: Shop, _request: Request) -> Json:
    return {
        "project": shop.project,
        "dataset": None if shop.dataset is None else shop.dataset.name,
        "size": asdict(shop.world.size),
        "rows": {name: len(shelf) for name, shelf in shop.world.shelves.items()},
        "requests": len(shop.requests),
        "life": shop.life.running,
        "tokens": shop.tokens.alive(),
    }


def _show_faults(shop: Shop, _request: Request) -> Json:
    return shop.faults.as_document()


def _put_faults(shop: Shop, request: Request) -> Json:
    try:
        shop.faults.put_document(request.json())
    except FaultRefusedError as error:
        raise invalid_input(str(error)) from error
    return shop.faults.as_document()


def _clear_faults(shop: Shop, request: Request) -> Json:
    shop.faults.clear(next(iter(request.query.get("route", [])), None))
    return shop.faults.as_document()


def _show_requests(shop: Shop, request: Request) -> Json:
    after = (request.query.get("after") or ["0"])[-1]
    return {"requests": shop.requests.as_documents(int(after) if after.isdecimal() else 0)}


def _clear_requests(shop: Shop, _request: Request) -> Json:
    shop.requests.clear()
    return {"requests": []}


def _live(shop: Shop, request: Request) -> Json:
    told = request.json()
    every_s = told.pop("every_s", None)
    changes = _changes(told)
    if every_s is None:
        return live(shop.world, **changes)
    if isinstance(every_s, bool) or not isinstance(every_s, int | float) or every_s <= 0:
        raise invalid_input("'every_s' takes a number of seconds above 0; DELETE stops it.")
    shop.life.start(every_s, **changes)
    return {"every_s": every_s, **changes}


def _changes(told: Json) -> dict[str, Any]:
    for name, value in told.items():
        if name not in (*LIFE, "only_good"):
            raise invalid_input(f"There is no '{name}'; known are every_s, only_good, {', '.join(LIFE)}.")
        if name == "only_good" and not isinstance(value, bool):
            raise invalid_input("'only_good' takes true or false.")
        if name in LIFE and actions.whole(told, name) < 0:
            raise invalid_input(f"'{name}' takes a whole number of at least 0.")
    return told


def _stop_life(shop: Shop, _request: Request) -> Json:
    shop.life.stop()
    return {"life": False}


def _checksum(shop: Shop, request: Request) -> Json:
    entity = entity_named(_part(request, 2))
    rows = shop.world.shelf(entity.name).rows()
    counted = [_counted(row) for row in rows]
    sums = {
        "rows": len(rows),
        "versions": sum(row.version for row in rows),
        "quantity": sum(quantity for quantity, _ in counted),
    }
    return sums | ({"lines": sum(lines for _, lines in counted)} if entity is ORDERS else {})


class _Counts(msgspec.Struct, rename="camel"):
    """The two fields that a checksum reads, undecoded: a year of orders is hundreds of megabytes."""

    quantity_on_stock: msgspec.Raw = msgspec.Raw(b"null")
    line_items: msgspec.Raw = msgspec.Raw(b"null")


def _counted(row: Row) -> tuple[int, int]:
    """What the row adds to the checksum, quantity and lines: nothing where it has no whole number or no list."""
    try:
        counts = _COUNTS.decode(row.raw)
    except msgspec.DecodeError:
        # Half a surrogate in one of its texts: such rows are few, and decoded whole.
        quantity, lines = row.document.get("quantityOnStock"), row.document.get("lineItems")
        return quantity if isinstance(quantity, int) else 0, len(lines) if isinstance(lines, list) else 0
    quantity = codec.decode(counts.quantity_on_stock)
    is_list = bytes(counts.line_items)[:1] == b"["
    return quantity if isinstance(quantity, int) else 0, len(_LINES.decode(counts.line_items)) if is_list else 0


_COUNTS = msgspec.json.Decoder(_Counts)
_LINES = msgspec.json.Decoder(list[msgspec.Raw])


def _flaws(shop: Shop, request: Request) -> Json:
    return {"flaws": shop.world.flawed_ids(entity_named(_part(request, 2)).name)}


def _show_resource(shop: Shop, request: Request) -> Json:
    return shop.world.get(entity_named(_part(request, 2)).name, _part(request, 3)).document


def _patch_resource(shop: Shop, request: Request) -> Json:
    return patched(shop.world, entity_named(_part(request, 2)).name, _part(request, 3), request.json()).document


def patched(world: World, entity: str, resource_id: str, patch: Json) -> Row:
    """
    The row after a JSON merge patch, which may write anything but an id that is another's.

    The row becomes a version newer and is modified now, unless the patch gives a `version` or `lastModifiedAt`
    of its own or says `"_keep_version": true`.

    Raises:
        VendorError: 404, or 400 for what would break the indexes.

    """
    shelf = world.shelf(entity)
    with shelf.lock:
        row = world.get(entity, resource_id)
        newer = {} if patch.get("_keep_version") else {"version": row.version + 1, "lastModifiedAt": world.clock.now()}
        patch = {name: value for name, value in patch.items() if name != "_keep_version"}
        document = _merged(row.document, newer | patch)
        if document.get("id") != resource_id:
            raise invalid_input("A patch cannot change the id.")
        actions.whole(document, "version")
        document["lastModifiedAt"] = actions.instant(document, "lastModifiedAt")
        return shelf.put(document)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _reset(shop: Shop, request: Request) -> Json:
    told = request.json() if request.body else {}
    if shop.dataset is not None and told.keys() - {"seed"}:
        raise invalid_input(
            f"This shop is that of {shop.dataset.name}, with its size from there; it takes 'seed' only."
        )
    for name, value in told.items():
        if name not in _SIZES:
            raise invalid_input(f"There is no '{name}'; known are {', '.join(_SIZES)}.")
        if type(value) not in ((int, float) if name == "flaws" else (int,)) or value < 0:
            raise invalid_input(f"'{name}' takes a number of at least 0.")
    shop.reset(replace(shop.world.size, **told))
    return _about(shop, request)


def _show_tokens(shop: Shop, _request: Request) -> Json:
    return {"alive": shop.tokens.alive(), "life_s": shop.tokens.life_s}


def _put_tokens(shop: Shop, request: Request) -> Json:
    life_s = request.json().get("life_s")
    if isinstance(life_s, bool) or not isinstance(life_s, int | float) or life_s < 0:
        raise invalid_input("'life_s' takes a number of seconds.")
    shop.tokens.life_s = life_s
    return _show_tokens(shop, request)


def _revoke_tokens(shop: Shop, _request: Request) -> Json:
    return {"revoked": shop.tokens.revoke_all()}


def _part(request: Request, at: int) -> str:
    if len(request.parts) <= at:
        known = ", ".join(ENTITIES)
        raise invalid_input(f"The path ends too early; it names an entity ({known}) and, for a resource, an id.")
    return request.parts[at]


_ROUTES: dict[tuple[str, tuple[str, ...]], Callable[[Shop, Request], Json]] = {
    ("GET", ()): _about,
    ("GET", ("faults",)): _show_faults,
    ("PUT", ("faults",)): _put_faults,
    ("DELETE", ("faults",)): _clear_faults,
    ("GET", ("requests",)): _show_requests,
    ("DELETE", ("requests",)): _clear_requests,
    ("POST", ("life",)): _live,
    ("DELETE", ("life",)): _stop_life,
    ("GET", ("checksum",)): _checksum,
    ("GET", ("flaws",)): _flaws,
    ("GET", ("resource",)): _show_resource,
    ("PATCH", ("resource",)): _patch_resource,
    ("GET", ("tokens",)): _show_tokens,
    ("PUT", ("tokens",)): _put_tokens,
    ("DELETE", ("tokens",)): _revoke_tokens,
    ("POST", ("reset",)): _reset,
}

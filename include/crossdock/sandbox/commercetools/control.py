"""The control routes of this retailer, beside those of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from crossdock.sandbox.commercetools import actions
from crossdock.sandbox.commercetools.entities import ENTITIES, ORDERS, Entity
from crossdock.sandbox.commercetools.problems import invalid_input
from crossdock.sandbox.commercetools.simulation import CHANGES, simulate
from crossdock.sandbox.commercetools.state import RetailerState, Size
from crossdock.sandbox.engine import codec

if TYPE_CHECKING:  # the retailer is built from this module
    from crossdock.sandbox.commercetools.collection import Json, Row
    from crossdock.sandbox.commercetools.retailer import FakeRetailer
    from crossdock.sandbox.engine.control import RouteKey
    from crossdock.sandbox.engine.messages import Request

#: Ten years: beyond that, a year has no four digits in the end.
_LONGEST_OFFSET_S = 10 * 366 * 86_400
_SIZES = tuple(field.name for field in fields(Size))


def routes(retailer: FakeRetailer) -> dict[RouteKey, Callable[[Request], Json]]:
    """List the routes; each raises a VendorError (400 or 404) that lists what is known."""
    return {key: partial(act, retailer) for key, act in _ROUTES.items()}


def _simulate(retailer: FakeRetailer, request: Request) -> Json:
    document = request.json()
    every_s = document.pop("every_s", None)
    changes = _changes(document)
    if every_s is None:
        return simulate(retailer.state, **changes)
    if isinstance(every_s, bool) or not isinstance(every_s, int | float) or every_s <= 0:
        raise invalid_input("'every_s' must be a number of seconds above 0; to stop the simulation, use DELETE.")
    retailer.simulation.start(every_s, **changes)
    return {"every_s": every_s, **changes}


def _changes(document: Json) -> dict[str, Any]:
    for name, value in document.items():
        if name not in (*CHANGES, "only_good"):
            raise invalid_input(f"Unknown field '{name}'. Known fields: every_s, only_good, {', '.join(CHANGES)}.")
        if name == "only_good" and not isinstance(value, bool):
            raise invalid_input("'only_good' must be true or false.")
        if name in CHANGES and actions.integer(document, name) < 0:
            raise invalid_input(f"'{name}' must be a whole number of at least 0.")
    return document


def _stop_simulation(retailer: FakeRetailer, _request: Request) -> Json:
    retailer.simulation.stop()
    return {"life": False}


def _checksum(retailer: FakeRetailer, request: Request) -> Json:
    entity = _entity(request)
    rows = retailer.state.collection(entity.name).rows()
    counts = [_count(row) for row in rows]
    sums = {
        "rows": len(rows),
        "versions": sum(row.version for row in rows),
        "quantity": sum(quantity for quantity, _ in counts),
    }
    return sums | ({"lines": sum(lines for _, lines in counts)} if entity is ORDERS else {})


class _Counts(msgspec.Struct, rename="camel"):
    """The two fields that a checksum reads, undecoded: a year of orders is hundreds of megabytes."""

    quantity_on_stock: msgspec.Raw = msgspec.Raw(b"null")
    line_items: msgspec.Raw = msgspec.Raw(b"null")


def _count(row: Row) -> tuple[int, int]:
    """Count the row's quantity and lines for the checksum; what is not a whole number or a list counts 0."""
    try:
        counts = _COUNTS.decode(row.raw)
    except msgspec.DecodeError:
        # One of its texts has a lone surrogate: such rows are few, so that they may be decoded whole.
        quantity, lines = row.document.get("quantityOnStock"), row.document.get("lineItems")
        return quantity if isinstance(quantity, int) else 0, len(lines) if isinstance(lines, list) else 0
    quantity = codec.decode(counts.quantity_on_stock)
    is_list = bytes(counts.line_items)[:1] == b"["
    return quantity if isinstance(quantity, int) else 0, len(_LINES.decode(counts.line_items)) if is_list else 0


_COUNTS = msgspec.json.Decoder(_Counts)
_LINES = msgspec.json.Decoder(list[msgspec.Raw])


def _flaws(retailer: FakeRetailer, request: Request) -> Json:
    return {"flaws": retailer.state.flawed_ids(_entity(request).name)}


def _show_resource(retailer: FakeRetailer, request: Request) -> Json:
    return retailer.state.get(_entity(request).name, _part(request, 3)).document


def _patch_resource(retailer: FakeRetailer, request: Request) -> Json:
    return patch(retailer.state, _entity(request).name, _part(request, 3), request.json()).document


def patch(state: RetailerState, entity: str, resource_id: str, changes: Json) -> Row:
    """
    Apply a JSON merge patch, which may write everything except the ID.

    The row becomes one version newer and is modified now, unless *changes* has a `version` or `lastModifiedAt`
    or says `"_keep_version": true`.

    Raises:
        VendorError: 404, or 400 for what would break the indexes.

    """
    collection = state.collection(entity)
    with collection.lock:
        row = state.get(entity, resource_id)
        keep_version = changes.get("_keep_version")
        newer = {} if keep_version else {"version": row.version + 1, "lastModifiedAt": state.clock.now()}
        changes = {name: value for name, value in changes.items() if name != "_keep_version"}
        document = _merge(row.document, newer | changes)
        if document.get("id") != resource_id:
            raise invalid_input("A patch cannot change the id.")
        actions.integer(document, "version")
        document["lastModifiedAt"] = actions.instant(document, "lastModifiedAt")
        return collection.put(document)


def _merge(target: Any, changes: Any) -> Any:
    """Merge as RFC 7396 says: objects merge, null removes, all else replaces."""
    if not isinstance(changes, dict):
        return changes
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _reset(retailer: FakeRetailer, request: Request) -> Json:
    document = request.json() if request.body else {}
    if retailer.dataset is not None and document.keys() - {"seed"}:
        raise invalid_input(f"The size comes from the dataset {retailer.dataset.name}; only 'seed' can be set.")
    for name, value in document.items():
        if name not in _SIZES:
            raise invalid_input(f"Unknown field '{name}'. Known fields: {', '.join(_SIZES)}.")
        if type(value) not in ((int, float) if name == "flaws" else (int,)) or value < 0:
            raise invalid_input(f"'{name}' must be a number of at least 0.")
    retailer.reset(replace(retailer.state.size, **document))
    return retailer.describe()


def _show_tokens(retailer: FakeRetailer, _request: Request) -> Json:
    return {"alive": retailer.tokens.alive(), "life_s": retailer.tokens.life_s}


def _put_tokens(retailer: FakeRetailer, request: Request) -> Json:
    life_s = request.json().get("life_s")
    if isinstance(life_s, bool) or not isinstance(life_s, int | float) or life_s < 0:
        raise invalid_input("'life_s' must be a number of seconds.")
    retailer.tokens.life_s = life_s
    return _show_tokens(retailer, request)


def _revoke_tokens(retailer: FakeRetailer, _request: Request) -> Json:
    return {"revoked": retailer.tokens.revoke_all()}


def _put_clock(retailer: FakeRetailer, request: Request) -> Json:
    offset_s = request.json().get("offset_s")
    if isinstance(offset_s, bool) or not isinstance(offset_s, int | float) or abs(offset_s) > _LONGEST_OFFSET_S:
        raise invalid_input(f"'offset_s' must be a number of seconds, {_LONGEST_OFFSET_S:,} at most either way.")
    retailer.state.clock.step_to(offset_s)
    return {"offset_s": retailer.state.clock.offset_s}


def _entity(request: Request) -> Entity:
    name = _part(request, 2)
    if name not in ENTITIES:
        raise invalid_input(f"Unknown entity '{name}'. Known entities: {', '.join(ENTITIES)}.")
    return ENTITIES[name]


def _part(request: Request, at: int) -> str:
    if len(request.parts) <= at:
        known = ", ".join(ENTITIES)
        raise invalid_input(f"The path is too short: it needs an entity ({known}) and, for a resource, its ID.")
    return request.parts[at]


_ROUTES: dict[RouteKey, Callable[[FakeRetailer, Request], Json]] = {
    ("POST", ("life",)): _simulate,
    ("DELETE", ("life",)): _stop_simulation,
    ("GET", ("checksum",)): _checksum,
    ("GET", ("flaws",)): _flaws,
    ("GET", ("resource",)): _show_resource,
    ("PATCH", ("resource",)): _patch_resource,
    ("PUT", ("clock",)): _put_clock,
    ("GET", ("tokens",)): _show_tokens,
    ("PUT", ("tokens",)): _put_tokens,
    ("DELETE", ("tokens",)): _revoke_tokens,
    ("POST", ("reset",)): _reset,
}

"""The actions of commercetools on the sandbox: one effect under every fault, and requests that the vendor's contract accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
from referencing import Registry

from crossdock.connectors.commercetools import Commercetools
from crossdock.connectors.commercetools.actions import SET_INVENTORY_QUANTITY
from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import Effect
from crossdock.integrations.attempts import repository
from crossdock.integrations.attempts.model import Outcome, Resolution
from crossdock.integrations.manifests import Manifest, manifests
from crossdock.integrations.model import Integration
from crossdock.sandbox.commercetools.data.products import shown as shown_part
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.routes import ENDPOINTS
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from tests.chaos import children
from tests.shop import query
from tests.vendor_contract import faults_in

KIND = manifests()["commercetools"]
SHOP = "shop_eu"
#: One attempt may take a second, which the tests of a time-out wait for.
IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.1)


class Case(NamedTuple):
    """A call of an action, and how a test sees its effect at the retailer."""

    resource: str
    #: The row → a valid input whose effect changes it.
    given: Callable[[dict[str, Any]], dict[str, Any]]
    #: What the effect changes, as the row shows it, and the field of the input that wants it.
    seen: Callable[[dict[str, Any]], Any] = lambda _row: None
    wanted: str = ""
    #: Somebody else's change of the same row.
    otherwise: Callable[[dict[str, Any]], None] = lambda _row: None
    #: How the row shows what the input wants.
    shown: Callable[[Any], Any] = lambda value: value
    #: Whether a row is one for this case.
    fits: Callable[[dict[str, Any]], bool] = lambda row: bool(row.get("key") or row.get("orderNumber"))

    @property
    def collection(self) -> str:
        """The sandbox's name of what the resource shows."""
        return ENDPOINTS[self.resource].entity.name


def field(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row[name]


def sets(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update({name: value})


def price_inside(product: dict[str, Any]) -> dict[str, Any]:
    """The price for one country that a product has inside: an update must not make it one for all."""
    prices = shown_part(product)["masterVariant"]["prices"]
    found: dict[str, Any] = next(price for price in prices if price.get("country") == "DE" and "validFrom" not in price)
    return found


def has_prices_inside(product: dict[str, Any]) -> bool:
    return product["priceMode"] == "Embedded"


def is_for_everybody(price: dict[str, Any]) -> bool:
    return not {"country", "channel", "customerGroup", "recurrencePolicy", "validFrom"} & set(price) and price["active"]


def reprice(price: dict[str, Any], amount: int) -> None:
    price["value"]["centAmount"] = amount


def price_change(product: dict[str, Any]) -> dict[str, Any]:
    price = price_inside(product)
    return {
        "product_id": product["id"],
        "price_id": price["id"],
        "version": product["version"],
        "currency": price["value"]["currencyCode"],
        "amount_minor": price["value"]["centAmount"] + 7,
        "rest": {name: value for name, value in price.items() if name not in ("id", "value")},
    }


#: The name of an action, after which a `-` may name the case → the case.
CASES = {
    "get_inventory": Case("inventory", lambda row: {"sku": row["sku"]}),
    "get_inventory_entry": Case("inventory", lambda row: {"key": row["key"]}),
    "set_inventory_quantity": Case(
        "inventory",
        lambda row: {"key": row["key"], "version": row["version"], "quantity": row["quantityOnStock"] + 7},
        field("quantityOnStock"),
        "quantity",
        sets("quantityOnStock", 4711),
    ),
    "get_order": Case("orders", lambda row: {"order_number": row["orderNumber"]}),
    "change_order_state": Case(
        "orders",
        lambda row: {
            "order_number": row["orderNumber"],
            "version": row["version"],
            "state": "Complete" if row["orderState"] != "Complete" else "Open",
        },
        field("orderState"),
        "state",
        sets("orderState", "Cancelled"),
    ),
    "find_price-inside": Case(
        "products",
        lambda row: {
            "sku": shown_part(row)["masterVariant"]["sku"],
            "currency": price_inside(row)["value"]["currencyCode"],
            "country": "DE",
        },
        fits=has_prices_inside,
    ),
    "find_price-standalone": Case(
        "standalone-prices",
        lambda row: {"sku": row["sku"], "currency": row["value"]["currencyCode"]},
        fits=is_for_everybody,
    ),
    "get_price-inside": Case(
        "products",
        lambda row: {"product_id": row["id"], "price_id": price_inside(row)["id"]},
        fits=has_prices_inside,
    ),
    "get_price-standalone": Case(
        "standalone-prices", lambda row: {"product_id": None, "price_id": row["id"]}, fits=is_for_everybody
    ),
    "change_price-inside": Case(
        "products",
        price_change,
        lambda row: price_inside(row)["value"]["centAmount"],
        "amount_minor",
        lambda row: reprice(price_inside(row), 4711),
        fits=has_prices_inside,
    ),
    "change_price-standalone": Case(
        "standalone-prices",
        lambda row: {
            "product_id": None,
            "price_id": row["id"],
            "version": row["version"],
            "currency": "EUR",
            "amount_minor": row["value"]["centAmount"] + 7,
            "rest": {},
        },
        lambda row: row["value"]["centAmount"],
        "amount_minor",
        lambda row: reprice(row, 4711),
        fits=is_for_everybody,
    ),
    "find_order": Case("orders", lambda row: {"number": row["orderNumber"]}),
    "write_order_state": Case(
        "orders",
        lambda row: {
            "number": row["orderNumber"],
            "version": str(row["version"]),
            "state": "confirmed" if row["orderState"] != "Confirmed" else "cancelled",
            "mark": "ord_1.state",
        },
        field("orderState"),
        "state",
        sets("orderState", "Complete"),
        str.capitalize,
    ),
    "get_stock_level": Case("inventory", lambda row: {"id": row["id"]}),
}


def action_of(name: str) -> str:
    return name.partition("-")[0]


WRITES = [name for name in CASES if KIND.actions[action_of(name)].kind == "write"]
#: What tells for good whether the write had its effect: a mark of its own.
MARKED = ["write_order_state"]


class World:
    """The retailer with one row that an action is about, and the hub."""

    def __init__(self, shop: FakeRetailer, store: Store, name: str) -> None:
        self.shop, self.store, self.name, self.case = shop, store, name, CASES[name]
        self.row = next(
            row.document
            for row in shop.state.collection(self.case.collection).rows()
            if self.case.fits(row.document) and self._changes(row.document)
        )
        self.given = self.case.given(self.row)

    def perform(
        self, given: dict[str, Any] | None = None, *, key: str = "effect-1", store: Store | None = None
    ) -> Ended:
        return service.perform(
            store or self.store,
            self._client,
            SHOP,
            action_of(self.name),
            given or self.given,
            key=key,
            actor="airflow:otto",
        )

    def fault(self, *script: Any) -> None:
        self.shop.faults.put(self.case.resource, list(script))

    def _changes(self, row: dict[str, Any]) -> bool:
        """Whether somebody else's change would change *row*."""
        changed = deepcopy(row)
        self.case.otherwise(changed)
        return self.name not in WRITES or changed != row

    def change_otherwise(self) -> None:
        self.shop.state.change(self.case.collection, self.row["id"], self.case.otherwise)

    @property
    def is_as_otherwise(self) -> bool:
        changed = self.now
        self.case.otherwise(changed)
        return changed == self.now

    @property
    def now(self) -> dict[str, Any]:
        return self.shop.state.get(self.case.collection, self.row["id"]).document

    @property
    def effects(self) -> int:
        """How often the row was changed; each change makes it one version higher."""
        return int(self.now["version"] - self.row["version"])

    @property
    def sent(self) -> int:
        """How many requests that write arrived."""
        return sum(entry.method == "POST" and "oauth" not in entry.path for entry in self.shop.requests)

    @property
    def is_as_wanted(self) -> bool:
        return bool(self.case.seen(self.now) == self.case.shown(self.given[self.case.wanted]))

    def attempt(self) -> tuple[str, str | None]:
        with self.store.transaction() as work:
            found = repository.find(work, SHOP, "effect-1")
        assert found is not None
        return found.outcome, found.resolution

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Commercetools]:
        yield Commercetools.signed_in(
            self.shop.url,
            self.shop.project,
            name=integration.integration_id,
            client_id=self.shop.client_id,
            secret=self.shop.client_secret,
            scope=f"manage_project:{self.shop.project}",
            limits=IMPATIENT,
        )


@pytest.fixture
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=5, inventory=20, products=10, orders=10, customers=3, flaws=0) as shop:
        yield shop


def connect(store: Store, retailer: FakeRetailer) -> None:
    extra = json.dumps({"project": retailer.project})
    document = {"connection_id": SHOP, "conn_type": "commercetools", "host": retailer.url, "extra": extra}
    integration_service.register(store, [document], actor="cli:up")


@pytest.fixture
def world(request: pytest.FixtureRequest, retailer: FakeRetailer, store: Store) -> World:
    connect(store, retailer)
    return World(retailer, store, request.param)


each_action = pytest.mark.parametrize("world", CASES, indirect=True)
each_unmarked_write = pytest.mark.parametrize("world", sorted({*WRITES} - {*MARKED}), indirect=True)
each_marked_write = pytest.mark.parametrize("world", MARKED, indirect=True)
each_write = pytest.mark.parametrize("world", WRITES, indirect=True)


def version_in(output: Any) -> int:
    """The version of the record in an output, whatever its form."""
    record = output.get("order") or output.get("level") or output.get("price") or output.get("entries", [output])[0]
    return int(record["version"])


def test_each_action_has_a_case_here() -> None:
    assert {action_of(name) for name in CASES} == set(KIND.actions)


@each_action
def test_an_action_does_what_it_says(world: World) -> None:
    ended = world.perform()

    assert isinstance(ended, Done)
    assert ended.output is not None
    assert version_in(ended.output) == world.now["version"]
    if world.name in WRITES:
        assert world.is_as_wanted
        assert (world.effects, world.attempt()) == (1, (Outcome.DONE, None))
    else:
        assert world.effects == 0


#: What goes wrong with the request that writes, and how the call ends.
FAULTS: dict[str, tuple[Any, type]] = {
    "timeout_before": ({"timeout": "before"}, Done),
    "timeout_after": ({"timeout": "after"}, Done),
    "reset_before": ({"reset": "before"}, Done),
    "reset_after": ({"reset": "after"}, Done),
    "html_502_before": ({"bad_gateway": "before"}, Done),
    "html_502_after": ({"bad_gateway": "after"}, Done),
    "wrong_type": ({"wrong_type": True}, Done),
    "truncated": ({"truncate_json": 0.5}, Done),
    "status_429": ({"status": 429, "retry_after": 0}, Done),
    "status_500": ({"status": 500}, Done),
    "status_403": ({"status": 403}, Refused),
}


class TestFaults:
    @each_write
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_write_has_one_effect_and_its_outcome_is_resolved(self, world: World, fault: str) -> None:
        """Whatever becomes of the answer; and a repetition with the key changes nothing."""
        script, kind = FAULTS[fault]
        world.fault(script)

        first, again = world.perform(), world.perform()

        assert (type(first), type(again)) == (kind, Done)
        assert world.effects == 1
        assert world.is_as_wanted
        assert version_in(again.output) == world.now["version"]  # type: ignore[union-attr]
        assert world.attempt()[0] == Outcome.DONE

    @each_write
    def test_while_the_system_is_down_the_outcome_stays_unknown_and_the_next_call_resolves_it(
        self, world: World
    ) -> None:
        """It can be neither done nor failed: the read that would say so fails too."""
        world.fault({"reset": "after"}, *[{"status": 503}] * IMPATIENT.attempts)
        lost = world.perform()

        assert isinstance(lost, Unknown)
        assert "Repeat the call with the same key" in lost.message
        assert world.attempt() == (Outcome.UNKNOWN, None)

        assert isinstance(world.perform(), Done)
        assert (world.effects, world.sent, world.attempt()) == (1, 1, (Outcome.DONE, Resolution.GET))

    @each_marked_write
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_mark_says_after_a_lost_answer_and_a_change_by_somebody_else_whether_it_had_its_effect(
        self, world: World, when: str
    ) -> None:
        """And without the mark it can have none any more: it names a version that is gone."""
        world.fault({"reset": when}, *[{"status": 503}] * IMPATIENT.attempts)
        assert isinstance(world.perform(), Unknown)
        world.change_otherwise()
        ended = world.perform()

        assert isinstance(ended, Failed if when == "before" else Done)
        assert world.attempt() == (Outcome.FAILED if when == "before" else Outcome.DONE, Resolution.GET)
        assert world.is_as_otherwise

    @each_unmarked_write
    def test_a_lost_answer_and_a_change_by_somebody_else_stay_unknown(self, world: World) -> None:
        """Either came first. To send it again would undo the other's change."""
        world.fault({"reset": "before"}, *[{"status": 503}] * IMPATIENT.attempts)
        world.perform()
        world.change_otherwise()

        assert isinstance(world.perform(), Unknown)
        assert world.effects == 1
        assert world.is_as_otherwise

    @pytest.mark.parametrize(
        ("version", "quantity", "effect"),
        [
            (5, 40, Effect.VISIBLE),
            (6, 40, Effect.VISIBLE),
            (5, 12, Effect.ABSENT),
            (6, 12, Effect.UNCLEAR),
            (4, 40, Effect.UNCLEAR),
            (4, 12, Effect.UNCLEAR),
        ],
    )
    def test_what_a_record_says_about_a_lost_answer(self, version: int, quantity: int, effect: Effect) -> None:
        """A copy that is older than the request, such as a fallback's, says nothing, whatever its quantity."""
        read_back = SET_INVENTORY_QUANTITY.read_back
        record = {"version": version, "quantity_on_stock": quantity}

        assert read_back is not None
        assert read_back.judge({"version": 5, "quantity": 40}, record).effect is effect

    @each_write
    def test_a_request_that_arrives_late_does_not_apply_twice(self, world: World) -> None:
        """The first request was lost before its effect, for all that a read can see, and is sent again: at most one applies."""
        world.fault({"timeout": "before"})
        assert isinstance(world.perform(), Done)

        assert isinstance(world.perform(key="the-late-one"), Refused)
        assert world.effects == 1

    @each_write
    def test_an_older_version_is_refused(self, world: World) -> None:
        """The caller decided by what it had seen."""
        world.change_otherwise()

        ended = world.perform()

        assert isinstance(ended, Refused)
        assert ended.status == 409
        assert world.effects == 1

    @each_write
    def test_a_system_that_throttles_for_longer_has_not_been_changed(self, world: World) -> None:
        world.fault(*[{"status": 429}] * IMPATIENT.attempts)

        ended = world.perform()

        assert isinstance(ended, Failed)
        assert (world.effects, world.attempt()[0]) == (0, Outcome.FAILED)
        assert isinstance(world.perform(), Done)

    @each_write
    def test_another_input_with_the_key_is_a_conflict(self, world: World) -> None:
        world.perform()

        with pytest.raises(Conflict, match="use a key of its own"):
            world.perform(world.given | {"version": type(world.given["version"])(99)})
        assert world.sent == 1

    @each_write
    def test_without_the_scope_a_write_is_refused_and_says_what_to_check(self, world: World) -> None:
        world.fault({"status": 403})

        ended = world.perform()

        assert isinstance(ended, Refused)
        assert "Check the scope" in ended.message

    @pytest.mark.crash
    @each_write
    @pytest.mark.parametrize(
        ("killed", "effects"), [("send.begun", 0), ("send.answered", 1)], ids=["killed_before", "killed_after"]
    )
    def test_a_repetition_resolves_what_a_killed_process_left(
        self, world: World, hub_dsn: str, killed: str, effects: int
    ) -> None:
        """At once: it need not wait until the call of the dead process would have ended."""
        assert children.run(lambda: world.perform(store=Store(hub_dsn)), crash_at=killed) == children.KILLED
        assert (world.effects, world.attempt()) == (effects, (Outcome.OPEN, None))

        assert isinstance(world.perform(), Done)
        assert (world.effects, world.attempt()) == (1, (Outcome.DONE, Resolution.GET))


@each_action
def test_the_audit_trail_has_each_write_and_how_it_ended_but_no_input(world: World) -> None:
    """An input may be of a person."""
    world.fault({"status": 403})
    world.perform()
    world.perform()

    found = query(world.store, "SELECT actor, detail FROM audit_entry WHERE act = 'integration.act' ORDER BY 1")
    written = [
        ("airflow:otto", {"action": action_of(world.name), "key": "effect-1", "outcome": how})
        for how in ("refused", "done")
    ]
    assert found == (written if world.name in WRITES else [])


class RecordingRetailer(FakeRetailer):
    """Keeps the last request for data, and its answer."""

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        response = super().respond(request, route, fault)
        if route != "oauth":
            self.last = (request, response)
        return response


@pytest.mark.parametrize("name", CASES)
def test_the_vendors_contract_has_the_request_and_its_answer(
    name: str, vendor: dict[str, Any], contract: Registry[Any], store: Store
) -> None:
    """Path, method, scope, parameters, body and answer, as the vendor's OpenAPI document describes them."""
    with RecordingRetailer(seed=5, inventory=5, products=10, orders=5, customers=3, flaws=0) as shop:
        connect(store, shop)
        assert isinstance(World(shop, store, name).perform(), Done)
        request, response = shop.last

    operation = operation_of(vendor, request)
    assert set(request.query) <= {parameter["name"] for parameter in operation["parameters"]}
    if name in WRITES:
        assert faults_in(contract, schema_of(operation["requestBody"]), request.json()) == []
    assert faults_in(contract, schema_of(operation["responses"]["200"]), json.loads(response.body)) == []
    scope = operation["security"][0]["oauth_2_0"][0].partition(":")[0]
    assert scope == (ENDPOINTS[CASES[name].resource].scope if name in WRITES else scope)


def operation_of(vendor: dict[str, Any], request: Request) -> dict[str, Any]:
    """Find the operation that the vendor has at the request's path; the first whose parameters stand where ours do."""
    for template, path in vendor["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/=]+", re.escape(template))
        if re.fullmatch(pattern, request.path) and request.method.lower() in path:
            found: dict[str, Any] = path[request.method.lower()]
            return found
    raise AssertionError(f"the vendor has no {request.method} {request.path}")


def schema_of(message: dict[str, Any]) -> str:
    return str(message["content"]["application/json"]["schema"]["$ref"]).rpartition("/")[2]

"""
Each connector before a system of its own, for the one suite that all of them pass.

A new connector is one more class here, and its entry in CONNECTORS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import msgspec

from crossdock.connectors.commercetools import Api, Commercetools
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.model import Auth, Declaration
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.hubspot import HubSpot
from crossdock.core.instants import utc_text
from crossdock.http.config import ClientConfig
from crossdock.http.connection import Connection
from crossdock.http.model import Limits, Safeguards
from crossdock.http.ssrf_guard import Resolver
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.hubspot.crm import FakeCrm
from crossdock.sync.source import Axis, Cursor, FetchedPage, Range, Source
from tests.shop import free_port

#: Three tries with short waits between them, and a small cap. Each may take long: no test of theirs is of a time-out.
QUICK = Limits(timeout_s=60.0, connect_timeout_s=30.0, attempts=3, longest_wait_s=0.05, answer_bytes=1_000_000)
#: Anywhere in a message, a log or a traceback: a secret got out.
CANARY = "canary-45c48cce"
_NONE = ClientConfig()


#: What a system may honestly not be able to do. Everything else applies to every connector.
RULES = frozenset({"counts", "cuts", "newest", "unknown fields", "tokens"})


class Bench(Protocol):
    """A system with records, and the ways to reach it."""

    #: The host and port that the system listens on.
    host: str
    #: What the connector calls the records that are read here.
    resource: str

    #: Rules that do not apply, with the reason; the names are those of `RULES`.
    exempt: Mapping[str, str]

    def source(self, *, limits: Limits = QUICK, page_records: int = 100, config: ClientConfig | None = None) -> Source:
        """The connector, signed in with the right secret, which is CANARY."""
        ...

    def source_by_name(self, resolve: Resolver) -> Source:
        """The same at a name, `shop.example`, that *resolve* answers for."""
        ...

    def source_with_wrong_secret(self) -> Source: ...

    def source_of_dead_host(self) -> Source: ...

    def source_of_page(self, url: str) -> Source:
        """The connector without credentials at *url*, which gives one response to every request."""
        ...

    def page_without_total(self) -> bytes:
        """The body of a page as the system never sends it."""
        ...

    def by_keys(self, keys: Sequence[str]) -> Range:
        """A range of named records."""
        ...

    def fault(self, *script: Any, repeat: bool = False) -> None:
        """What the next requests for data meet; see `crossdock.sandbox.engine.faults`."""
        ...

    def token_fault(self, *script: Any, repeat: bool = False) -> None: ...

    def revoke_tokens(self) -> None: ...

    def tokens(self) -> list[str]:
        """The tokens that were given out and are alive."""
        ...

    def data_requests(self) -> int:
        """How many requests for data arrived."""
        ...

    def token_requests(self) -> int: ...

    def was_left_early(self) -> bool:
        """True if the newest request's client left before half of its answer, which takes a minute or more, was sent."""
        ...

    def ids(self) -> list[str]:
        """Of all records in the system, sorted."""
        ...

    def change(self, count: int, *, at: datetime | None = None) -> list[str]:
        """Change *count* records, one after the other or all at one instant; return their ids."""
        ...

    def add_field(self) -> None:
        """Add an unknown field to each record."""
        ...

    def put(self, key: str, text: str) -> None:
        """The record's free text, whatever the system calls it."""
        ...

    def delete(self, key: str) -> None: ...

    def spoil(self, key: str) -> None:
        """The record lacks what each must have."""
        ...

    def ids_on(self, page: FetchedPage) -> list[str]: ...

    def texts_on(self, page: FetchedPage) -> dict[str, str]:
        """By id, what `put` has put."""
        ...


class Connector(Protocol):
    name: str
    #: That of its manifest, whose quality the suite is evidence of.
    kind: str

    def bench(self, records: int = 40) -> AbstractContextManager[Bench]: ...


class _Kind(NamedTuple):
    """How the shop's records of one kind are changed."""

    #: Where they have free text.
    text: str
    #: What each must have.
    needed: str
    change: Mapping[str, Any]


_KINDS = {
    "inventory": _Kind("key", "quantityOnStock", {"quantityOnStock": 4711}),
    "orders": _Kind("customerEmail", "totalPrice", {"country": "NZ"}),
}


class _ShopBench:
    """The sandbox with one kind of records, whichever connector reads it."""

    def __init__(self, shop: FakeRetailer, resource: str, api: Api) -> None:
        self._shop, self._api, self.resource = shop, api, resource
        names_its_fields = {"unknown fields": "it names the fields that it reads, so no other ever comes"}
        self.exempt: Mapping[str, str] = names_its_fields if api is Api.GRAPHQL else {}
        self.host = shop.url.removeprefix("http://")
        self._kind = _KINDS[resource]

    def page_without_total(self) -> bytes:
        page: dict[str, Any] = {"limit": 1, "offset": 0, "count": 0, "results": []}
        return json.dumps(page if self._api is Api.REST else {"data": {"page": page}}).encode()

    def fault(self, *script: Any, repeat: bool = False) -> None:
        self._shop.faults.put(self.resource, list(script), repeat=repeat)

    def token_fault(self, *script: Any, repeat: bool = False) -> None:
        self._shop.faults.put("oauth", list(script), repeat=repeat)

    def revoke_tokens(self) -> None:
        self._shop.tokens.revoke_all()

    def tokens(self) -> list[str]:
        return list(self._shop.tokens._expiries)

    def data_requests(self) -> int:
        return sum(entry.path.endswith((f"/{self.resource}", "/graphql")) for entry in self._shop.requests)

    def token_requests(self) -> int:
        return sum(entry.path == "/oauth/token" for entry in self._shop.requests)

    def was_left_early(self) -> bool:
        answered_ms = self._shop.requests.all()[-1].duration_ms
        return answered_ms is None or answered_ms < 30_000

    def ids(self) -> list[str]:
        return self._shop.state.collection(self.resource).ids()

    def change(self, count: int, *, at: datetime | None = None) -> list[str]:
        changed = self.ids()[-count:]
        for key in changed:
            self._change(key, **self._kind.change, at=utc_text(at) if at else None)
        return changed

    def add_field(self) -> None:
        for key in self.ids():
            self._change(key, shelfLife={"days": [1, 2.5, None]})

    def put(self, key: str, text: str) -> None:
        self._shop.state.change(self.resource, key, lambda row: row.update({self._kind.text: text}))

    def delete(self, key: str) -> None:
        self._shop.state.delete(self.resource, key, self._shop.state.get(self.resource, key).document["version"])

    def spoil(self, key: str) -> None:
        self._shop.state.change(self.resource, key, lambda row: row.pop(self._kind.needed))

    def texts_on(self, page: FetchedPage) -> dict[str, str]:
        return {row["id"]: row[self._kind.text] for row in json.loads(page.body)["results"] if self._kind.text in row}

    def ids_on(self, page: FetchedPage) -> list[str]:
        return [row["id"] for row in json.loads(page.body)["results"]]

    def _change(self, key: str, *, at: str | None = None, **fields: Any) -> None:
        self._shop.state.change(self.resource, key, lambda row: row.update(fields), at=at)


class _CommercetoolsBench(_ShopBench):
    def __init__(self, shop: FakeRetailer, api: Api) -> None:
        super().__init__(shop, "inventory", api)

    def source(
        self, *, limits: Limits = QUICK, page_records: int = 100, config: ClientConfig | None = None
    ) -> Commercetools:
        return self._signed_in(self._shop.url, CANARY, limits=limits, page_records=page_records, config=config)

    def source_by_name(self, resolve: Resolver) -> Commercetools:
        return self._signed_in(f"http://shop.example:{self._shop.port}", CANARY, config=ClientConfig(resolve=resolve))

    def source_with_wrong_secret(self) -> Commercetools:
        return self._signed_in(self._shop.url, "guess-" + CANARY)

    def source_of_dead_host(self) -> Commercetools:
        return self._signed_in(f"http://127.0.0.1:{free_port()}", CANARY)

    def source_of_page(self, url: str) -> Commercetools:
        return Commercetools(url, self._shop.project, limits=QUICK, api=self._api)

    def by_keys(self, keys: Sequence[str]) -> Range:
        return Range(range_no=0, axis=Axis.KEYS, field="sku", keys=tuple(keys))

    def _signed_in(self, url: str, secret: str, **options: Any) -> Commercetools:
        return Commercetools.signed_in(
            url,
            self._shop.project,
            client_id=self._shop.client_id,
            secret=secret,
            scope=f"view_products:{self._shop.project}",
            **{"limits": QUICK, "api": self._api, **options},
        )


class CommercetoolsConnector:
    kind = "commercetools"

    def __init__(self, api: Api) -> None:
        self.name = f"commercetools over {api}"
        self._api = api

    @contextmanager
    def bench(self, records: int = 40) -> Iterator[_CommercetoolsBench]:
        size = {"inventory": records, "products": 0, "orders": 0, "customers": 0, "flaws": 0}
        with FakeRetailer(seed=7, client_secret=CANARY, **size) as shop:
            yield _CommercetoolsBench(shop, self._api)


class _DeclaredBench(_ShopBench):
    """A worked example of a declaration before the sandbox: its REST list of stock, or its GraphQL list of orders."""

    def __init__(self, shop: FakeRetailer, declaration: Declaration, resource: str) -> None:
        super().__init__(shop, resource, Api.GRAPHQL if declaration.read.graphql else Api.REST)
        self._declaration = declaration
        self.exempt = {
            **self.exempt,
            "counts": "no declaration says how to count",
            "cuts": "no declaration says how to cut a list, so it is read in one range",
            "newest": "a declared list is read without an end, whatever its records are dated with",
        }

    def source(
        self, *, limits: Limits = QUICK, page_records: int = 100, config: ClientConfig | None = None
    ) -> DeclaredSource:
        return self._declared(
            self._shop.url,
            CANARY,
            limits=limits,
            page_records=page_records,
            safeguards=(config or _NONE).safeguards,
        )

    def source_by_name(self, resolve: Resolver) -> DeclaredSource:
        return self._declared(f"http://shop.example:{self._shop.port}", CANARY, networks=(), resolve=resolve)

    def source_with_wrong_secret(self) -> DeclaredSource:
        return self._declared(self._shop.url, "guess-" + CANARY)

    def source_of_dead_host(self) -> DeclaredSource:
        return self._declared(f"http://127.0.0.1:{free_port()}", CANARY)

    def source_of_page(self, url: str) -> DeclaredSource:
        return self._declared(url, CANARY, auth=Auth())

    def by_keys(self, keys: Sequence[str]) -> Range:
        return Range(range_no=0, axis=Axis.KEYS, field=self._declaration.identity.key, keys=tuple(keys))

    def _declared(
        self,
        url: str,
        secret: str,
        *,
        limits: Limits = QUICK,
        page_records: int = 100,
        safeguards: Safeguards | None = None,
        networks: Sequence[str] = ("127.0.0.0/8",),
        resolve: Resolver | None = None,
        auth: Auth | None = None,
    ) -> DeclaredSource:
        replace, read = msgspec.structs.replace, self._declaration.read
        sized = replace(read, paging=replace(read.paging, size=page_records))
        connection = Connection(
            connection_id=self._declaration.name,
            conn_type="declared",
            host=url,
            login=self._shop.client_id,
            password=secret,
            extra={"allowed_networks": list(networks)},
        )
        declaration = replace(self._declaration, read=sized, auth=auth or self._declaration.auth)
        return DeclaredSource(
            declaration, connection, lambda _: safeguards or Safeguards(), limits=limits, resolve=resolve
        )


class DeclaredConnector:
    """The worked example of that name in `dags/integrations/examples`, which reads *resource*."""

    kind = "declared"

    def __init__(self, example: str, resource: str) -> None:
        self._declaration, self._resource = files.read(files.folder() / "examples" / f"{example}.yaml"), resource
        self.name = f"declared: {example}"

    @contextmanager
    def bench(self, records: int = 40) -> Iterator[_DeclaredBench]:
        size = {"inventory": 0, "products": 20, "orders": 0, "customers": 5, "flaws": 0, self._resource: records}
        with FakeRetailer(seed=7, client_secret=CANARY, **size) as shop:
            yield _DeclaredBench(shop, self._declaration, self._resource)


class _HubSpotBench:
    """The contacts of a simulated CRM."""

    resource = "contacts"

    def __init__(self, crm: FakeCrm) -> None:
        self._crm = crm
        self.host = crm.url.removeprefix("http://")
        self.exempt: Mapping[str, str] = {
            "cuts": "the list has no ranges of IDs, so it is read in one range",
            "unknown fields": "it names the properties that it reads, so no other ever comes",
            "tokens": "a private app's token is given once and never fetched",
        }

    def source(self, *, limits: Limits = QUICK, page_records: int = 100, config: ClientConfig | None = None) -> HubSpot:
        return HubSpot(self._crm.url, CANARY, limits=limits, page_records=page_records, config=config)

    def source_by_name(self, resolve: Resolver) -> HubSpot:
        url = f"http://shop.example:{self._crm.port}"
        return HubSpot(url, CANARY, limits=QUICK, config=ClientConfig(resolve=resolve))

    def source_with_wrong_secret(self) -> HubSpot:
        return HubSpot(self._crm.url, "guess-" + CANARY, limits=QUICK)

    def source_of_dead_host(self) -> HubSpot:
        return HubSpot(f"http://127.0.0.1:{free_port()}", CANARY, limits=QUICK)

    def source_of_page(self, url: str) -> HubSpot:
        return HubSpot(url, "none", limits=QUICK)

    def page_without_total(self) -> bytes:
        return b'{"results": []}'

    def by_keys(self, keys: Sequence[str]) -> Range:
        return Range(range_no=0, axis=Axis.KEYS, field="email", keys=tuple(keys))

    def fault(self, *script: Any, repeat: bool = False) -> None:
        self._crm.faults.put(self.resource, [_of_crm(entry) for entry in script], repeat=repeat)

    def token_fault(self, *script: Any, repeat: bool = False) -> None:  # noqa: ARG002  it has none
        raise AssertionError(self.exempt["tokens"])

    def revoke_tokens(self) -> None:
        raise AssertionError(self.exempt["tokens"])

    def tokens(self) -> list[str]:
        return []

    def data_requests(self) -> int:
        return len(self._crm.requests)

    def token_requests(self) -> int:
        return 0

    def was_left_early(self) -> bool:
        answered_ms = self._crm.requests.all()[-1].duration_ms
        return answered_ms is None or answered_ms < 30_000

    def ids(self) -> list[str]:
        return [contact.id for contact in self._crm.contacts]

    def change(self, count: int, *, at: datetime | None = None) -> list[str]:
        changed = self.ids()[-count:]
        for key in changed:
            self._crm.state.update(self._crm.state.get(key), {"phone": "4711"}, at=utc_text(at) if at else None)
        return changed

    def add_field(self) -> None:
        raise AssertionError(self.exempt["unknown fields"])

    def put(self, key: str, text: str) -> None:
        self._crm.state.update(self._crm.state.get(key), {"company": text})

    def delete(self, key: str) -> None:
        self._crm.state.remove(key)

    def spoil(self, key: str) -> None:
        self._crm.state.spoil(key)

    def texts_on(self, page: FetchedPage) -> dict[str, str]:
        return {row["id"]: row["properties"]["company"] for row in json.loads(page.body)["results"]}

    def ids_on(self, page: FetchedPage) -> list[str]:
        return [row["id"] for row in json.loads(page.body)["results"]]


def _of_crm(entry: Any) -> Any:
    """Write an entry for the shop as one for the CRM."""
    match entry:
        case {"mutate_during": {"stock_moves": count}}:
            return {"mutate_during": count}
        case {"late_update": {"seconds": seconds}}:
            return {"late_update": seconds}
    return entry


class HubSpotConnector:
    name = kind = "hubspot"

    @contextmanager
    def bench(self, records: int = 40) -> Iterator[_HubSpotBench]:
        # IDs of one length, so that their order is that of text, too.
        with FakeCrm(seed=7, token=CANARY, count=records, first_id=1_001) as crm:
            yield _HubSpotBench(crm)


#: Every connector. The suite runs for each.
CONNECTORS: list[Connector] = [
    *(CommercetoolsConnector(api) for api in Api),
    DeclaredConnector("sandbox_stock_rest", "inventory"),
    DeclaredConnector("sandbox_orders_graphql", "orders"),
    HubSpotConnector(),
]


def by_id(*cuts: str) -> list[Range]:
    """Everything, cut at *cuts*."""
    bounds = [None, *cuts, None]
    return [Range(range_no=no, axis=Axis.ID, low=low, high=high) for no, (low, high) in enumerate(pairwise(bounds))]


def by_time(low: datetime | None = None) -> Range:
    """What changed at or after *low*."""
    return Range(range_no=0, axis=Axis.TIME, low=low.isoformat() if low else None)


def pages(source: Source, resource: str, part: Range, after: Cursor | None = None) -> Iterator[FetchedPage]:
    """The pages of *part* that follow *after*, as an extract requests them; a source without an end fails here."""
    for _ in range(2_000):
        page = source.page(resource, part, after)
        yield page
        after = page.cursor or after
        if page.last:
            return
    raise AssertionError("2,000 pages and no end")

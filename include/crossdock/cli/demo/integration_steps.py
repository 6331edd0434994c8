"""The steps of the demo with a second source and a second shop. Both integrations are removed again afterwards."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import DemoFailed, expect, expect_in_hub
from crossdock.cli.demo.run import DemoRun, SyncRun, look_at, summary
from crossdock.cli.demo.second_system import LOOPBACK, remove_integration, second_system
from crossdock.client.hub import HubApi
from crossdock.commerce.customers.schema import Customer
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.core.ids import sync_dag
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.sync import records
from crossdock.sync.dataset import Schema

_SHOP = "commercetools"
_OUTLET = "demo_outlet"
_CRM = "demo_crm"
_CONTACTS = 250
_OUTLET_SIZE = {"inventory": 120, "products": 20, "orders": 10, "customers": 15}


class IntegrationSteps:
    """The steps with integrations that are added while the hub runs."""

    def __init__(self, run: DemoRun, store: Store) -> None:
        self._run, self._store = run, store
        self._api = run.stack.api()
        self._hub = HubApi(self._api)

    def two_sources(self, bar: Bar) -> str:
        """Sync customers from the shop and from a CRM over HTTP, and compare both with what their sources have."""
        token = secrets.token_hex(16)
        with (
            second_system("hubspot", ["--contacts", str(_CONTACTS)], {"SANDBOX_CRM_TOKEN": token}) as crm,
            _declared(_CRM, "crm_contacts_rest.yaml"),
            self._integration(
                {
                    "id": _CRM,
                    "kind": "declared",
                    "settings": {"base_url": crm.url, "allowed_networks": LOOPBACK},
                    "credentials": {"secret": token},
                },
                ["customers"],
                bar,
            ),
        ):
            streams = [f"{_SHOP}.customers", f"{_CRM}.customers"]
            runs = self._run.sync_all([(stream, {"full": True}) for stream in streams], bar)
            of_crm, of_shop = runs[f"{_CRM}.customers"], runs[f"{_SHOP}.customers"]
            self._expect_whole(of_crm, _CONTACTS, Customer.schema, _CRM)
            self._expect_whole(of_shop, of_shop["counts"]["read"], Customer.schema, _SHOP)
            self._expect_personal_data_masked()
        return "; ".join(f"{stream}: {summary(run)}" for stream, run in runs.items())

    def two_shops(self, bar: Bar) -> str:
        """Sync a second project of the same vendor beside the first: streams, DAGs and records of its own."""
        credential = secrets.token_hex(16)
        size = [f"--{name}={count}" for name, count in _OUTLET_SIZE.items()]
        arguments = ["--project", "outlet", "--client-id", "outlet", "--seed", "9", "--flaws", "0", *size]
        with (
            second_system(_SHOP, arguments, {"SANDBOX_CLIENT_SECRET": credential}) as outlet,
            self._integration(
                {
                    "id": _OUTLET,
                    "kind": _SHOP,
                    "settings": {"base_url": outlet.url, "project": "outlet", "allowed_networks": LOOPBACK},
                    "credentials": {"client_id": "outlet", "client_secret": credential},
                },
                ["inventory"],
                bar,
            ),
        ):
            of_outlet, of_shop = f"{_OUTLET}.inventory", f"{_SHOP}.inventory"
            runs = self._run.sync_all([(of_outlet, {"full": True}), (of_shop, {})], bar)
            self._expect_whole(runs[of_outlet], _OUTLET_SIZE["inventory"], StockLevel.schema, _OUTLET)
            moved = outlet.live(stock_moves=5)["inventory"]
            delta = self._run.sync(of_outlet, {}, bar)
            expect_in_hub(self._store, StockLevel.schema, _OUTLET, moved, look_at(delta))
            return (
                f"{of_outlet}: {summary(runs[of_outlet])}; {of_shop} beside it: {summary(runs[of_shop])}; "
                f"then {len(moved)} changes in the outlet alone: {summary(delta)}"
            )

    def _expect_whole(self, run: SyncRun, at_source: int, schema: Schema, integration: str) -> None:
        counts = run["counts"]
        expect(run["balanced"], f"{counts} does not add up", look_at(run))
        expect(
            counts["read"] == at_source, f"read {counts['read']} of {at_source} records of {integration}", look_at(run)
        )
        with self._store.transaction() as work:
            in_hub = len(records.versions(work, schema, integration))
        accepted = counts["read"] - counts["rejected"]
        expect(in_hub >= accepted, f"the hub has {in_hub} of {accepted} records of {integration}", look_at(run))

    def _expect_personal_data_masked(self) -> None:
        """Check that a viewer sees that a customer is there, and neither name nor address."""
        viewer = HubApi(self._run.stack.api("vera"))
        with self._store.transaction() as work:
            row = records.any_row(work, Customer.schema, _CRM)
        if row is None:
            raise DemoFailed("the hub has no customer of the CRM")
        seen = str(viewer.get(path_of("records", f"{_CRM}.customers"), key=row["email"]).document)
        expect(str(row["last_name"]) not in seen, "a viewer sees a customer's last name")

    @contextmanager
    def _integration(self, added: dict[str, Any], datasets: Sequence[str], bar: Bar) -> Iterator[None]:
        """Add an integration and wait for its DAGs; remove it when the block ends."""
        remove_integration(self._hub, added["id"])  # one that an interrupted demo left
        bar.update(f"adding {added['id']}")
        self._hub.post("/integrations", added)
        try:
            for stream in (f"{integration}.{dataset}" for integration in (added["id"], _SHOP) for dataset in datasets):
                bar.update(f"waiting for the DAG of {stream}")
                self._api.wait_for_dag(sync_dag(stream))
                self._api.unpause(sync_dag(stream))
            yield
        finally:
            remove_integration(self._hub, added["id"])


@contextmanager
def _declared(name: str, example: str) -> Iterator[None]:
    """Put the example into the folder of declarations under *name*, as a person would; remove it when the block ends."""
    from crossdock.connectors.declarative.files import folder  # noqa: PLC0415  loads YAML and JMESPath

    path: Path = folder() / f"{name}.yaml"
    shutil.copyfile(folder() / "examples" / example, path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

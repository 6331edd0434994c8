"""The fake retailer: its data, tokens and routes as one simulated system."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from crossdock.sandbox.commercetools import control, problems, routes
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.faults import FAULT_KINDS
from crossdock.sandbox.commercetools.problems import VendorError
from crossdock.sandbox.commercetools.simulation import Simulation, late_update, simulate
from crossdock.sandbox.commercetools.state import RetailerState, Size
from crossdock.sandbox.commercetools.tokens import Tokens
from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.journal import Journal
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.problems import CannotServeError, Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem

_SIZES = asdict(Size())


class FakeRetailer(SimulatedSystem):
    """
    An offline retailer; as a context manager it listens until the block ends.

    `with FakeRetailer(seed=7, inventory=1000) as shop:` gives `shop.url`, and tests reach inside: `shop.state`,
    `shop.faults`, `shop.requests`, `shop.tokens`, `shop.simulation`. `FakeRetailer(dataset=Path("lines.parquet"))`
    serves the real shop of that file.
    """

    fault_routes = ("oauth", *routes.ENDPOINTS)
    fault_kinds = FAULT_KINDS
    number_fields = ("quantityOnStock", "centAmount", "version")
    empty_page: ClassVar[tuple[bytes, bytes]] = (b'{"limit":500,"offset":0,"count":0,"total":0,"results":[', b"]}")

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        project: str = "demo",
        client_id: str = "sandbox",
        client_secret: str = "sandbox",  # noqa: S107 - the sandbox's own; the command takes it from the environment
        dataset: Path | None = None,
        report: Report = lambda _sentence: None,
        journal: Path | None = None,
        **size: Any,
    ) -> None:
        """
        Generate the data, or read it from a file, and take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            project: The project's key, the first part of every path.
            client_id: The client that `/oauth/token` accepts.
            client_secret: Its secret.
            dataset: A parquet file with the lines of a shop's invoices, to serve in place of generated data.
            report: Receives a sentence now and then while that file is read.
            journal: A file for the changes, so that a restarted retailer continues from there.
            size: See `state.Size`: seed, inventory, products, orders, customers, flaws; with a dataset only seed.

        Raises:
            OSError: the file does not exist, or the port is taken.
            DatasetRefusedError: the file cannot be served whole.
            CannotServeError: a size was given together with a dataset.

        """
        unused = sorted(size.keys() - {"seed"})
        if dataset is not None and unused:
            raise CannotServeError(f"The size comes from the dataset; remove {', '.join(unused)}.")
        self.project = project
        self.client_id = client_id
        self.client_secret = client_secret
        self.dataset = None if dataset is None else Dataset.read(dataset, report)
        self.state = RetailerState(Size(**size), self.dataset)
        self.tokens = Tokens(project, client_id, client_secret)
        self.simulation = Simulation(lambda: self.state)
        #: The last page that each path returned, for the fault that returns it again.
        self._last_pages: dict[str, Response] = {}
        self._journal = None if journal is None else Journal(journal, self._identity())
        if self._journal is not None:
            self._journal.attach(self.state.collections)
        super().__init__(port=port, host=host)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--project", default="demo")
        parser.add_argument("--client-id", default="sandbox", help="its secret comes from SANDBOX_CLIENT_SECRET")
        parser.add_argument("--dataset", type=Path, help="a parquet file of invoice lines, in place of generated data")
        parser.add_argument("--journal", type=Path, help="a file for changes, so that a restart continues from there")
        for name, default in _SIZES.items():
            # Absent if it is not given: a dataset takes no sizes, and a default is not a request.
            parser.add_argument(f"--{name}", type=type(default), default=argparse.SUPPRESS, help=f"default {default}")
        options = vars(parser.parse_args(arguments))
        sizes = sorted(options.keys() & _SIZES.keys() - {"seed"})
        if options["dataset"] is not None and sizes:
            parser.error(f"--{sizes[0]} cannot be combined with --dataset, which has its own size")
        del options["system"]
        secret = os.environ.get("SANDBOX_CLIENT_SECRET", "sandbox")
        return cls(client_secret=secret, report=report, **options)

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        if route == "oauth":
            return self._oauth(request)
        response = self._listed(request, route, fault)
        date = format_datetime(self.state.clock.read(), usegmt=True)
        return replace(response, headers={**response.headers, "Date": date})

    def _listed(self, request: Request, route: str, fault: Fault) -> Response:
        routes.refuse_without_scope(request, self.project, self.tokens.check(request))
        self._change_data(route, fault)
        previous = self._last_pages.get(request.path)
        if fault.kind == "duplicate_page" and previous is not None:
            return previous
        response = routes.handle(self.state, self.project, request, _visible_share(fault))
        if routes.is_list(request):
            self._last_pages[request.path] = response
        return response

    def route_of(self, request: Request) -> str:
        return routes.route_of(request)

    def problem_of(self, status: int) -> Problem:
        return problems.of_status(status)

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], dict[str, Any]]]:
        return control.routes(self)

    def describe(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "dataset": None if self.dataset is None else self.dataset.name,
            "size": asdict(self.state.size),
            "rows": {name: len(collection) for name, collection in self.state.collections.items()},
            "requests": len(self.requests),
            "life": self.simulation.running,
            "clock_offset_s": self.state.clock.offset_s,
            "tokens": self.tokens.alive(),
        }

    def stop(self) -> None:
        self.simulation.stop()
        super().stop()

    def reset(self, size: Size) -> None:
        """Start anew with generated data, or with the dataset's rows as they were read. Tokens stay valid."""
        self.simulation.stop()
        self.state = RetailerState(size, self.dataset)
        if self._journal is not None:
            self._journal.restart(self.state.collections, self._identity())
        self.faults.clear()
        self.requests.clear()
        self._last_pages.clear()

    def _identity(self) -> dict[str, Any]:
        """Identify the data that a journal's changes belong to."""
        return {"shop": asdict(self.state.size), "dataset": self.dataset.name if self.dataset else None}

    def _oauth(self, request: Request) -> Response:
        if (request.method, request.parts) != ("POST", ("oauth", "token")):
            raise VendorError(404, f"URI not found: {request.path}", "ResourceNotFound")
        return self.tokens.grant(request)

    def _change_data(self, route: str, fault: Fault) -> None:
        """Change what *fault* wants changed just before the request is answered."""
        if fault.kind == "mutate_during":
            simulate(self.state, **fault.value)
        elif fault.kind == "late_update" and route in routes.ENDPOINTS:
            late_update(self.state, routes.ENDPOINTS[route].entity.name, fault.value["seconds"])


def _visible_share(fault: Fault) -> float | None:
    """Compute the share of the rows that a list may show; None means all."""
    if fault.kind == "empty":
        return 0.0
    return float(fault.value) if fault.kind == "shrink" else None

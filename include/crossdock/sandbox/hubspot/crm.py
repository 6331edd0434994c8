"""The simulated CRM: the routes of HubSpot's API for CRM objects (v3), as far as they are about contacts."""

import argparse
import hmac
import os
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from crossdock.sandbox.engine.faults import Check, Fault, check_true, is_number
from crossdock.sandbox.engine.messages import Request, Response, json_response, problem_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem
from crossdock.sandbox.hubspot import problems
from crossdock.sandbox.hubspot.batches import BATCHES
from crossdock.sandbox.hubspot.contacts import Contact
from crossdock.sandbox.hubspot.problems import CrmProblem, invalid, not_found
from crossdock.sandbox.hubspot.properties import DEFAULT, PROPERTIES
from crossdock.sandbox.hubspot.search import search
from crossdock.sandbox.hubspot.state import ContactState

_CONTACTS = ("crm", "v3", "objects", "contacts")
_PROPERTIES = ("crm", "v3", "properties", "contacts")
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 100
#: What a list understands. Another parameter is refused: to know it and not its effect would answer wrongly.
_PARAMETERS = {"limit", "after", "properties", "archived"}
_PARAMETERS_OF_ONE = {"properties", "idProperty", "archived"}
#: The vendor's limits of a private app, as its headers tell them.
_LIMITS = {
    "X-HubSpot-RateLimit-Daily": "250000",
    "X-HubSpot-RateLimit-Daily-Remaining": "249999",
    "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
    "X-HubSpot-RateLimit-Max": "100",
    "X-HubSpot-RateLimit-Remaining": "99",
}


def _check_policy(value: Any) -> str | None:
    return None if value in ("DAILY", "TEN_SECONDLY_ROLLING") else '"DAILY" or "TEN_SECONDLY_ROLLING"'


def _check_count(value: Any) -> str | None:
    return None if type(value) is int and value >= 0 else "a whole number"


class FakeCrm(SimulatedSystem):
    """An offline CRM; as a context manager it listens until the block ends."""

    fault_routes = ("contacts", "properties")
    fault_kinds: ClassVar[Mapping[str, Check]] = {
        #: A call beyond a limit; the value is the policy.
        "throttled": _check_policy,
        #: That many contacts change before the answer.
        "mutate_during": _check_count,
        #: A contact changes, that many seconds ago.
        "late_update": lambda value: None if is_number(value) else "a number of seconds",
        "duplicate_page": check_true,
    }
    number_fields = ("total",)
    empty_page: ClassVar[tuple[bytes, bytes]] = (b'{"total":0,"results":[', b"]}")

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        token: str = "sandbox",  # noqa: S107 - the sandbox's own; the command takes it from the environment
        seed: int = 1,
        count: int = 250,
        first_id: int = 51,
    ) -> None:
        """
        Generate the contacts and take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            token: The private app's token, which every request carries.
            seed: The same seed gives the same contacts.
            count: How many contacts there are.
            first_id: The ID of the first contact; the others' are higher.

        Raises:
            OSError: the port is taken.

        """
        self.token = token
        self.state = ContactState(seed, count, first_id)
        self._random = random.Random(seed)
        #: The last page, for the fault that returns it again.
        self._last_page: Response | None = None
        super().__init__(port=port, host=host)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--contacts", type=int, default=250, help="its token comes from SANDBOX_CRM_TOKEN")
        parser.add_argument(
            "--search-lag-s", type=float, default=2.0, help="how late a search sees a change; default 2"
        )
        options = parser.parse_args(arguments)
        report(f"generating {options.contacts} contacts")
        crm = cls(
            port=options.port,
            host=options.host,
            token=os.environ.get("SANDBOX_CRM_TOKEN", "sandbox"),
            seed=options.seed,
            count=options.contacts,
        )
        crm.state.search_lag_s = options.search_lag_s
        return crm

    @property
    def contacts(self) -> list[Contact]:
        """The contacts in the order of their IDs."""
        return self.state.all()

    def route_of(self, request: Request) -> str:
        routes: dict[tuple[str, ...], str] = {_CONTACTS: "contacts", _PROPERTIES: "properties"}
        return routes.get(request.parts[:4]) or super().route_of(request)

    def problem_of(self, status: int) -> Problem:
        return problems.of_status(status)

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        self._check_token(request)
        if fault.kind == "throttled":
            return _limited(problem_response(problems.throttled(str(fault.value))), str(fault.value))
        if route == "properties":
            return self._property(request)
        if request.parts[:4] != _CONTACTS:
            raise _no_route(request)
        self._change_data(fault)
        if fault.kind == "duplicate_page" and self._last_page is not None:
            return self._last_page
        answer = self._answer_for(request)
        return replace(answer, headers={**answer.headers, **_LIMITS})

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "rows": {"contacts": len(self.state.all())}}

    def _answer_for(self, request: Request) -> Response:
        if request.method == "POST":
            return self._posted(request)
        match request.method, request.parts[4:]:
            case "GET", ():
                return self._paged(self._page(request))
            case "GET", (contact_id,):
                found = self.state.get(contact_id, _id_property(request))
                return json_response(200, found.document(_properties(request)))
            case "PATCH", (contact_id,):
                found = self.state.get(contact_id, _id_property(request))
                return json_response(200, self.state.update(found, _values(request)).document(_shown(request)))
        raise _no_route(request)

    def _posted(self, request: Request) -> Response:
        match request.parts[4:]:
            case ():
                return json_response(201, self.state.create(_values(request)).document(_shown(request)))
            case ("search",):
                return self._paged(search(self.state, request.json()))
            case ("merge",):
                return json_response(200, self._merged(request.json()))
            case ("batch", call) if call in BATCHES:
                return BATCHES[call](self.state, request.json())
        raise _no_route(request)

    def _check_token(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise CrmProblem(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.")

    def _change_data(self, fault: Fault) -> None:
        """Change what *fault* wants changed just before the request is answered."""
        contacts = self.state.all()
        at = self.state.clock.ago(fault.value) if fault.kind == "late_update" else None
        count = {"mutate_during": fault.value, "late_update": 1}.get(fault.kind, 0)
        for contact in self._random.sample(contacts, min(count, len(contacts))):
            self.state.update(contact, {"phone": str(self._random.randrange(10**6))}, at=at)

    def _property(self, request: Request) -> Response:
        match request.method, request.parts[4:]:
            case "GET", (name,) if name in PROPERTIES:
                return json_response(200, PROPERTIES[name].document())
            case "GET", (_,):
                raise not_found("Property does not exist")
        raise _no_route(request)

    def _merged(self, document: dict[str, Any]) -> dict[str, Any]:
        primary, other = (self.state.get(str(document.get(name))) for name in ("primaryObjectId", "objectIdToMerge"))
        return self.state.merge(primary, other).document()

    def _paged(self, document: dict[str, Any]) -> Response:
        self._last_page = json_response(200, document)
        return self._last_page

    def _page(self, request: Request) -> dict[str, Any]:
        _refuse_unknown(request, _PARAMETERS)
        if _one(request, "archived", "false") == "true":
            return {"results": []}
        limit, after = _number(request, "limit", _DEFAULT_LIMIT), _number(request, "after", 0)
        if not 1 <= limit <= _MAX_LIMIT:
            raise invalid(f"limit must be between 1 and {_MAX_LIMIT}, not {limit}")
        found = [contact for contact in self.state.all() if int(contact.id) > after]
        document: dict[str, Any] = {"results": [contact.document(_properties(request)) for contact in found[:limit]]}
        if len(found) > limit:
            last = found[limit - 1].id
            document["paging"] = {"next": {"after": last, "link": f"{self.url}{request.path}?after={last}"}}
        return document


def _limited(response: Response, policy: str) -> Response:
    used = "X-HubSpot-RateLimit-Daily-Remaining" if policy == "DAILY" else "X-HubSpot-RateLimit-Remaining"
    return replace(response, headers={**response.headers, **_LIMITS, used: "0"})


def _no_route(request: Request) -> CrmProblem:
    return CrmProblem(404, "OBJECT_NOT_FOUND", f"No route {request.method} {request.path}")


def _values(request: Request) -> dict[str, Any]:
    values = request.json().get("properties")
    if not isinstance(values, dict):
        raise invalid("Invalid input JSON: properties must be an object")
    return values


def _shown(request: Request) -> tuple[str, ...]:
    """Name the properties that the answer to a write has: those that were written."""
    return tuple(_values(request))


def _id_property(request: Request) -> str | None:
    _refuse_unknown(request, _PARAMETERS_OF_ONE)
    return _one(request, "idProperty", "") or None


def _refuse_unknown(request: Request, known: set[str]) -> None:
    if unknown := sorted(request.query.keys() - known):
        raise invalid(f"The sandbox does not simulate the parameter {unknown[0]!r}")


def _properties(request: Request) -> tuple[str, ...]:
    """Read the names that a request asks for: several parameters, or one with commas."""
    given = ",".join(request.query.get("properties", []))
    return tuple(name.strip() for name in given.split(",") if name.strip()) or DEFAULT


def _one(request: Request, name: str, default: str) -> str:
    return (request.query.get(name) or [default])[-1]


def _number(request: Request, name: str, default: int) -> int:
    text = _one(request, name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise invalid(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)

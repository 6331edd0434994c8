"""The simulated CRM: lists and reads contacts as HubSpot's API for CRM objects (v3) does."""

import argparse
import hmac
import os
import uuid
from typing import Any, Self

from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem
from crossdock.sandbox.hubspot.contacts import ALWAYS, DEFAULT, Contact, contacts

_CONTACTS = ("crm", "v3", "objects", "contacts")
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 100
#: What a list understands. Another parameter is refused: to know it and not its effect would answer wrongly.
_PARAMETERS = {"limit", "after", "properties", "archived"}


class CrmProblem(Problem):
    """A refusal in the vendor's form."""

    def __init__(self, status: int, category: str, message: str) -> None:
        super().__init__(status, message, category)
        self.body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), "category": category}


class FakeCrm(SimulatedSystem):
    """An offline CRM; as a context manager it listens until the block ends."""

    fault_routes = ("contacts",)

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        token: str = "sandbox",  # noqa: S107 - the sandbox's own; the command takes it from the environment
        seed: int = 1,
        count: int = 250,
    ) -> None:
        """
        Generate the contacts and take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            token: The private app's token, which every request carries.
            seed: The same seed gives the same contacts.
            count: How many contacts there are.

        Raises:
            OSError: the port is taken.

        """
        self.token = token
        self.contacts = contacts(seed, count)
        super().__init__(port=port, host=host)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--contacts", type=int, default=250, help="its token comes from SANDBOX_CRM_TOKEN")
        options = parser.parse_args(arguments)
        report(f"generating {options.contacts} contacts")
        return cls(
            port=options.port,
            host=options.host,
            token=os.environ.get("SANDBOX_CRM_TOKEN", "sandbox"),
            seed=options.seed,
            count=options.contacts,
        )

    def route_of(self, request: Request) -> str:
        return "contacts" if request.parts[:4] == _CONTACTS else super().route_of(request)

    def problem_of(self, status: int) -> Problem:
        return CrmProblem(status, "FAULT", f"A fault script set the status {status}.")

    def respond(self, request: Request, route: str, fault: Fault) -> Response:  # noqa: ARG002 - no faults of its own
        self._check_token(request)
        match request.method, request.parts[:4], request.parts[4:]:
            case "GET", parts, () if parts == _CONTACTS:
                return json_response(200, self._page(request))
            case "GET", parts, (contact_id,) if parts == _CONTACTS:
                return json_response(200, _shown(self._find(contact_id), _properties(request)))
        raise CrmProblem(404, "OBJECT_NOT_FOUND", f"No route {request.method} {request.path}")

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "rows": {"contacts": len(self.contacts)}}

    def _check_token(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise CrmProblem(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid.")

    def _find(self, contact_id: str) -> Contact:
        for contact in self.contacts:
            if contact.id == contact_id:
                return contact
        raise CrmProblem(404, "OBJECT_NOT_FOUND", f"Object not found: {contact_id}")

    def _page(self, request: Request) -> dict[str, Any]:
        if unknown := sorted(request.query.keys() - _PARAMETERS):
            raise _invalid(f"The sandbox does not simulate the parameter {unknown[0]!r}")
        if _one(request, "archived", "false") == "true":
            return {"results": []}
        limit, after = _number(request, "limit", _DEFAULT_LIMIT), _number(request, "after", 0)
        if not 1 <= limit <= _MAX_LIMIT:
            raise _invalid(f"limit must be between 1 and {_MAX_LIMIT}, not {limit}")
        found = [contact for contact in self.contacts if int(contact.id) > after]
        document: dict[str, Any] = {"results": [_shown(contact, _properties(request)) for contact in found[:limit]]}
        if len(found) > limit:
            last = found[limit - 1].id
            document["paging"] = {"next": {"after": last, "link": f"{self.url}{request.path}?after={last}"}}
        return document


def _shown(contact: Contact, properties: tuple[str, ...]) -> dict[str, Any]:
    """Make the document of a contact. A property that it lacks is null, as at the vendor."""
    names = sorted({*ALWAYS, *properties})
    return {
        "id": contact.id,
        "properties": {name: contact.properties.get(name) or None for name in names},
        "createdAt": contact.created_at,
        "updatedAt": contact.updated_at,
        "archived": False,
    }


def _properties(request: Request) -> tuple[str, ...]:
    """Read the names that a request asks for: several parameters, or one with commas."""
    given = ",".join(request.query.get("properties", []))
    return tuple(name.strip() for name in given.split(",") if name.strip()) or DEFAULT


def _one(request: Request, name: str, default: str) -> str:
    return (request.query.get(name) or [default])[-1]


def _number(request: Request, name: str, default: int) -> int:
    text = _one(request, name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise _invalid(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


def _invalid(message: str) -> CrmProblem:
    return CrmProblem(400, "VALIDATION_ERROR", message)

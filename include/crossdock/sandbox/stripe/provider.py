"""The simulated payment provider: its routes over HTTP, with a secret key and idempotency keys."""

import argparse
import base64
import binascii
import hmac
import os
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import urlencode

from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.faults import Fault, is_number
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem
from crossdock.sandbox.stripe import control
from crossdock.sandbox.stripe.documents import API_VERSION, Json
from crossdock.sandbox.stripe.forms import read_form
from crossdock.sandbox.stripe.idempotency import IdempotencyKeys
from crossdock.sandbox.stripe.problems import StripeProblem, invalid
from crossdock.sandbox.stripe.routes import Routes
from crossdock.sandbox.stripe.state import ProviderState
from crossdock.sandbox.stripe.webhooks import WebhookSender

#: Method and path, with a star for an ID → the route's name for fault scripts.
_ROUTES = {
    ("POST", "payment_intents"): "create_payment_intent",
    ("POST", "payment_intents/*/confirm"): "confirm_payment_intent",
    ("POST", "payment_intents/*/capture"): "capture_payment_intent",
    ("POST", "payment_intents/*/cancel"): "cancel_payment_intent",
    ("GET", "payment_intents"): "list_payment_intents",
    ("GET", "payment_intents/*"): "retrieve_payment_intent",
    ("POST", "refunds"): "create_refund",
    ("GET", "refunds"): "list_refunds",
    ("GET", "refunds/*"): "retrieve_refund",
    ("GET", "charges"): "list_charges",
    ("GET", "charges/*"): "retrieve_charge",
    ("GET", "disputes/*"): "retrieve_dispute",
    ("GET", "events"): "list_events",
    ("GET", "events/*"): "retrieve_event",
}
_WRITES = {"create_payment_intent": Routes.create_intent, "create_refund": Routes.create_refund}
_WRITES_OF_ONE = {
    "confirm_payment_intent": Routes.confirm_intent,
    "capture_payment_intent": Routes.capture_intent,
    "cancel_payment_intent": Routes.cancel_intent,
}
_LISTS = {
    "list_payment_intents": Routes.intents,
    "list_refunds": Routes.refunds,
    "list_charges": Routes.charges,
    "list_events": Routes.events,
}
_OBJECTS: dict[str, tuple[str, Callable[[ProviderState], dict[str, Json]]]] = {
    "retrieve_payment_intent": ("payment_intent", lambda state: state.intents),
    "retrieve_refund": ("refund", lambda state: state.refunds),
    "retrieve_charge": ("charge", lambda state: state.charges),
    "retrieve_dispute": ("dispute", lambda state: state.disputes),
    "retrieve_event": ("event", lambda state: state.events),
}
_LONGEST_KEY = 255


class FakeStripe(SimulatedSystem):
    """An offline payment provider; as a context manager it listens until the block ends."""

    fault_routes = tuple(_ROUTES.values())
    fault_kinds = {  # noqa: RUF012  as the engine's
        # The provider's own error in the middle of its work, before or after the effect: its answer is kept for the key.
        "fails": lambda value: None if value in {"before", "after"} else '"before" or "after"',
        # The work takes so long, and its key is in use meanwhile.
        "busy_s": lambda value: None if is_number(value) and value >= 0 else "a number of at least 0",
    }
    number_fields = ("amount", "created")
    empty_page = (b'{"object":"list","url":"/","has_more":false,"data":[', b"]}")

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        key: str = "sk_test_sandbox",
        seed: int = 1,
        webhook_url: str | None = None,
        webhook_secret: str = "whsec_sandbox",  # noqa: S107 - the sandbox's own; the command takes it from the environment
    ) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            key: The secret key, which every request carries.
            seed: The same seed gives the same IDs.
            webhook_url: Where events are sent; None for nowhere.
            webhook_secret: What they are signed with.

        Raises:
            OSError: the port is taken.

        """
        super().__init__(port=port, host=host)
        self.key = key
        self.webhooks = WebhookSender(webhook_url, webhook_secret)
        self.state = ProviderState(seed, self.url, self.webhooks.send)
        self.keys = IdempotencyKeys()
        self._routes = Routes(self.state)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--seed", type=int, default=1, help="its key comes from SANDBOX_STRIPE_KEY")
        parser.add_argument("--webhook-url", help="where events are sent, signed with SANDBOX_STRIPE_WEBHOOK_SECRET")
        options = parser.parse_args(arguments)
        report("a payment provider without payments")
        return cls(
            port=options.port,
            host=options.host,
            key=os.environ.get("SANDBOX_STRIPE_KEY", "sk_test_sandbox"),
            seed=options.seed,
            webhook_url=options.webhook_url,
            webhook_secret=os.environ.get("SANDBOX_STRIPE_WEBHOOK_SECRET", "whsec_sandbox"),
        )

    def start(self) -> None:
        self.webhooks.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.webhooks.stop()

    def route_of(self, request: Request) -> str:
        return _ROUTES.get((request.method, _pattern(request)), super().route_of(request))

    def problem_of(self, status: int) -> Problem:
        kind = "invalid_request_error" if status < 500 else "api_error"  # noqa: PLR2004
        return StripeProblem(status, kind, f"A fault script set the status {status}.")

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], Json]]:
        return control.routes_of(self.state, self.keys, self.webhooks)

    def describe(self) -> dict[str, Any]:
        state = self.state
        with state.lock:
            rows = {"payment_intents": len(state.intents), "refunds": len(state.refunds), "events": len(state.events)}
        return {**super().describe(), "rows": rows}

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        self._check_key(request)
        if request.method == "GET":
            with self.state.lock:
                return _versioned(json_response(200, self._read(route, request)))
        if request.method != "POST" or route == "*":
            raise _no_route(request)
        return _versioned(self._write(request, route, fault))

    def _write(self, request: Request, route: str, fault: Fault) -> Response:
        form = read_form(request.body.decode("utf-8", "replace"))
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= _LONGEST_KEY:
            raise invalid("Invalid idempotency key: it is empty or too long.")

        def process() -> Response:
            if fault.kind == "busy_s":
                self.stopping.wait(fault.value)
            if fault.kind == "fails" and fault.value == "before":
                raise self.problem_of(500)
            with self.state.lock:
                answer = json_response(200, self._written(route, request, form))
            if fault.kind == "fails":
                raise self.problem_of(500)
            return answer

        return self.keys.answer(key, (request.path, form), process)

    def _written(self, route: str, request: Request, form: Json) -> Json:
        if route in _WRITES_OF_ONE:
            return _WRITES_OF_ONE[route](self._routes, request.parts[2], form)
        return _WRITES[route](self._routes, form)

    def _read(self, route: str, request: Request) -> Json:
        query = read_form(urlencode(request.query, doseq=True))
        if route in _LISTS:
            return _LISTS[route](self._routes, query)
        if route not in _OBJECTS:
            raise _no_route(request)
        what, objects_of = _OBJECTS[route]
        return self._routes.one(objects_of(self.state), what, request.parts[-1], query)

    def _check_key(self, request: Request) -> None:
        if not hmac.compare_digest(_given_key(request).encode(), self.key.encode()):
            raise StripeProblem(401, "invalid_request_error", "Invalid API Key provided.", kept=False)


def _given_key(request: Request) -> str:
    """Read the key: as a bearer token, or as the user of basic authentication."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return given
    try:
        return base64.b64decode(given).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _pattern(request: Request) -> str:
    """Write the path with a star in place of an ID."""
    match request.parts:
        case "v1", resource:
            return resource
        case "v1", resource, _:
            return f"{resource}/*"
        case "v1", resource, _, action:
            return f"{resource}/*/{action}"
    return ""


def _versioned(response: Response) -> Response:
    return Response(
        response.status, response.body, response.content_type, {**response.headers, "Stripe-Version": API_VERSION}
    )


def _no_route(request: Request) -> StripeProblem:
    message = f"Unrecognized request URL ({request.method}: {request.path[:200]})."
    return StripeProblem(404, "invalid_request_error", message, kept=False)

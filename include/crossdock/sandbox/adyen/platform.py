"""The simulated platform: payments and modifications as Adyen's Checkout API v71 answers them, with its idempotency keys."""

import argparse
import hmac
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from crossdock.sandbox.adyen import control
from crossdock.sandbox.adyen.faults import FAULT_KINDS
from crossdock.sandbox.adyen.problems import AdyenProblem, not_simulated
from crossdock.sandbox.adyen.state import Operation, Payment, State
from crossdock.sandbox.adyen.stored_methods import SHOPPER, STORED_METHODS
from crossdock.sandbox.adyen.webhooks import Outbox, Settings
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response, json_response, problem_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem

Json = dict[str, Any]

_VERSION = "v71"
_MODIFICATIONS = ("captures", "cancels", "refunds")
#: What a customer's browser brings back from an action.
_RESULTS = frozenset({"redirectResult", "threeDSResult"})
_LONGEST_KEY = 64
_LARGEST_VALUE = 10**15
#: What a request may have. Another field is refused: to accept it without its effect would answer wrongly.
_PAYMENT_FIELDS = frozenset(
    """
    merchantAccount amount reference paymentMethod shopperReference shopperInteraction recurringProcessingModel returnUrl
    additionalData channel
    """.split()  # noqa: SIM905  a list has a line for each
)
_MODIFICATION_FIELDS = {
    "captures": frozenset({"merchantAccount", "amount", "reference"}),
    "cancels": frozenset({"merchantAccount", "reference"}),
    "refunds": frozenset({"merchantAccount", "amount", "reference"}),
}


class FakeAdyen(SimulatedSystem):
    """An offline Adyen; as a context manager it listens until the block ends."""

    fault_routes = ("payments", "paymentMethods", "details", *_MODIFICATIONS)
    fault_kinds = FAULT_KINDS
    number_fields = ("value",)

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        api_key: str = "sandbox",
        hmac_key: str = "5a" * 32,
        merchant_account: str = "SandboxECOM",
        webhook_url: str | None = None,
        seed: int = 1,
    ) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            api_key: What every request carries in `x-API-key`.
            hmac_key: The hexadecimal key that signs webhooks.
            merchant_account: The only one that there is.
            webhook_url: Where outcomes are sent; None holds them until the control API says where.
            seed: The same seed draws the same references.

        Raises:
            OSError: the port is taken.
            ValueError: *hmac_key* is not hexadecimal.

        """
        bytes.fromhex(hmac_key)
        self.api_key, self.merchant_account = api_key, merchant_account
        self.outbox = Outbox(merchant_account, hmac_key, Settings(url=webhook_url))
        self.state = State(self.outbox.add, seed)
        #: Idempotency key → the answer; None while the first request with it is at work.
        self._answers: dict[str, Response | None] = {}
        self._keys_lock = threading.Lock()
        super().__init__(port=port, host=host)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same references")
        parser.add_argument("--webhook-url", help="where outcomes are sent; without it they are held")
        parser.add_argument(
            "--merchant-account",
            default="SandboxECOM",
            help="its API key comes from SANDBOX_ADYEN_API_KEY, the webhooks' key from SANDBOX_ADYEN_HMAC_KEY",
        )
        options = parser.parse_args(arguments)
        hmac_key = os.environ.get("SANDBOX_ADYEN_HMAC_KEY", "5a" * 32)
        try:
            bytes.fromhex(hmac_key)
        except ValueError:
            parser.error("SANDBOX_ADYEN_HMAC_KEY must be hexadecimal")
        report(f"stored payment methods of {SHOPPER}: {', '.join(STORED_METHODS)}")
        return cls(
            port=options.port,
            host=options.host,
            seed=options.seed,
            api_key=os.environ.get("SANDBOX_ADYEN_API_KEY", "sandbox"),
            hmac_key=hmac_key,
            merchant_account=options.merchant_account,
            webhook_url=options.webhook_url,
        )

    def start(self) -> None:
        super().start()
        self.outbox.start()

    def stop(self) -> None:
        self.outbox.stop()
        super().stop()

    def route_of(self, request: Request) -> str:
        last = request.parts[-1] if request.parts else ""
        return last if last in self.fault_routes else super().route_of(request)

    def problem_of(self, status: int) -> Problem:
        return AdyenProblem(status, "000", f"A fault script set the status {status}", "internal")

    def control_routes(self) -> Mapping[Any, Any]:
        return control.routes(self)

    def describe(self) -> Json:
        return {**super().describe(), "payments": len(self.state.payments), "ledger": len(self.state.ledger)}

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        self._check_api_key(request)
        if request.method != "POST" or request.parts[:1] != (_VERSION,):
            raise AdyenProblem(404, "000", f"No route {request.method} {request.path}", "internal")
        if route == "paymentMethods":
            self._check_account(request.json())
            return json_response(200, {"paymentMethods": [{"name": "Cards", "type": "scheme"}]})
        response = self._once(request)
        return self._at_work(int(fault.value)) if fault.kind == "at_work" else response

    def _once(self, request: Request) -> Response:
        """Answer once for each idempotency key: a repetition gets the first answer, whatever it was."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return self._answer_of(request)
        if len(key) > _LONGEST_KEY:
            raise AdyenProblem(422, "702", f"The idempotency key is longer than {_LONGEST_KEY} characters")
        with self._keys_lock:
            if key in self._answers:
                return self._answers[key] or self._at_work(409)
            self._answers[key] = None
        response = self._answer_of(request)
        response = replace(response, headers={**response.headers, "Idempotency-Key": key})
        with self._keys_lock:
            self._answers[key] = response
        return response

    def forget_keys(self) -> None:
        """Forget all keys, as the vendor does when their time is over."""
        with self._keys_lock:
            self._answers.clear()

    @staticmethod
    def _at_work(status: int) -> Response:
        problem = AdyenProblem(status, "704", "request already processed or in progress")
        return replace(problem_response(problem), headers={"transient-error": "true"})

    def _answer_of(self, request: Request) -> Response:
        try:
            match request.parts[1:]:
                case ("payments",):
                    return json_response(200, self._pay(request.json()))
                case ("payments", "details"):
                    return json_response(200, self._finish(request.json()))
                case ("payments", psp_reference, kind) if kind in _MODIFICATIONS:
                    return json_response(201, self._modify(kind, psp_reference, request.json()))
            raise AdyenProblem(404, "000", f"No route {request.method} {request.path}", "internal")
        except Problem as problem:
            return problem_response(problem)

    def _pay(self, body: Json) -> Json:
        self._check_account(body)
        _refuse_unknown(body, _PAYMENT_FIELDS)
        value, currency = _amount(body)
        if not body.get("reference"):
            raise AdyenProblem(422, "130", "Required field 'reference' is not provided.")
        if not body.get("returnUrl"):
            raise AdyenProblem(422, "14_030", "Return URL is missing.")
        method = body.get("paymentMethod")
        stored = method.get("storedPaymentMethodId") if isinstance(method, dict) else None
        if not isinstance(method, dict) or method.keys() - {"type", "storedPaymentMethodId"}:
            raise not_simulated("other payment methods than stored ones")
        if body.get("shopperReference") is None or stored not in STORED_METHODS:
            raise AdyenProblem(422, "803", "PaymentDetail not found")
        if body.get("additionalData") != {"manualCapture": "true"}:
            raise not_simulated("payments that are captured at once")
        return self._payment_document(self.state.pay(body["reference"], value, currency, STORED_METHODS[stored]))

    def _finish(self, body: Json) -> Json:
        """End a payment as the customer did: the result is the payment's reference, with `.refused` if the customer failed."""
        _refuse_unknown(body, frozenset({"details"}))
        details = body.get("details")
        if not isinstance(details, dict) or len(details) != 1 or not details.keys() <= _RESULTS:
            raise AdyenProblem(422, "000", f"Expected one of the details {', '.join(sorted(_RESULTS))}", "validation")
        (result,) = details.values()
        psp_reference, _, failed = str(result).partition(".")
        payment = self.state.finish(psp_reference, success=not failed)
        document: Json = {"pspReference": payment.psp_reference, "merchantReference": payment.reference}
        if failed:
            refused = {"refusalReason": "3D Not Authenticated", "refusalReasonCode": "11"}
            return document | {"resultCode": "Refused", **refused}
        amount = {"currency": payment.currency, "value": payment.value}
        return document | {"resultCode": "Authorised", "amount": amount}

    def _payment_document(self, payment: Payment) -> Json:
        result = payment.method.result_code
        document: Json = {"resultCode": result, "merchantReference": payment.reference}
        if result == "ChallengeShopper":
            # As in the vendor's example, the payment has no name yet.
            action = {"type": "threeDS2", "subtype": "challenge", "paymentMethodType": "scheme", "token": "eyJ0cyI6MX0"}
            return document | {"action": action}
        document["pspReference"] = payment.psp_reference
        if result == "RedirectShopper":
            url = f"{self.url}/redirect/{payment.psp_reference}"
            action = {"type": "redirect", "method": "GET", "paymentMethodType": "scheme", "url": url}
            return document | {"action": action}
        if payment.method.refusal:
            code, reason = payment.method.refusal
            return document | {"refusalReason": reason, "refusalReasonCode": code}
        return document | {"amount": {"currency": payment.currency, "value": payment.value}}

    def _modify(self, kind: str, psp_reference: str, body: Json) -> Json:
        self._check_account(body)
        _refuse_unknown(body, _MODIFICATION_FIELDS[kind])
        value, currency = (None, None) if kind == "cancels" else _amount(body)
        payment = self.state.find(psp_reference)
        if currency not in (None, payment.currency):
            raise AdyenProblem(422, "138", "Unsupported currency specified")
        return self._operation_document(self.state.modify(kind, psp_reference, body.get("reference", ""), value))

    def _operation_document(self, operation: Operation) -> Json:
        document: Json = {
            "merchantAccount": self.merchant_account,
            "paymentPspReference": operation.payment.psp_reference,
            "pspReference": operation.psp_reference,
            "reference": operation.reference,
            "status": "received",
        }
        if operation.kind == "cancels":
            return document
        return document | {"amount": {"currency": operation.payment.currency, "value": operation.value}}

    def _check_api_key(self, request: Request) -> None:
        given = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), self.api_key.encode()):
            raise AdyenProblem(401, "000", "HTTP Status Response - Unauthorized", "security")

    def _check_account(self, body: Json) -> None:
        if body.get("merchantAccount") != self.merchant_account:
            raise AdyenProblem(403, "901", "Invalid Merchant Account", "security")


def _refuse_unknown(body: Json, known: frozenset[str]) -> None:
    if unknown := sorted(body.keys() - known):
        raise not_simulated(f"the field {unknown[0]!r}")


def _amount(body: Json) -> tuple[int, str]:
    amount = body.get("amount")
    if not isinstance(amount, dict):
        raise AdyenProblem(422, "100", "No amount specified")
    value, currency = amount.get("value"), amount.get("currency")
    if type(value) is not int or not 0 < value < _LARGEST_VALUE:
        raise AdyenProblem(422, "137", "Invalid amount specified")
    if not isinstance(currency, str) or len(currency) != 3:  # noqa: PLR2004  as in ISO 4217
        raise AdyenProblem(422, "138", "Unsupported currency specified")
    return value, currency

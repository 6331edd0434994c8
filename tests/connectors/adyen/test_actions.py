"""The actions of Adyen on the sandbox: one effect under every fault, by the platform's own ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from referencing import Registry

from crossdock.connectors.adyen.refusals import TRY_OTHER
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Failed, InputInvalid, Refused, RefusedBy, Unknown
from crossdock.integrations.attempts.model import Outcome, Resolution
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.stored_methods import STORED_METHODS
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from tests.chaos import children
from tests.connectors.adyen.payments_of_a_shop import IMPATIENT, World, payment
from tests.shop import query
from tests.vendor_contract import faults_in

KIND = manifests()["adyen"]
AMOUNT = {"amount_minor": 1999, "currency": "EUR"}


def of_payment(world: World, **fields: Any) -> dict[str, Any]:
    """The input of an operation on a payment that was authorised before."""
    return {"payment_ref": world.done("authorise", payment())["payment_ref"], "reference": "order-4711-1", **fields}


def of_captured(world: World) -> dict[str, Any]:
    given = of_payment(world, **AMOUNT)
    world.done("capture", given, key="captured-before")
    return given


def of_waiting(world: World) -> dict[str, Any]:
    """What a customer brings back who has passed the challenge."""
    world.done("authorise", payment("stored_challenge"), key="waiting-before")
    (psp_reference,) = world.adyen.state.payments
    return {"details": {"threeDSResult": psp_reference}}


class Case(NamedTuple):
    """A call of an action, and how the platform shows its effect."""

    route: str
    #: Makes what the action needs, and gives its input.
    given: Callable[[World], dict[str, Any]]
    #: The kind of its ledger entry.
    effect: str


CASES = {
    "authorise": Case("payments", lambda _: payment(), "authorised"),
    "finish": Case("details", of_waiting, "authorised"),
    "capture": Case("captures", lambda world: of_payment(world, **AMOUNT), "captured"),
    "void": Case("cancels", of_payment, "voided"),
    "refund": Case("refunds", of_captured, "refunded"),
}


class Call:
    """One call of one action in a world of its own."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.case = world, name, CASES[name]
        self.given = self.case.given(world)
        self.before = len(world.ledger(self.case.effect))
        world.adyen.requests.clear()

    def perform(self, given: dict[str, Any] | None = None, **options: Any) -> Any:
        return self.world.perform(self.name, given or self.given, **options)

    def fault(self, *script: Any) -> None:
        self.world.fault(self.case.route, *script)

    @property
    def effects(self) -> int:
        return len(self.world.ledger(self.case.effect)) - self.before

    @property
    def sent(self) -> int:
        return len(self.world.adyen.requests)


@pytest.fixture
def call(request: pytest.FixtureRequest, world: World) -> Call:
    return Call(world, request.param)


each_action = pytest.mark.parametrize("call", CASES, indirect=True)


def test_each_action_has_a_case_here() -> None:
    assert set(CASES) == set(KIND.actions)


def test_a_payment_is_authorised_and_not_captured(world: World) -> None:
    ended = world.perform("authorise", payment())

    (entry,) = world.ledger()
    assert isinstance(ended, Done)
    assert ended.output == {
        "payment_ref": entry["payment"],
        "operation_ref": entry["payment"],
        "state": "authorised",
        "amount_minor": 1999,
        "currency": "EUR",
        "next_action_url": None,
    }
    assert (entry["kind"], entry["value"], entry["reference"]) == ("authorised", 1999, "order-4711")


@pytest.mark.parametrize("call", ["capture", "void", "refund"], indirect=True)
def test_an_operation_is_pending_until_a_webhook_says_what_became_of_it(call: Call) -> None:
    ended = call.perform()

    (entry,) = call.world.ledger(call.case.effect)
    assert isinstance(ended, Done)
    amount = AMOUNT if call.name != "void" else {}
    assert ended.output == {"operation_ref": entry["operation"], "state": "pending", **amount}
    assert (entry["payment"], entry["reference"]) == (call.given["payment_ref"], "order-4711-1")


class TestResults:
    @pytest.mark.parametrize(
        ("method", "code", "try_other"),
        [
            ("stored_refused", "2", True),
            ("stored_refused_balance", "12", False),
            ("stored_refused_fraud", "20", False),
            ("stored_cancelled", "15", False),
            ("stored_error", "4", True),
        ],
    )
    def test_a_decision_comes_with_200_and_says_whether_another_gateway_may_be_asked(
        self, world: World, method: str, code: str, *, try_other: bool
    ) -> None:
        ended = world.perform("authorise", payment(method))

        assert isinstance(ended, Refused)
        assert (ended.by, ended.status, ended.code, ended.try_other) == (RefusedBy.DECISION, 200, code, try_other)
        assert STORED_METHODS[method].refusal[1] in ended.message  # type: ignore[index]
        assert (world.ledger(), world.attempt()) == ([], (Outcome.REFUSED, None))

    @pytest.mark.parametrize(
        ("method", "state", "has_url"),
        [
            ("stored_redirect", "requires_action", True),
            ("stored_challenge", "requires_action", False),
            ("stored_pending", "pending", False),
        ],
    )
    def test_what_waits_for_the_customer_or_the_bank_is_no_authorisation_yet(
        self, world: World, method: str, state: str, *, has_url: bool
    ) -> None:
        ended = world.perform("authorise", payment(method))

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert ended.output["state"] == state
        assert bool(ended.output["next_action_url"]) == has_url
        assert {name: ended.output[name] for name in AMOUNT} == AMOUNT
        assert world.ledger() == []

    def test_a_payment_that_has_no_name_yet_has_no_reference(self, world: World) -> None:
        """As the vendor's example of a challenge: the webhook brings its name, and our reference."""
        output = world.done("authorise", payment("stored_challenge"))

        assert (output["payment_ref"], output["operation_ref"]) == (None, None)

    def test_a_customer_who_failed_is_declined(self, world: World) -> None:
        world.done("authorise", payment("stored_redirect"))
        (psp_reference,) = world.adyen.state.payments

        ended = world.perform("finish", {"details": {"redirectResult": f"{psp_reference}.refused"}})

        assert isinstance(ended, Refused)
        assert (ended.by, ended.code, ended.try_other) == (RefusedBy.DECISION, "11", False)

    def test_the_answer_says_whose_details_they_were(self, world: World) -> None:
        """The request names no payment: Adyen finds it by what a browser brought."""
        world.done("authorise", payment("stored_redirect"))
        (psp_reference,) = world.adyen.state.payments

        ended = world.perform("finish", {"details": {"redirectResult": psp_reference}})

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert ended.output["reference"] == "order-4711"

    def test_nothing_that_the_customer_brought_back_is_an_error_of_the_input(self, world: World) -> None:
        with pytest.raises(InputInvalid, match="/input/details"):
            world.perform("finish", {"details": {}})

    def test_a_code_that_nobody_knows_sends_nothing_to_another_gateway(self) -> None:
        assert "4711" not in TRY_OTHER
        assert [code for code, try_other in TRY_OTHER.items() if try_other] == [
            "2",
            "4",
            "9",
            "10",
            "21",
            "27",
            "39",
            "42",
        ]

    @pytest.mark.parametrize(
        ("currency", "amount_minor", "value"),
        [("CLP", 500, 50_000), ("ISK", 12, 1_200), ("IDR", 700_000, 7_000), ("JPY", 9, 9)],
    )
    def test_the_platforms_units_are_its_own(self, world: World, currency: str, amount_minor: int, value: int) -> None:
        """The hub's are those of ISO 4217, in both directions."""
        output = world.done("authorise", payment(currency=currency, amount_minor=amount_minor))

        assert [entry["value"] for entry in world.ledger()] == [value]
        assert (output["currency"], output["amount_minor"]) == (currency, amount_minor)

    @pytest.mark.parametrize(
        ("changed", "pointer"),
        [
            ({"customer_reference": None}, "/customer_reference"),
            ({"return_url": None}, "/return_url"),
            ({"currency": "IDR", "amount_minor": 150}, "/amount_minor"),
        ],
    )
    def test_what_cannot_be_sent_is_an_error_of_the_input(
        self, world: World, changed: dict[str, Any], pointer: str
    ) -> None:
        """Found before anything is sent, with the place: the vendor's message would come later and say less."""
        given = {name: value for name, value in payment(**changed).items() if value is not None}

        with pytest.raises(InputInvalid) as caught:
            world.perform("authorise", given)

        assert [error.pointer for error in caught.value.errors] == [pointer]
        assert not len(world.adyen.requests)

    def test_a_capture_beyond_the_payment_is_accepted_and_fails_by_webhook(self, world: World) -> None:
        given = of_payment(world, **AMOUNT) | {"amount_minor": 2000}

        assert isinstance(world.perform("capture", given), Done)
        assert world.ledger("captured") == []
        assert world.adyen.outbox.sendings[-1].item["success"] == "false"


class TestRefusals:
    def test_a_payment_that_does_not_exist_is_our_error(self, world: World) -> None:
        ended = world.perform("capture", {"payment_ref": "NOSUCHPAYMENT123", "reference": "r-1", **AMOUNT})

        assert isinstance(ended, Refused)
        assert (ended.by, ended.status, ended.try_other) == (RefusedBy.US, 422, False)
        assert "Original pspReference required" in ended.message

    @pytest.mark.parametrize(("field", "status"), [("api_key", 401), ("merchant_account", 403)])
    def test_a_wrong_key_or_account_is_ours_and_another_gateway_may_be_asked(
        self, world: World, field: str, status: int
    ) -> None:
        setattr(world.adyen, field, "another")

        ended = world.perform("authorise", payment())

        assert isinstance(ended, Refused)
        assert (ended.by, ended.status, ended.try_other) == (RefusedBy.US, status, True)

    def test_a_payment_path_cannot_leave_the_payment(self, world: World) -> None:
        """The reference comes from outside: it must not name another resource."""
        world.perform("void", {"payment_ref": "../cancels?x=1#", "reference": "r-1"})

        assert [entry.path for entry in world.adyen.requests] == ["/v71/payments/..%2Fcancels%3Fx%3D1%23/cancels"]


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
    "at_work_409": ({"at_work": 409}, Done),
    "at_work_422": ({"at_work": 422}, Done),
}
#: The rest of the product is for a deep run.
IN_THE_GATE = {(name, fault) for name, fault in zip(list(CASES) * len(FAULTS), FAULTS, strict=False)} | {
    ("authorise", "timeout_after"),
    ("capture", "reset_after"),
}
PRODUCT = [
    pytest.param(name, fault, id=f"{name}-{fault}", marks=[] if (name, fault) in IN_THE_GATE else pytest.mark.deep)
    for name in CASES
    for fault in FAULTS
]


class TestFaults:
    @pytest.mark.parametrize(("call", "fault"), PRODUCT, indirect=["call"])
    def test_a_write_has_one_effect_and_its_outcome_is_resolved(self, call: Call, fault: str) -> None:
        """Whatever becomes of the answer; and a repetition with the key changes nothing."""
        script, kind = FAULTS[fault]
        call.fault(script)

        first, again = call.perform(), call.perform()

        assert (type(first), type(again)) == (kind, Done)
        assert call.effects == 1
        assert again.output["operation_ref"] == call.world.ledger(call.case.effect)[-1]["operation"]
        assert call.world.attempt()[0] == Outcome.DONE

    @each_action
    def test_a_lost_answer_stays_unknown_until_the_key_is_replayed(self, call: Call) -> None:
        call.fault(*[{"reset": "after"}] * IMPATIENT.attempts)
        lost = call.perform()

        assert isinstance(lost, Unknown)
        assert "Repeat the call with the same key" in lost.message
        assert (call.effects, call.world.attempt()) == (1, (Outcome.UNKNOWN, None))

        assert isinstance(call.perform(), Done)
        assert (call.effects, call.world.attempt()) == (1, (Outcome.DONE, Resolution.REPLAYED_KEY))

    def test_a_decision_whose_answer_was_lost_settles_what_was_unknown(self, world: World) -> None:
        world.fault("payments", *[{"reset": "after"}] * IMPATIENT.attempts)
        lost, again = (world.perform("authorise", payment("stored_refused_balance")) for _ in range(2))

        assert (type(lost), type(again)) == (Unknown, Refused)
        assert world.attempt() == (Outcome.REFUSED, Resolution.REPLAYED_KEY)

    @each_action
    def test_after_the_keys_time_a_person_decides_and_nothing_is_sent(self, call: Call) -> None:
        """A platform that has forgotten the key would do it again."""
        call.fault(*[{"reset": "after"}] * IMPATIENT.attempts)
        call.perform()
        aged = "UPDATE attempt SET sent_at = sent_at - interval '8 days', open_until = open_until - interval '8 days'"
        query(call.world.store, f"{aged} WHERE key = 'effect-1' RETURNING 1")
        call.world.adyen.forget_keys()
        sent = call.sent

        assert isinstance(call.perform(), Unknown)
        assert (call.effects, call.sent) == (1, sent)

    @each_action
    def test_a_platform_that_throttles_for_longer_has_done_nothing(self, call: Call) -> None:
        call.fault(*[{"status": 429}] * IMPATIENT.attempts)

        assert isinstance(call.perform(), Failed)
        assert (call.effects, call.world.attempt()[0]) == (0, Outcome.FAILED)
        assert isinstance(call.perform(), Done)

    @pytest.mark.parametrize("status", [409, 422])
    def test_a_request_that_stays_at_work_is_unknown_and_resolved_by_its_key(self, world: World, status: int) -> None:
        """With 422, too, which is a refusal of the input elsewhere: the header makes the difference."""
        world.fault("payments", *[{"at_work": status}] * IMPATIENT.attempts)
        lost, again = (world.perform("authorise", payment()) for _ in range(2))

        assert (type(lost), type(again), len(world.ledger())) == (Unknown, Done, 1)

    @pytest.mark.crash
    @each_action
    @pytest.mark.parametrize(
        ("killed", "effects"), [("send.begun", 0), ("send.answered", 1)], ids=["killed_before", "killed_after"]
    )
    def test_a_repetition_resolves_what_a_killed_process_left(
        self, call: Call, hub_dsn: str, killed: str, effects: int
    ) -> None:
        assert children.run(lambda: call.perform(store=Store(hub_dsn)), crash_at=killed) == children.KILLED
        assert (call.effects, call.world.attempt()) == (effects, (Outcome.OPEN, None))

        assert isinstance(call.perform(), Done)
        assert (call.effects, call.world.attempt()) == (1, (Outcome.DONE, Resolution.REPLAYED_KEY))


class MisconfiguredAdyen(FakeAdyen):
    """Answers the next payment with an error of its own."""

    error_type = "configuration"

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        del request, route, fault
        body = {"status": 500, "errorCode": "905", "message": "Not configured", "errorType": self.error_type}
        return Response(500, json.dumps(body).encode())


@pytest.mark.parametrize(("error_type", "kind"), [("configuration", Refused), ("internal", Unknown)])
def test_an_error_of_the_account_is_a_decision_and_one_of_the_platform_is_unknown(
    store: Store, error_type: str, kind: type
) -> None:
    """Both come with 500. A method that is not configured there may be elsewhere."""
    with MisconfiguredAdyen() as platform:
        platform.error_type = error_type
        ended = World(platform, store).perform("authorise", payment())

    assert type(ended) is kind
    if isinstance(ended, Refused):
        assert (ended.by, ended.code, ended.try_other) == (RefusedBy.DECISION, "905", True)


class RecordingAdyen(FakeAdyen):
    """Keeps the last request, and its answer."""

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        response = super().respond(request, route, fault)
        self.last = (request, response)
        return response


@pytest.fixture
def recorded(store: Store) -> Iterator[tuple[RecordingAdyen, World]]:
    with RecordingAdyen() as platform:
        yield platform, World(platform, store)


#: The action → path, request, status and answer in the vendor's document.
OPERATIONS = {
    "authorise": ("/payments", "PaymentRequest", "200", "PaymentResponse"),
    "finish": ("/payments/details", "PaymentDetailsRequest", "200", "PaymentDetailsResponse"),
    "capture": ("/payments/{paymentPspReference}/captures", "PaymentCaptureRequest", "201", "PaymentCaptureResponse"),
    "void": ("/payments/{paymentPspReference}/cancels", "PaymentCancelRequest", "201", "PaymentCancelResponse"),
    "refund": ("/payments/{paymentPspReference}/refunds", "PaymentRefundRequest", "201", "PaymentRefundResponse"),
}


class TestTheVendorsContract:
    @pytest.mark.parametrize("name", CASES)
    def test_it_has_the_request_and_its_answer(
        self,
        name: str,
        checkout: dict[str, Any],
        checkout_schemas: Registry[Any],
        recorded: tuple[RecordingAdyen, World],
    ) -> None:
        """Path, method, body, status and answer, as the vendor's OpenAPI document describes them."""
        platform, world = recorded
        given = CASES[name].given(world)
        assert isinstance(world.perform(name, given), Done)
        request, response = platform.last

        path, wanted, status, answered = OPERATIONS[name]
        operation = checkout["paths"][path]["post"]
        version = checkout["servers"][0]["url"].rpartition("/")[2]
        real = path.replace("{paymentPspReference}", given.get("payment_ref", ""))
        assert (request.method, request.path, str(response.status)) == ("POST", f"/{version}{real}", status)
        assert _schema_of(operation["requestBody"]) == wanted
        assert _schema_of(operation["responses"][status]) == answered
        assert faults_in(checkout_schemas, wanted, request.json()) == []
        assert faults_in(checkout_schemas, answered, json.loads(response.body)) == []

    @pytest.mark.parametrize("method", STORED_METHODS)
    def test_it_has_each_result_of_a_payment(
        self, method: str, checkout_schemas: Registry[Any], recorded: tuple[RecordingAdyen, World]
    ) -> None:
        platform, world = recorded
        world.perform("authorise", payment(method))

        assert faults_in(checkout_schemas, "PaymentResponse", json.loads(platform.last[1].body)) == []

    def test_it_has_the_errors(self, checkout_schemas: Registry[Any], recorded: tuple[RecordingAdyen, World]) -> None:
        platform, world = recorded
        world.perform("capture", {"payment_ref": "NOSUCHPAYMENT123", "reference": "r-1", **AMOUNT})

        assert platform.last[1].status == 422
        assert faults_in(checkout_schemas, "ServiceError", json.loads(platform.last[1].body)) == []

    def test_it_finds_what_is_wrong(
        self, checkout_schemas: Registry[Any], recorded: tuple[RecordingAdyen, World]
    ) -> None:
        """A validator that accepts everything would pass all other tests here."""
        platform, world = recorded
        world.perform("authorise", payment())
        request, response = (part for part in platform.last)
        body, answer = request.json(), json.loads(response.body)

        assert faults_in(checkout_schemas, "PaymentRequest", body | {"colour": "red"})
        assert faults_in(checkout_schemas, "PaymentRequest", body | {"shopperInteraction": "Telepathy"})
        assert faults_in(
            checkout_schemas, "PaymentRequest", body | {"paymentMethod": {"type": "scheme", "colour": "red"}}
        )
        assert faults_in(checkout_schemas, "PaymentRequest", {name: body[name] for name in body if name != "returnUrl"})
        assert faults_in(checkout_schemas, "PaymentResponse", answer | {"resultCode": "Perhaps"})
        assert faults_in(checkout_schemas, "PaymentResponse", answer | {"amount": {"value": "1999", "currency": "EUR"}})
        assert faults_in(checkout_schemas, "PaymentCaptureResponse", {"status": "done"})


def _schema_of(message: dict[str, Any]) -> str:
    return str(message["content"]["application/json"]["schema"]["$ref"]).rpartition("/")[2]

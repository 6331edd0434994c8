"""Payments over the API, in this process, with gateways over real sockets: once for each key, whoever sends it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from crossdock.api.actions import open_clients
from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.db.database import Store
from tests.api.test_idempotency import AsOtto, new_key
from tests.commerce.payments.gateways import Gateways, connected
from tests.shop import query

ORDER = {"reference": "order-4711", "amount_minor": 10_000, "currency": "EUR", "payment_method": "pm_visa"}
Send = Callable[..., Response]


@pytest.fixture
def gateways(store: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Gateways]:
    with connected(store, monkeypatch, needs=getattr(request, "param", ())) as opened:
        yield opened


@pytest.fixture
def client(gateways: Gateways, hub_dsn: str) -> TestClient:
    def opened() -> Iterator[Store]:
        with Store(hub_dsn) as store:
            yield store

    app = create_app()
    app.dependency_overrides |= {open_store: opened, open_clients: lambda: gateways.open_client}
    return TestClient(AsOtto(app))


@pytest.fixture
def post(client: TestClient) -> Send:
    def send(path: str, body: Any, key: str | None = None) -> Response:
        return client.post(f"/v1{path}", json=body, headers={"Idempotency-Key": key or new_key()})

    return send


def placed(post: Send, **changes: Any) -> str:
    answer = post("/payments", ORDER | changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["payment_id"])


def test_a_payment_is_authorised_captured_and_refunded(client: TestClient, post: Send) -> None:
    payment_id = placed(post)
    captured = post(f"/payments/{payment_id}/captures", {"amount_minor": 6_000})
    refunded = post(f"/payments/{payment_id}/refunds", {})
    found = client.get(f"/v1/payments/{payment_id}").json()

    assert (captured.status_code, captured.json()["state"]) == (200, "partly_captured")
    assert (refunded.status_code, refunded.json()["state"]) == (200, "refunded")
    assert found["amounts"] == {
        "authorised_minor": 10_000,
        "captured_minor": 6_000,
        "refunded_minor": 6_000,
        "charged_back_minor": 0,
        "capturable_minor": 4_000,
        "refundable_minor": 0,
    }
    assert [leg["operation"] for leg in found["legs"]] == ["authorise", "capture", "refund"]
    assert "pm_visa" not in str(found)


def test_the_same_request_again_gets_the_same_answer_and_has_no_second_effect(post: Send, gateways: Gateways) -> None:
    key = new_key()
    first, again = post("/payments", ORDER, key), post("/payments", ORDER, key)
    path, key = f"/payments/{first.json()['payment_id']}/captures", new_key()
    captures = [post(path, {"amount_minor": 4_000}, key) for _ in range(2)]

    assert first.content == again.content
    assert captures[0].content == captures[1].content
    assert (gateways.effects(), gateways.effects("capture")) == (1, 1)


def test_an_unknown_payment_is_an_error_that_the_same_key_resolves(post: Send, gateways: Gateways) -> None:
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    key = new_key()
    unknown, known = post("/payments", ORDER, key), post("/payments", ORDER, key)

    assert (unknown.status_code, unknown.json()["type"]) == (502, "urn:crossdock:problem:outcome-unknown")
    assert unknown.json()["payment_id"] == known.json()["payment_id"]
    assert (known.status_code, known.json()["state"]) == (201, "authorised")
    assert gateways.effects() == 1


def test_an_unknown_payment_is_listed_and_resolved(client: TestClient, post: Send, gateways: Gateways) -> None:
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    post("/payments", ORDER)
    (listed,) = client.get("/v1/payments", params={"unresolved": True}).json()["payments"]

    resolved = post(f"/payments/{listed['payment_id']}/resolve", {})

    assert (listed["state"], resolved.json()["state"]) == ("unknown", "authorised")
    assert client.get("/v1/payments", params={"unresolved": True}).json()["payments"] == []


def test_a_person_says_what_became_of_a_call(client: TestClient, post: Send, gateways: Gateways) -> None:
    gateways.fault("alpha", {"reset": "after"}, repeat=True)
    payment_id = post("/payments", ORDER).json()["payment_id"]
    (leg,) = client.get(f"/v1/payments/{payment_id}").json()["legs"]

    still = post(f"/payments/{payment_id}/resolve", {})
    said = post(
        f"/payments/{payment_id}/legs/{leg['leg_id']}/resolve",
        {"outcome": "done", "ref": "pay_alpha_authorise_1", "reason": "seen in its dashboard"},
    )

    assert still.status_code == 502
    assert (said.status_code, said.json()["state"]) == (200, "authorised")


def test_why_a_payment_stays_unknown_is_said(post: Send, gateways: Gateways) -> None:
    """It said that the gateway did not answer, also where it was not asked: its circuit breaker was open."""
    gateways.fault("alpha", {"reset": "after"}, repeat=True)
    payment_id = post("/payments", ORDER).json()["payment_id"]
    said = post(f"/payments/{payment_id}/resolve", {}).json()["detail"]

    assert "its repetition failed: alpha is unavailable: no answer" in said
    assert said.count("it is unknown whether") == 1


def test_a_declined_payment_is_an_answer(post: Send) -> None:
    answer = post("/payments", ORDER | {"payment_method": "pm_declined"})

    assert (answer.status_code, answer.json()["state"], answer.json()["legs"][0]["code"]) == (
        201,
        "declined",
        "no_funds",
    )


def test_what_the_customer_has_to_do_is_a_link(post: Send) -> None:
    answer = post("/payments", ORDER | {"payment_method": "pm_asks"}).json()

    assert (answer["state"], answer["next_action_url"]) == ("requires_action", "https://bank.test/3ds")


def test_what_the_customer_brought_back_finishes_it_once(post: Send, gateways: Gateways) -> None:
    payment_id = placed(post, payment_method="pm_asks")
    body, key = {"details": {"redirectResult": "X6XtfGC3"}}, new_key()
    first, again = (post(f"/payments/{payment_id}/details", body, key) for _ in range(2))
    late = post(f"/payments/{payment_id}/details", body)

    assert (first.status_code, first.json()["state"], first.json()["next_action_url"]) == (200, "authorised", None)
    assert again.json() == first.json()
    assert (late.status_code, gateways.effects("finish")) == (409, 1)
    assert "X6XtfGC3" not in str(query(gateways.store, "SELECT * FROM payment_leg"))


def test_a_customer_who_failed_is_a_refusal(client: TestClient, post: Send) -> None:
    payment_id = placed(post, payment_method="pm_asks")
    answer = post(f"/payments/{payment_id}/details", {"details": {"result": "refused"}})

    assert (answer.status_code, answer.json()["code"]) == (422, "not_authenticated")
    assert client.get(f"/v1/payments/{payment_id}").json()["state"] == "declined"


def test_an_operation_is_at_the_gateway_that_it_names(post: Send) -> None:
    answer = post(f"/payments/{placed(post)}/voids", {"gateway": "beta"})

    assert answer.status_code == 409


def test_each_gateway_is_asked_with_its_own_token(post: Send, gateways: Gateways) -> None:
    gateways.fault("alpha", {"status": 403})
    body = {name: value for name, value in ORDER.items() if name != "payment_method"}

    answer = post("/payments", body | {"payment_methods": {"alpha": "tok_a", "beta": "tok_b"}})

    assert answer.json()["state"] == "authorised"
    assert [body["payment_method"] for body in gateways.servers["beta"].done("authorise")] == ["tok_b"]


def test_a_payment_that_no_gateway_took_may_be_sent_again(post: Send, gateways: Gateways) -> None:
    for name in gateways.servers:
        gateways.fault(name, {"status": 403})
    key = new_key()
    down, up = post("/payments", ORDER, key), post("/payments", ORDER, key)

    assert (down.status_code, up.status_code) == (503, 201)
    assert int(down.headers["Retry-After"]) > 0
    assert gateways.effects() == 1


@pytest.mark.parametrize("gateways", [["return_url"]], indirect=True)
def test_a_payment_that_no_gateway_takes_is_refused_with_what_each_said(client: TestClient, post: Send) -> None:
    """It was 503, to be sent again later, for ever; and the gateways, which nobody called, counted as in trouble."""
    refused = post("/payments", ORDER)

    assert (refused.status_code, refused.json()["type"]) == (422, "urn:crossdock:problem:refused-by-system")
    assert all(f"{name}: Invalid input" in refused.json()["detail"] for name in ("alpha", "beta"))
    listed = client.get("/v1/payment-gateways").json()["gateways"]
    assert [(each["calls"], each["in_trouble"], each["idle_s"]) for each in listed] == [(0, False, None)] * 2


@pytest.mark.parametrize("gateways", [["return_url"]], indirect=True)
def test_what_no_gateway_took_is_taken_once_it_is_complete(post: Send) -> None:
    post("/payments", ORDER)

    assert post("/payments", ORDER | {"reference": "order-2", "return_url": "https://shop.test/"}).status_code == 201


def test_a_refusal_that_every_gateway_would_repeat_is_no_outage(post: Send, gateways: Gateways) -> None:
    gateways.fault("alpha", {"status": 422})

    assert post("/payments", ORDER).status_code == 422


def test_more_than_is_left_is_a_conflict_and_nothing_is_sent(post: Send, gateways: Gateways) -> None:
    payment_id = placed(post)

    assert post(f"/payments/{payment_id}/captures", {"amount_minor": 10_001}).status_code == 409
    assert post(f"/payments/{payment_id}/refunds", {}).status_code == 409
    assert gateways.effects("capture") == 0


@pytest.mark.parametrize(
    "change",
    [{"payment_method": "4111111111111111"}, {"reference": "4111111111111111"}, {"cvv": "123"}],
    ids=["as a token", "as a reference", "security code"],
)
def test_a_card_number_is_refused_by_its_place_and_kept_nowhere(
    post: Send, gateways: Gateways, change: dict[str, str]
) -> None:
    answer = post("/payments", ORDER | change)

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:crossdock:problem:card-data-refused")
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{next(iter(change))}"]
    assert next(iter(change.values())) not in answer.text
    assert query(gateways.store, "SELECT count(*) FROM payment") == [(0,)]


def test_a_payment_without_a_method_is_refused(post: Send) -> None:
    answer = post("/payments", {name: value for name, value in ORDER.items() if name != "payment_method"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/payment_method")


def test_a_currency_that_does_not_exist_is_refused_and_no_gateway_is_asked(post: Send) -> None:
    """It was 503, to be sent again later: no gateway would ever take it."""
    answer = post("/payments", ORDER | {"currency": "ZZZ"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/currency")


@pytest.mark.parametrize("amount", [0, -1, 1.5, "100", True, 10**12])
def test_an_amount_is_a_whole_number_of_minor_units(post: Send, amount: Any) -> None:
    assert post("/payments", ORDER | {"amount_minor": amount}).status_code == 400


def test_a_page_names_the_start_of_the_next(client: TestClient, post: Send) -> None:
    ids = [placed(post, reference=f"order-{number}") for number in range(3)]

    first = client.get("/v1/payments", params={"limit": 2}).json()
    then = client.get("/v1/payments", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [each["payment_id"] for each in first["payments"] + then["payments"]] == ids[::-1]
    assert then["next_cursor"] is None


def test_the_gateways_are_listed_in_the_order_in_which_they_are_asked(
    client: TestClient, post: Send, gateways: Gateways
) -> None:
    gateways.fault("alpha", {"status": 403})
    placed(post)

    listed = client.get("/v1/payment-gateways").json()["gateways"]

    assert [(each["gateway"], each["success_rate"], each["in_trouble"]) for each in listed] == [
        ("beta", 1.0, False),
        ("alpha", 0.0, True),
    ]


def test_facts_of_unknown_payments_are_listed(client: TestClient) -> None:
    assert client.get("/v1/payment-facts").json() == {"facts": [], "next_cursor": None}

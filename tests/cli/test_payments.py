"""./hub payments: what a person can repeat without a second effect, and how tokens are given."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Hub

AUTHORISE = ("payments", "authorise", "order-4711", "100", "EUR")


class Unanswering(ThreadingHTTPServer):
    """A hub that never knows what became of a payment, or gives another answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: (key, body) of each request.
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.kind, self.status = "outcome-unknown", 502


class _Handler(BaseHTTPRequestHandler):
    server: Unanswering

    def do_POST(self) -> None:  # http.server calls it
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.headers.get("Idempotency-Key", ""), body))
        kind, status = self.server.kind, self.server.status
        answer = json.dumps({"type": f"urn:crossdock:problem:{kind}", "detail": kind, "status": status})
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def unanswering(stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unanswering]:  # noqa: ARG001  sets the environment first
    with Unanswering() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HUB_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HUB_TOKEN", "token")
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    "words",
    [
        (*AUTHORISE, "--method", "pm_visa"),
        ("payments", "finish", "pay_1", "--detail", "redirectResult=X6"),
        ("payments", "capture", "pay_1"),
        ("payments", "void", "pay_1"),
        ("payments", "refund", "pay_1"),
        ("payments", "resolve", "pay_1"),
    ],
    ids=lambda words: words[1],
)
def test_a_request_of_unknown_outcome_is_repeated_by_the_key_that_was_printed(
    stackless_hub: Hub, unanswering: Unanswering, words: tuple[str, ...]
) -> None:
    """With a key of its own, a second refund would be a second refund."""
    first = stackless_hub(*words)
    (key,) = re.findall(r"--key (\S+)", first.text)
    stackless_hub(*words, "--key", key)

    assert {sent for sent, _ in unanswering.requests} == {key}
    assert len(unanswering.requests) > 1


def test_a_refused_request_prints_no_key(stackless_hub: Hub, unanswering: Unanswering) -> None:
    """Nothing was done. A person who repeats the key waits for an answer that is known."""
    unanswering.kind, unanswering.status = "refused-by-system", 422

    assert "--key" not in stackless_hub("payments", "void", "pay_1").text


def test_tokens_are_given_for_every_gateway_and_for_single_ones(stackless_hub: Hub, unanswering: Unanswering) -> None:
    stackless_hub(*AUTHORISE, "--method", "dG9rZW4=", "--method", "stripe_eu=pm_a=b", "--method", "adyen_eu=tok")

    _, body = unanswering.requests[0]
    assert body["payment_method"] == "dG9rZW4="
    assert body["payment_methods"] == {"stripe_eu": "pm_a=b", "adyen_eu": "tok"}


def test_two_tokens_for_one_gateway_are_wrong_use(stackless_hub: Hub, unanswering: Unanswering) -> None:
    ended = stackless_hub(*AUTHORISE, "--method", "stripe_eu=a", "--method", "stripe_eu=b")

    assert (ended.code, unanswering.requests) == (2, [])


def test_what_the_customer_brought_back_has_names(stackless_hub: Hub, unanswering: Unanswering) -> None:
    """A value may have equals signs, as base64 does."""
    stackless_hub("payments", "finish", "pay_1", "--detail", "redirectResult=dG9rZW4=", "--detail", "a=")
    wrong = stackless_hub("payments", "finish", "pay_1", "--detail", "X6")

    assert unanswering.requests[0][1] == {"details": {"redirectResult": "dG9rZW4=", "a": ""}}
    assert wrong.code == 2

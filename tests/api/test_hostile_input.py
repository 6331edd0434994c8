"""What a caller may write into the input of an action: it is refused, or it is text at the provider; and never our own error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import pytest
from fastapi.testclient import TestClient

from crossdock.api.actions import open_clients
from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions.model import ActionKind
from crossdock.integrations.actions.ports import Client
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import Manifest, manifests
from crossdock.integrations.model import Integration
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.hubspot.crm import FakeCrm
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem
from crossdock.sandbox.smtp.mail_server import FakeMailServer
from crossdock.sandbox.smtp.outbox import Mail
from crossdock.sandbox.stripe.provider import FakeStripe
from tests.api.test_idempotency import AsOtto, new_key

Document = dict[str, Any]

TEXTS = {
    "NUL": "a\0b",
    "CR LF": "ada\r\nBcc: eve@evil.example",
    "LF at the end": "4711\n",
    "C1 and escapes": "\x9b31m\x1b]0;title\x07",
    "bidi": "ada\u202egpj.exe\u2066",
    "line separators": "a\u2028b\u2029c\x85d",
    "lone surrogate": "a\ud800b",
    "not a character": "a\uffff\ufdd0",
    "beyond the first plane": "\U0001f4a9\U000e0041",
    "template": "{{7*7}}${7*7}<%= 7*7 %>#{7*7}{% raw %}%s%n%(x)s{0.__class__}",
    "formula": "=cmd|' /C calc'!A0",
    "markup": "<script>alert(1)</script>&amp;<![CDATA[",
    "path": "../../v1/accounts/acct_1?expand[]=x#y",
    "encoded path": "%2e%2e%2f%2e%2e%2fbalance%3fx%00",
    "encoded word": "=?utf-8?q?=0d=0aBcc:_eve@evil.example?=",
    "dots": "..",
    "empty": "",
    "blank": " \t\u00a0\u200b",
    "a megabyte": "x" * 1_000_000,
}
NUMBERS = {
    "64 bits": 2**64,
    "a thousand digits": 10**999,
    "negative": -1,
    "fraction": 19.99,
    "exponent": 1e308,
    "true": True,
    "text": "1999",
    "null": None,
    "list": [1999],
    "object": {"$gt": 0},
}
#: A body as it is sent: what no value of Python is written as.
BODIES = {
    "NaN": '{"input": {"amount_minor": NaN}}',
    "infinity": '{"input": {"amount_minor": -Infinity}}',
    "1e999": '{"input": {"amount_minor": 1e999}}',
    "nested lists": '{"input": {"x": ' + "[" * 10_000 + "]" * 10_000 + "}}",
    "nested objects": '{"input": ' + '{"x":' * 10_000 + "1" + "}" * 10_000 + "}",
    "digits": '{"input": {"amount_minor": ' + "9" * 5_000 + "}}",
    "a name twice": '{"input": {"reference": "a", "reference": "b\\r\\nX: y"}}',
    "half a pair": '{"input": {"\\ud800": "\\udc00"}}',
    "not UTF-8": '{"input": {"reference": "\udcff"}}',
    "UTF-16": "\ufeff{}",
    "no object": '{"input": []}',
    "prototype": '{"input": {"__proto__": {"x": 1}, "constructor": 1}}',
    "two megabytes": '{"input": {"x": "' + "x" * 2_000_000 + '"}}',
}


def _document(mail: Mail) -> Document:
    """A mail with its headers as a reader sees them, and nothing that nobody put there."""
    assert set(mail.message) <= HEADERS
    return mail.as_document() | {name: str(mail.message[name]) for name in ("From", "To")}


class System(NamedTuple):
    opened: Callable[[], Any]
    #: The rest of its Airflow connection.
    password: Callable[[Any], str]
    #: All that the provider keeps of us, for what arrived.
    kept: Callable[[Any], Any]
    login: str | None = None
    extra: Mapping[str, Any] = {}
    url: Callable[[Any], str] = lambda system: system.url


SYSTEMS = {
    "stripe": System(
        lambda: FakeStripe(seed=5), lambda _: "sk_test_sandbox", lambda system: [*system.state.events.values()]
    ),
    "adyen": System(
        lambda: FakeAdyen(seed=5, api_key="made-up"),
        lambda _: "made-up",
        lambda system: system.state.ledger,
        extra={"merchant_account": "SandboxECOM", "return_url": "https://shop.example/back"},
    ),
    "hubspot": System(
        lambda: FakeCrm(token="t0ken", count=5),
        lambda _: "t0ken",
        lambda system: [contact.properties for contact in system.state.all()],
    ),
    "smtp_relay": System(
        FakeMailServer,
        lambda _: "sandbox",
        lambda system: [_document(mail) for mail in system.outbox.all()],
        login="sandbox",
        extra={"allow_plain": True},
        url=lambda system: system.smtp_url,
    ),
    "sendgrid": System(FakeMailSystem, lambda system: system.api_key, lambda system: list(system.outbox)),
}
#: Those of a mail. Another one would have come out of a field.
HEADERS = frozenset(
    {"Message-ID", "Date", "From", "To", "Subject", "Auto-Submitted", "X-Reference", "MIME-Version", "Content-Type"}
    | {"Content-Transfer-Encoding"}
)
#: Fields that no provider shows again.
NOT_SHOWN = {"reference", "kind"}
#: A mail over SMTP has no place for the sender's own key.
NOT_SENT = {("smtp_relay", "business_key")}
#: Fields that the samples have not.
OPTIONAL: dict[tuple[str, str], Document] = {
    **{
        (kind, "authorise"): {"customer_reference": "customer-1", "return_url": "https://shop.example/back"}
        for kind in ("stripe", "adyen")
    },
    ("hubspot", "create_customer"): {"company_name": "ACME", "attributes": {"jobtitle": "Countess"}},
    ("hubspot", "find_customer"): {"ref": "51"},
}


class World:
    """One integration, and the real app before it."""

    def __init__(self, store: Store, kind: str, system: Any) -> None:
        self.kind, self.system = kind, system
        self._of = SYSTEMS[kind]
        extra = {"allowed_networks": ["127.0.0.0/8"], "calls": {"limits": {"attempts": 1}}, **self._of.extra}
        self._connection = Connection(
            connection_id="shop",
            conn_type=kind,
            host=self._of.url(system),
            login=self._of.login,
            password=self._of.password(system),
            extra=extra,
        )
        document = {
            "connection_id": "shop",
            "conn_type": kind,
            "host": self._connection.host,
            "extra": json.dumps(extra),
        }
        integration_service.register(store, [document], actor="cli:up")
        app = create_app()
        app.dependency_overrides |= {open_store: lambda: store, open_clients: lambda: self._client}
        self._api = TestClient(AsOtto(app), raise_server_exceptions=False)

    def __enter__(self) -> Self:
        self._api.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._api.__exit__()

    @contextmanager
    def _client(self, integration: Integration, manifest: Manifest) -> Iterator[Client]:
        yield manifest.provided("client")(integration.integration_id, self._connection, None)

    def send(self, action: str, body: str) -> tuple[int, Any]:
        answer = self._api.post(
            f"/v1/integrations/shop/actions/{action}",
            content=body.encode("utf-8", "surrogateescape"),
            headers={"Idempotency-Key": new_key(), "Content-Type": "application/json"},
        )
        return answer.status_code, answer.json()

    def paths(self) -> list[str]:
        """What the provider was asked for."""
        return [entry.path for entry in self.system.requests]

    def keeps(self, text: str) -> bool:
        """Check whether it has *text*, perhaps beside others: a name stands before its address."""
        kept = [each for _, each in _places(self._of.kept(self.system)) if isinstance(each, str)]
        return any(_as_kept(text) in _as_kept(each) for each in kept)


def _as_kept(text: str) -> str:
    """Write a text as it is compared: lines of a mail end with CRLF, its text with one more, and an address has no case."""
    return text.replace("\r\n", "\n").strip().casefold()


@pytest.fixture(params=SYSTEMS)
def world(request: pytest.FixtureRequest, store: Store) -> Iterator[World]:
    with SYSTEMS[request.param].opened() as system, World(store, request.param, system) as opened:
        yield opened


@pytest.fixture
def stripe(store: Store) -> Iterator[World]:
    with SYSTEMS["stripe"].opened() as system, World(store, "stripe", system) as opened:
        yield opened


def test_what_the_schema_takes_is_refused_by_the_provider_or_arrives_as_text(world: World) -> None:
    """A header, a path, a formula or a template would be made of it by what stands between."""
    wrong = []
    for action, declared in manifests()[world.kind].actions.items():
        sample = dict(declared.sample) | OPTIONAL.get((world.kind, action), {})
        for place, name, given in _hostile(sample):
            if any(errors_in(declared.input, given, "/input")):
                continue
            status, answer = world.send(action, json.dumps({"input": given}))
            is_read = declared.kind is ActionKind.READ or place[0] in NOT_SHOWN or (world.kind, place[0]) in NOT_SENT
            is_there = status != 200 or is_read or world.keeps(_at(given, place))
            if status not in {200, 400, 422} or not is_there:
                wrong.append((action, place, name, status, str(answer)[:200]))

    assert not wrong, "\n".join(map(str, wrong))
    assert not [path for path in world.paths() if "/../" in path or path.endswith("/..")]


def test_what_it_does_not_take_is_an_invalid_input(world: World) -> None:
    """Nothing of it is sent."""
    action, declared = next(iter(manifests()[world.kind].actions.items()))
    refused: dict[str, Document] = {}
    for _, name, given in _hostile(dict(declared.sample)):
        if any(errors_in(declared.input, given, "/input")):
            refused.setdefault(name, given)
    answers = {name: world.send(action, json.dumps({"input": given})) for name, given in refused.items()}

    assert {name: answer for name, (status, answer) in answers.items() if status not in {400, 413, 422}} == {}
    assert len(answers) > len(TEXTS) / 2
    assert world.paths() == []


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_document_is_a_bad_request(stripe: World, body: str) -> None:
    status, answer = stripe.send("authorise", BODIES[body])

    assert status in {400, 413, 422}, answer
    assert stripe.paths() == []


def _hostile(sample: Document) -> Iterator[tuple[tuple[Any, ...], str, Document]]:
    """Write each hostile value into each place of *sample*: the place, the name of the value, and the document."""
    for place, value in _places(sample):
        for name, hostile in (NUMBERS if isinstance(value, int) else TEXTS).items():
            yield place, name, _with(sample, place, hostile)


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Find each text and number of a document."""
    if isinstance(value, Mapping | list | tuple):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _places(inner, (*at, name))
    else:
        yield at, value


def _with(document: Document, place: tuple[Any, ...], value: Any) -> Document:
    copy = json.loads(json.dumps(document))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return copy

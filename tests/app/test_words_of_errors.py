"""
The words of errors that a person can cause, and that no test of a whole command or route reaches: they are part of the interface.

Grouped by the room that refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crossdock.app import decisions
from crossdock.app.last_resort import last_resort
from crossdock.cli.new import subscriber
from crossdock.connectors.signed_webhook.channel import SignedWebhookAlertChannel
from crossdock.connectors.slack_webhook.channel import SlackAlertChannel
from crossdock.connectors.stripe.amounts import AmountNotPossible, stripe_amount
from crossdock.core.errors import BadRequest, Conflict, HubError
from crossdock.core.settings import settings
from crossdock.core.yaml_document import InvalidYaml, parsed
from crossdock.http.jwt_bearer import JwtSigner
from crossdock.integrations.attempts import service as attempts
from crossdock.maintenance.alerting import channels, service
from crossdock.sync.model import SyncRequest
from crossdock.workflows import service as workflows
from crossdock.workflows.model import StepState

Call = Callable[[], object]
#: What is checked before anything of it is used.
_NOTHING = cast("Any", None)
_LATE = "2026-11-21 half past nine"


def _alert_route(**fields: Any) -> Any:
    return SimpleNamespace(name="on-call", integration="ops_mail", recipients=(), **fields)


_DECISION: Any = SimpleNamespace(decision_id=7, decided_at=None, choices=("done", "refused"))
_DECLARED: Any = SimpleNamespace(route=SimpleNamespace(name="on-call"), declared_in="alert-routes.yaml")

CASES: list[tuple[Call, type[HubError], str]] = [
    # app
    (
        lambda: decisions.make(_NOTHING, _DECISION, "maybe", reason="", actor="ada"),
        BadRequest,
        "The choices of decision 7 are done, refused",
    ),
    (lambda: last_resort("https://["), BadRequest, "HUB_ALERT_LAST_RESORT is not a URL. Expected https://whsec_"),
    (
        lambda: last_resort("ftp://x"),
        BadRequest,
        "HUB_ALERT_LAST_RESORT is not a URL of a signed webhook or a mail server. Expected",
    ),
    (
        lambda: last_resort("smtps://user:password@mail.example:465"),
        BadRequest,
        "HUB_ALERT_LAST_RESORT names nobody to send to. Expected",
    ),
    # cli
    (
        lambda: subscriber._with_handler("class TellWarehouse:", {"handler": "TellWarehouse", "subject": "orders"}),
        Conflict,
        "TellWarehouse exists in the subscribers of orders. Choose another name",
    ),
    # connectors
    (
        lambda: SignedWebhookAlertChannel(_NOTHING).check_recipient("ada"),
        BadRequest,
        "A webhook has one receiver, its URL: give the route no recipients",
    ),
    (
        lambda: SlackAlertChannel(_NOTHING).check_recipient("#ops"),
        BadRequest,
        "A Slack webhook posts to one channel: give the route no recipients",
    ),
    (
        lambda: stripe_amount(1_005, "KWD"),
        AmountNotPossible,
        "Stripe takes KWD in steps of 10 minor units, not 1005",
    ),
    # core and http
    (lambda: parsed("[" * 200 + "]" * 200), InvalidYaml, "nests deeper than"),
    (lambda: JwtSigner("short", "HS256", issuer="hub"), BadRequest, "A secret for HS256 must have at least 32 bytes"),
    # integrations
    (
        lambda: attempts._found_out("unknown"),
        Conflict,
        "An attempt is resolved as done, refused or failed, not as unknown",
    ),
    # maintenance
    (
        lambda: channels.check_route(_alert_route(), cast("Any", SimpleNamespace(takes_recipients=True))),
        BadRequest,
        "The route on-call has no recipients, and ops_mail sends to addresses. Name one",
    ),
    (
        lambda: service._refuse_declared(_DECLARED),
        Conflict,
        "The route on-call is declared in alert-routes.yaml: change it there",
    ),
    # sync
    (lambda: SyncRequest(keys=("A", "")), BadRequest, "`keys` contains an empty key"),
    (lambda: SyncRequest(limit=-1), BadRequest, "`limit` -1 must be 0 (no limit) or more"),
    (lambda: SyncRequest.of({"since": _LATE}), BadRequest, f"`since`: Cannot read '{_LATE}' as a time"),
    # workflows
    (
        lambda: workflows.resolve(_NOTHING, "exe_1", StepState.OPEN, reason="", actor="ada"),
        Conflict,
        "A step is resolved as done, refused or failed, not as open",
    ),
]


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub has an address to send mails from: without one, that is what is wrong."""
    monkeypatch.setenv("HUB_MAIL_FROM", "The Shop <alerts@shop.example>")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(("call", "kind", "words"), CASES, ids=[words for _, _, words in CASES])
@pytest.mark.usefixtures("sender")
def test_an_error_says_what_is_wrong(call: Call, kind: type[HubError], words: str) -> None:
    with pytest.raises(kind) as refused:
        call()

    assert words in str(refused.value)

"""
The words of errors that a person can cause, and that no test of a whole command or route reaches: they are part of the interface.

Grouped by the room that refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crossdock.app import decisions
from crossdock.app.last_resort import last_resort
from crossdock.cli import quarantine, selection
from crossdock.cli.new import subscriber
from crossdock.cli.warehouses import set_warehouse
from crossdock.connectors.signed_webhook.channel import SignedWebhookAlertChannel
from crossdock.connectors.slack_webhook.channel import SlackAlertChannel
from crossdock.connectors.stripe.amounts import AmountNotPossible, stripe_amount
from crossdock.connectors.teams_webhook.channel import TeamsAlertChannel
from crossdock.core.errors import BadRequest, Conflict, HubError
from crossdock.core.settings import settings
from crossdock.core.yaml_document import InvalidYaml, parsed
from crossdock.db import bulk_edit
from crossdock.events.replay import service as replays
from crossdock.http.jwt_bearer import JwtSigner
from crossdock.integrations.attempts import service as attempts
from crossdock.maintenance.alerting import channels, service
from crossdock.sync.model import SyncRequest
from crossdock.sync.quarantine import fix_all
from crossdock.workflows import service as workflows
from crossdock.workflows.declared import answers
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
    (quarantine.fix, BadRequest, "Say what to fix: one item ID such as 11, or --all-like 11"),
    (
        lambda: quarantine.fix(like=11, file=Path("record.json")),
        BadRequest,
        "--file replaces one record. For all like it, say what to change: --set FIELD=VALUE",
    ),
    (
        lambda: selection.selection_of(None, cause=None, everything=False, ids_field="item_ids"),
        BadRequest,
        "Select in exactly one way: IDs such as 11 12, or --cause CAUSE, or --all",
    ),
    (
        lambda: selection.edit_from(None, None, whole="record"),
        BadRequest,
        "Say what to change: --set FIELD=VALUE (may be repeated), or --file FILE.json",
    ),
    (lambda: selection.changes_from(["quantity"]), BadRequest, "--set 'quantity' is not FIELD=VALUE, as in: --set"),
    (
        lambda: selection.refuse_unknown_state("opened", ("open", "all")),
        BadRequest,
        "There is no state 'opened'. States: open, all",
    ),
    (lambda: set_warehouse("lyon"), BadRequest, "Give at least one option, such as --priority 10"),
    # connectors
    (
        lambda: TeamsAlertChannel(_NOTHING).check_recipient("#ops"),
        BadRequest,
        "A webhook of Teams posts to one channel or chat: give the route no recipients",
    ),
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
    # db
    (
        lambda: bulk_edit.refuse_unclear([1], cause="sku_is_present", everything=False),
        BadRequest,
        "Select in exactly one way: by id, by cause, or all",
    ),
    (
        lambda: bulk_edit.refuse_no_reason("  "),
        BadRequest,
        "Give a reason why it is not wanted; it is stored in the audit trail",
    ),
    (
        lambda: bulk_edit.set_field({"stock": 3}, "stock.main", 5),
        BadRequest,
        "Cannot set 'stock.main': 'stock' is not an object",
    ),
    (lambda: bulk_edit.set_field([], "stock", 5), BadRequest, "Cannot set 'stock': the record is not an object"),
    # events
    (lambda: replays._refuse_rate(0), BadRequest, "The rate must be above 0 events per second, not 0"),
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
    (
        lambda: service.mute(_NOTHING, kind="*", subject="*", integration="*", until=_NOTHING, reason="", actor="ada"),
        BadRequest,
        "Name a kind, a subject or an integration: a mute of everything would h",
    ),
    # sync
    (lambda: SyncRequest(shard="9"), BadRequest, "Invalid `shard` '9'. Use for example 1/2, with at most"),
    (
        lambda: fix_all.edit_all(_NOTHING, range(5_001), {}, streams=_NOTHING, actor="ada"),
        BadRequest,
        "5,001 records are too many to edit at once; at most 5,000 are possible",
    ),
    (
        lambda: fix_all.changes_between({"sku": "A", "note": "x"}, {"sku": "A"}),
        BadRequest,
        "The edit removes note. For all records alike, a field can be set, and not removed",
    ),
    (
        lambda: fix_all.changes_between({"a.b": 1}, {"a.b": 2}),
        BadRequest,
        "a.b has a dot in its name. Edit these records one by one",
    ),
    (lambda: SyncRequest(keys=("A", "")), BadRequest, "`keys` contains an empty key"),
    (lambda: SyncRequest(limit=-1), BadRequest, "`limit` -1 must be 0 (no limit) or more"),
    (lambda: SyncRequest.of({"since": _LATE}), BadRequest, f"`since`: Cannot read '{_LATE}' as a time"),
    # workflows
    (lambda: answers.answers_of([], _NOTHING), BadRequest, "The answers must be an object: step → list of answers"),
    (lambda: answers.params_of([], _NOTHING), BadRequest, "The params must be an object: param → value"),
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

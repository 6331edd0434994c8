"""./hub mail: mails that the hub sends, and those that are not sent."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Mails that the hub sends, and those that are not sent.")

_STATES = ("open", "sending", "sent", "refused", "failed", "unknown")
MailId = Annotated[int, typer.Argument(help="ID, as ./hub mail list shows it.")]


@app.command("list")
def list_mails(
    state: Annotated[str | None, typer.Option(help=f"Only those in this state: {', '.join(_STATES)}.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as order_confirmation.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List mails, newest first. Recipients are masked.

    Example: ./hub mail list --state unknown
    """
    if state is not None and state not in _STATES:
        raise BadRequest(f"{state!r} is no state. Use one of: {', '.join(_STATES)}")
    found = hub_api().pages("/mails", "mails", limit=limit, state=state, kind=kind)
    if as_json:
        console.show_json({"mails": found, "has_more": found.has_more})
        return
    console.show_table(
        "Mails",
        ["ID", "kind", "about", "state", "mailer", "changed", "reason"],
        [
            [
                str(mail["mail_id"]),
                mail["kind"],
                mail["business_key"],
                mail["state"],
                mail["mailer"] or "",
                shown(mail["changed_at"]),
                mail["reason"] or "",
            ]
            for mail in found
        ],
        empty="There are none.",
    )
    console.say_if_cut(len(found), has_more=found.has_more)
    if any(mail["state"] == "unknown" for mail in found):
        console.say("Look up what is unknown at its mailer, and say what you saw: ./hub attempts list")


@app.command("show")
def show_mail(mail_id: MailId, as_json: Json = False) -> None:
    """
    Show one mail. An operator sees its recipient; that is audited.

    Example: ./hub mail show 7
    """
    found = hub_api().get(path_of("mails", mail_id)).document
    if as_json:
        console.show_json(found)
        return
    console.show_document(found)


@app.command("test")
def send_test(
    integration_id: Annotated[str, typer.Argument(help="The integration that is to send it.")],
    to: Annotated[str, typer.Option(help="The address of the recipient.")],
    as_json: Json = False,
) -> None:
    """
    Send a test mail over one integration.

    Example: ./hub mail test shop_mail --to ada@shop.example
    """
    found = hub_api().post("/test-mails", {"integration": integration_id, "to": to}).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"{integration_id} has accepted the mail {found['mail_id']} as {found['provider_id']}.")


@app.command("resume")
def resume(mail_id: MailId, as_json: Json = False) -> None:
    """
    Go on with a mail that is not sent. One that is unknown is not sent again before its attempt is resolved.

    Example: ./hub mail resume 7
    """
    found = hub_api().post(path_of("mails", mail_id, "resume"), {}).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"Mail {mail_id} was sent by {found['mailer']}.")

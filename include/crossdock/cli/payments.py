"""./hub payments: authorise, finish, capture, void and refund; and find out what became of calls that nobody answered."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.completion import ids_of
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Payments at one of several gateways.")

_GATEWAY = re.compile(r"[a-z][a-z0-9_]{1,62}")
_OUTCOMES = ("done", "refused", "failed")
PaymentId = Annotated[
    str,
    typer.Argument(
        help="ID, as ./hub payments list shows it.", autocompletion=ids_of("/payments", "payments", "payment_id")
    ),
]
Gateway = Annotated[str | None, typer.Option(help="At which gateway, if it was authorised at several.")]
Amount = Annotated[int | None, typer.Option(min=1, help="In minor units, such as cents; all that is left by default.")]


@app.command("list")
def list_payments(
    unresolved: Annotated[bool, typer.Option("--unresolved", help="Only with a call of unknown outcome.")] = False,
    state: Annotated[str | None, typer.Option(help="Only in this state, such as authorised.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only with this reference.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List payments, newest first.

    Example: ./hub payments list --unresolved
    """
    found = hub_api().pages(
        "/payments", "payments", limit=limit, unresolved=unresolved, state=state, reference=reference
    )
    if as_json:
        console.show_json({"payments": found, "has_more": found.has_more})
        return
    console.show_table(
        "Payments",
        ["ID", "reference", "amount (minor)", "currency", "state", "unresolved", "created"],
        [
            [
                payment["payment_id"],
                payment["reference"],
                f"{payment['amount_minor']:,}",
                payment["currency"],
                payment["state"],
                "yes" if payment["is_unresolved"] else "",
                shown(payment["created_at"]),
            ]
            for payment in found
        ],
        empty="There are none.",
    )
    console.say_if_cut(len(found), has_more=found.has_more)
    if any(payment["is_unresolved"] for payment in found):
        console.say("To find out what became of one: ./hub payments resolve ID")


@app.command("show")
def show(payment_id: PaymentId, as_json: Json = False) -> None:
    """
    Show a payment with each call of a gateway.

    Example: ./hub payments show pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d
    """
    _show(hub_api().get(path_of("payments", payment_id)).document, as_json=as_json)


@app.command("authorise")
def authorise(
    reference: Annotated[str, typer.Argument(help="Your own, unique: the same one again is the same payment.")],
    amount_minor: Annotated[int, typer.Argument(min=1, help="In minor units, such as cents.")],
    currency: Annotated[str, typer.Argument(help="ISO 4217, such as EUR.")],
    method: Annotated[
        list[str],
        typer.Option(
            help="The token of the payment method, for every gateway; never a card number. GATEWAY=TOKEN for one gateway; may be repeated."
        ),
    ],
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Have a gateway authorise an amount; if it cannot be asked, the next one.

    Example: ./hub payments authorise order-4711 4200 EUR --method pm_card_visa
    """
    body = {"reference": reference, "amount_minor": amount_minor, "currency": currency, **_methods(method)}
    _show(repeatable.send(path_of("payments"), body, key), as_json=as_json)


@app.command("finish")
def finish(
    payment_id: PaymentId,
    detail: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE that the customer brought back, such as redirectResult=…; may be repeated."),
    ] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Finish an authorisation after the customer has acted.

    Example: ./hub payments finish pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d --detail redirectResult=X6XtfGC3
    """
    body = {"details": _details(detail or [])}
    _show(repeatable.send(path_of("payments", payment_id, "details"), body, key), as_json=as_json)


@app.command("capture")
def capture(
    payment_id: PaymentId,
    amount_minor: Amount = None,
    gateway: Gateway = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Capture an authorised amount, or a part of it.

    Example: ./hub payments capture pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d --amount-minor 4200
    """
    body = _given(amount_minor=amount_minor, gateway=gateway)
    _show(repeatable.send(path_of("payments", payment_id, "captures"), body, key), as_json=as_json)


@app.command("void")
def void(payment_id: PaymentId, gateway: Gateway = None, key: Key = None, as_json: Json = False) -> None:
    """
    Release what is authorised and not captured.

    Example: ./hub payments void pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d
    """
    body = _given(gateway=gateway)
    _show(repeatable.send(path_of("payments", payment_id, "voids"), body, key), as_json=as_json)


@app.command("refund")
def refund(
    payment_id: PaymentId,
    amount_minor: Amount = None,
    gateway: Gateway = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Refund a captured amount, or a part of it.

    Example: ./hub payments refund pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d --amount-minor 1000
    """
    body = _given(amount_minor=amount_minor, gateway=gateway)
    _show(repeatable.send(path_of("payments", payment_id, "refunds"), body, key), as_json=as_json)


@app.command("resolve")
def resolve(
    payment_id: PaymentId,
    leg: Annotated[int | None, typer.Option(help="A call that you looked up at the gateway yourself.")] = None,
    outcome: Annotated[str | None, typer.Option(help="done, refused or failed: what you saw there.")] = None,
    ref: Annotated[str | None, typer.Option(help="The gateway's reference of what was done.")] = None,
    reason: Annotated[str | None, typer.Option(help="How you know. Kept in the audit trail.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Find out what became of a payment. With --leg, say what you saw at the gateway.

    Example: ./hub payments resolve pay_8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d
    """
    if leg is None:
        _show(repeatable.send(path_of("payments", payment_id, "resolve"), {}, key), as_json=as_json)
        return
    if outcome not in _OUTCOMES or reason is None:
        raise BadRequest(f"Give --outcome ({', '.join(_OUTCOMES)}) and --reason with --leg")
    body = {"outcome": outcome, "reason": reason, "ref": ref}
    _show(repeatable.send(path_of("payments", payment_id, "legs", leg, "resolve"), body, key), as_json=as_json)


@app.command("gateways")
def gateways(as_json: Json = False) -> None:
    """
    List the payment gateways in the order in which they are asked, with their health.

    Example: ./hub payments gateways
    """
    found = hub_api().get("/payment-gateways").document
    if as_json:
        console.show_json(found)
        return
    console.show_table(
        "Payment gateways",
        ["gateway", "last calls", "answered", "median ms", "in trouble"],
        [
            [
                gateway["gateway"],
                str(gateway["calls"]),
                f"{gateway['success_rate']:.0%}",
                "" if gateway["latency_ms"] is None else f"{gateway['latency_ms']:,.0f}",
                "yes" if gateway["in_trouble"] else "",
            ]
            for gateway in found["gateways"]
        ],
        empty="No payment gateway is connected.",
    )


def _methods(given: list[str]) -> dict[str, Any]:
    """
    Sort the tokens: that for every gateway, and those of single ones.

    Raises:
        BadRequest: two tokens for every gateway, or for the same one.

    """
    tokens: dict[str, str] = {}
    for each in given:
        gateway, _, token = each.partition("=")
        # A token may end in equals signs, as base64 does.
        is_of_one = bool(_GATEWAY.fullmatch(gateway) and token.strip("="))
        name, value = (gateway, token) if is_of_one else ("", each)
        if name in tokens:
            raise BadRequest(f"--method has two tokens for {name or 'every gateway'}. Give one")
        tokens[name] = value
    for_all = tokens.pop("", None)
    return {**({"payment_method": for_all} if for_all else {}), **({"payment_methods": tokens} if tokens else {})}


def _details(given: list[str]) -> dict[str, str]:
    """
    Read what the customer brought back.

    Raises:
        BadRequest: one has no name.

    """
    named = [each.partition("=") for each in given]
    if not all(name and equals for name, equals, _ in named):
        raise BadRequest("--detail is NAME=VALUE, such as redirectResult=X6XtfGC3")
    return {name: value for name, _, value in named}


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def show_books(books: dict[str, Any]) -> None:
    """Show what each account of a payment holds."""
    held = ", ".join(f"{line['account']} {line['amount_minor']:,}" for line in books["balances"])
    console.show(f"{held or 'nothing posted'} ({books['currency']}, minor units)", heading="books ")


def _show(payment: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.show_json(payment)
        return
    console.show_table(
        f"{payment['payment_id']}: {payment['state']}, {payment['amount_minor']:,} {payment['currency']} (minor units)",
        ["call", "operation", "gateway", "amount", "outcome", "reason"],
        [
            [
                str(leg["leg_id"]),
                leg["operation"],
                leg["gateway"],
                "" if leg["amount_minor"] is None else f"{leg['amount_minor']:,}",
                leg["outcome"],
                leg["code"] or leg["message"] or "",
            ]
            for leg in payment["legs"]
        ],
        empty="No gateway was asked.",
    )
    amounts = payment["amounts"]
    console.say(f"Left to capture: {amounts['capturable_minor']:,}. Left to refund: {amounts['refundable_minor']:,}")
    show_books(payment["books"])
    if payment["live_authorisations"] > 1:
        console.say(
            "It is authorised more than once. Void or refund all but one: ./hub payments void ID --gateway NAME"
        )
    if payment["dispute_until"]:
        console.say(f"It is disputed. Answer at the gateway until {shown(payment['dispute_until'])}")
    if payment["next_action_url"]:
        console.say(f"The customer has to act: {payment['next_action_url']}")

"""./hub order trace and ./hub trace: all that happened to an order, a SKU or a customer, in time order."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.instants import instant_option, optional_text, shown
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of

_SUBJECTS = ("sku", "customer")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400

Since = Annotated[
    datetime | None,
    instant_option("--since", "From this time on; by default from the beginning, or of the last 30 days."),
]
Platform = Annotated[
    str | None,
    typer.Option(help="Only what this integration says, where two have the same number or SKU."),
]
Most = Annotated[int, typer.Option(min=1, max=100_000, help="How many entries to show.")]


def trace(
    subject: Annotated[str, typer.Argument(help="sku or customer. Of an order: ./hub order trace.")],
    key: Annotated[str, typer.Argument(help="The SKU; the customer's e-mail address, or ID at its platform.")],
    platform: Platform = None,
    since: Since = None,
    limit: Most = LARGEST_PAGE,
    as_json: Json = False,
) -> None:
    """
    Show all that happened to a SKU or a customer, in time order.

    Example: ./hub trace sku CHAIR-1 --since 2026-11-21
    """
    if subject not in _SUBJECTS:
        raise BadRequest(f"The first word is one of {', '.join(_SUBJECTS)}. Of an order: ./hub order trace")
    show_journey(subject, key, platform=platform, since=since, limit=limit, as_json=as_json)


def show_journey(
    subject: str, key: str, *, platform: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """Read as many pages as have *limit* entries, and show them."""
    journey = _read(subject, key, limit=limit, platform=platform, since=optional_text(since))
    if as_json:
        console.show_json(journey)
        return
    console.show_table(
        f"{subject} {journey['key']}, from {shown(journey['began_at'])} UTC",
        ["after", "what", "name", "state", ""],
        [
            [
                offset(entry["after_s"]),
                entry["kind"],
                entry["name"].removeprefix("crossdock."),
                _state(entry),
                entry["text"],
            ]
            for entry in journey["entries"]
        ],
        empty="Nothing happened in that time.",
    )
    for payment in journey["money"]:
        console.show(_money(payment))
        held = ", ".join(f"{line['account']} {line['amount_minor']:,}" for line in payment["books"]["balances"])
        console.show(held or "nothing posted", heading="books ")
    for hold in journey["stock"]:
        console.show(
            f"{hold['quantity']:,} of {hold['sku']} at {hold['warehouse_id']}: {hold['state']}", heading="stock "
        )
    if journey["platforms"]:
        console.say(
            f"Shops have orders of this number. To see that of one: --platform {' or '.join(journey['platforms'])}"
        )
    if journey["next_cursor"]:
        console.say(f"There are more. To see them: --since {journey['entries'][-1]['at']}, or a larger --limit")


def offset(after_s: float) -> str:
    """Write how long after the beginning: `+0.4 s`, `+2 min 05 s`, `+3 h 20 min`, `+4 d 02 h`."""
    sign, left_s = ("-" if after_s < 0 else "+"), abs(after_s)
    if left_s < _MINUTE_S:
        return f"{sign}{left_s:.1f} s"
    if left_s < _HOUR_S:
        return f"{sign}{int(left_s // _MINUTE_S)} min {int(left_s % _MINUTE_S):02} s"
    if left_s < _DAY_S:
        return f"{sign}{int(left_s // _HOUR_S)} h {int(left_s % _HOUR_S // _MINUTE_S):02} min"
    return f"{sign}{int(left_s // _DAY_S)} d {int(left_s % _DAY_S // _HOUR_S):02} h"


def _read(subject: str, key: str, *, limit: int, **query: str | None) -> dict[str, Any]:
    """Read pages as one document. Its offsets count from the beginning of the first."""
    api, path = hub_api(), path_of("journeys", subject, key)
    first: dict[str, Any] = api.get(path, limit=min(limit, LARGEST_PAGE), **query).document
    begins, cursor = datetime.fromisoformat(first["began_at"]), first["next_cursor"]
    while cursor and len(first["entries"]) < limit:
        page = api.get(path, limit=min(LARGEST_PAGE, limit - len(first["entries"])), cursor=cursor, **query).document
        for entry in page["entries"]:
            entry["after_s"] = round((datetime.fromisoformat(entry["at"]) - begins).total_seconds(), 3)
        first["entries"] += page["entries"]
        cursor = page["next_cursor"]
    return {**first, "next_cursor": cursor}


def _state(entry: dict[str, Any]) -> str:
    again = (
        f" (try {entry['tries']})" if entry["kind"] in ("step", "undo", "call") and (entry["tries"] or 0) > 1 else ""
    )
    return f"{entry['state'] or ''}{again}"


def _money(payment: dict[str, Any]) -> str:
    amounts = payment["amounts"]
    named = (("authorised", "authorised_minor"), ("captured", "captured_minor"), ("refunded", "refunded_minor"))
    figures = ", ".join(f"{name} {amounts[field]:,}" for name, field in named)
    return f"payment {payment['payment_id']}: {payment['state']}; {figures} {payment['currency']} (minor units)"

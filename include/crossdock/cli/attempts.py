"""./hub attempts: calls that write, and what became of those whose answer was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.cli.waiting import Listed
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Calls that write, and those without a known outcome.")

_LISTED = Listed(
    "/attempts",
    "attempts",
    "unresolved",
    ("Calls without a known outcome", "Calls that write"),
    {
        "ID": lambda attempt: str(attempt["attempt_id"]),
        "integration": lambda attempt: attempt["integration"],
        "action": lambda attempt: attempt["action"],
        "key": lambda attempt: attempt["key"],
        "sent": lambda attempt: shown(attempt["sent_at"]),
        "outcome": lambda attempt: attempt["outcome"],
        "known by": lambda attempt: attempt["resolution"] or "",
    },
    "There are none.",
)

_OUTCOMES = ("done", "refused", "failed")


@app.command("list")
def list_attempts(
    everything: Annotated[bool, typer.Option("--all", help="Also those whose outcome is known.")] = False,
    integration: Annotated[str | None, typer.Option(help="Only of this integration.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List the calls whose outcome nobody knows, oldest first.

    Example: ./hub attempts list --integration stripe
    """
    found = _LISTED.show(everything=everything, limit=limit, as_json=as_json, integration=integration)
    if found and not everything:
        _advise(found[0])


def _advise(attempt: Mapping[str, Any]) -> None:
    """Say how the outcome of an attempt becomes known, whoever made its call."""
    console.say(
        "A step of an order or a workflow finds out by itself, or asks a person: ./hub decisions list. Who made the call by "
        "./hub integration act repeats the command that it printed, with its key and the same input: it has no second effect."
    )
    console.say(
        f"Or look in {attempt['integration']} whether the effect is there. If it is: ./hub attempts resolve "
        f"{attempt['attempt_id']} done --reason REASON. If it is not, the outcome is refused (the system said no) or failed "
        "(the call did not arrive), and the same command sends it anew."
    )


@app.command("resolve")
def resolve(
    attempt_id: Annotated[int, typer.Argument(help="ID, as ./hub attempts list shows it.")],
    outcome: Annotated[str, typer.Argument(help="done: the effect is there. refused or failed: it is not.")],
    reason: Annotated[str, typer.Option(help="How you know. Kept in the audit trail.")],
    as_json: Json = False,
) -> None:
    """
    Say what became of a call whose outcome nobody knew. After refused or failed, its key may be used again.

    Example: ./hub attempts resolve 7 done --reason "the refund is in the dashboard"
    """
    if outcome not in _OUTCOMES:
        raise BadRequest(f"{outcome!r} is no outcome. Use one of: {', '.join(_OUTCOMES)}")
    found = hub_api().post(path_of("attempts", attempt_id, "resolve"), {"outcome": outcome, "reason": reason}).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"Attempt {attempt_id} ({found['action']} at {found['integration']}) is {found['outcome']}.")

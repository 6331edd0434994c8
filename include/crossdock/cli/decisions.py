"""./hub decisions: what waits for a person, and what was decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.cli.waiting import Listed
from crossdock.core.paths import path_of


def _values(shows: Mapping[str, Any]) -> str:
    """Write what a decision is about in one line."""
    return ", ".join(f"{name}: {_text(value)}" for name, value in shows.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_LISTED = Listed(
    "/decisions",
    "decisions",
    "open",
    ("What waits for a person", "Decisions"),
    {
        "ID": lambda decision: str(decision["decision_id"]),
        "since": lambda decision: shown(decision["opened_at"]),
        "about": lambda decision: decision["about"],
        "question": lambda decision: decision["question"],
        "values": lambda decision: _values(decision["shows"]),
        "choices": lambda decision: ", ".join(decision["choices"]),
        "who": lambda decision: decision["decided_by"] or decision["role"],
        "decided": lambda decision: (
            f"{decision['choice']}, {shown(decision['decided_at'])}" if decision["choice"] else ""
        ),
    },
    "Nothing waits for a person.",
)

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="What waits for a person, and what was decided.")


DecisionId = Annotated[int, typer.Argument(metavar="ID", min=1, help="As ./hub decisions list shows it.")]


@app.command("list")
def list_decisions(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are decided.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only those that you may decide.")] = False,
    about: Annotated[
        str | None,
        typer.Option(help="Only about this: the ID of an order or a payment; of an attempt, INTEGRATION/KEY."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List what waits for a person, oldest first.

    Example: ./hub decisions list --mine
    """
    found = _LISTED.show(everything=everything, limit=limit, as_json=as_json, mine=mine, about=about)
    if found and not everything:
        console.say(f"To decide: ./hub decisions decide {found[0]['decision_id']} {found[0]['choices'][0]} --reason …")


@app.command("show")
def show(decision_id: DecisionId, as_json: Json = False) -> None:
    """
    Show one decision: its question, the values that it is about, its choices, and what was decided.

    An operator also sees personal data among the values; that is recorded in the audit trail.

    Example: ./hub decisions show 7
    """
    found = hub_api().get(path_of("decisions", decision_id)).document
    if as_json:
        console.show_json(found)
        return
    rows = [["question", found["question"]], *([name, _text(value)] for name, value in found["shows"].items())]
    rows += [["choices", ", ".join(found["choices"])], ["about", found["about"]], ["since", shown(found["opened_at"])]]
    if found["choice"]:
        rows.append(["decided", f"{found['choice']} by {found['decided_by']}, {shown(found['decided_at'])}"])
    console.show_table(f"Decision {decision_id}, for {found['role']}s", ("what", "value"), rows, empty="")


@app.command("decide")
def decide(
    decision_id: DecisionId,
    choice: Annotated[str, typer.Argument(metavar="CHOICE", help="One of its choices.")],
    reason: Annotated[str, typer.Option(help="How you know. Kept in the audit trail.")],
    ref: Annotated[
        str | None,
        typer.Option(help="Of a payment's call that was done: the gateway's reference of what it did."),
    ] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Decide what something waits for. Once: the second one to decide is refused.

    Example: ./hub decisions decide 7 done --reason "it is in the dashboard"
    """
    body = {"choice": choice, "reason": reason, **({"ref": ref} if ref else {})}
    found = repeatable.send(path_of("decisions", decision_id, "decide"), body, key)
    if as_json:
        console.show_json(found)
        return
    console.success(f"Decision {decision_id} about {found['about']}: {found['choice']}.")

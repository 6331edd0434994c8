"""./hub new: write a connector, a stream, a subscriber or a page, with its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.core.errors import BadRequest
from crossdock.stack.home import project

if TYPE_CHECKING:
    from crossdock.cli.new.files import Plan

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Write a connector, a stream, a subscriber or a page that passes the checks and its own tests at once.",
)
#: The pages of the reference and the API's description list kinds, commands and event types.
_REFERENCE = (
    "Write the generated pages again: .venv/bin/python -m crossdock.api > docs/openapi.json",
    "And those of commands, routes and settings: .venv/bin/python -m crossdock.cli.reference",
    "Run all static checks and tests: ./hub test --quick",
)


@app.command("connector")
def connector(
    name: Annotated[str, typer.Argument(help="The kind of integration: acme_shop.")],
    title: Annotated[str, typer.Option(help="What people call the system; by default made from the name.")] = "",
    dataset: Annotated[str, typer.Option(help="The dataset of its first stream.")] = "inventory",
) -> None:
    """
    Write a connector: manifest, client, connection test, one stream, and tests with a simulated system.

    Example: ./hub new connector acme_shop --title "Acme Shop" --dataset orders
    """
    from crossdock.cli.new.connector import plan_connector  # noqa: PLC0415  loads the datasets
    from crossdock.cli.new.files import Plan, checked_name  # noqa: PLC0415

    plan = Plan(project())
    checked_name(name, "a connector")
    shown = title or name.replace("_", " ").title()
    if not shown.isprintable() or set(shown) & set('"\\$'):
        raise BadRequest(f"{shown!r} cannot be a title: no quotation marks, backslashes and dollar signs, please")
    tests = plan_connector(plan, name, shown, dataset)
    folder = f"include/crossdock/connectors/{name}"
    _write(
        plan,
        f"Run its tests: ./hub test {tests}",
        f"Replace the requests in {folder}/client.py by those of the system, and {tests}/system.py with them",
        f"Replace the fields in {folder}/{dataset}.py, its contract, and the sample records in {tests}",
        f"Add its settings and credentials to {folder}/manifest.json, and a connection to airflow_settings.yaml",
        "Add it to CONNECTORS in tests/contracts/benches.py: the suite that all connectors pass",
        "Optional: webhooks.py, if the system sends webhooks (docs/how-to/add-a-connector.md)",
        *_REFERENCE,
    )


@app.command("stream")
def stream(
    name: Annotated[str, typer.Argument(metavar="CONNECTOR.DATASET", help="Such as acme_shop.products.")],
) -> None:
    """
    Write a further stream of a connector: module, contract, line in the manifest, sample records, test.

    Example: ./hub new stream acme_shop.products
    """
    from crossdock.cli.new.files import Plan  # noqa: PLC0415
    from crossdock.cli.new.stream import plan_stream  # noqa: PLC0415  loads the datasets

    plan = Plan(project())
    connector_name, dataset = _two(name, "a stream", "acme_shop.products")
    tests = plan_stream(plan, connector_name, dataset)
    _write(
        plan,
        f"Run its tests: ./hub test {tests}",
        f"Replace the fields in include/crossdock/connectors/{connector_name}/{dataset}.py, its contract, and the samples",
        "Compute what is only checked: constants stand for it in the mapping",
        *_REFERENCE,
    )


@app.command("subscriber")
def subscriber(
    name: Annotated[str, typer.Argument(metavar="SUBJECT.NAME", help="Such as inventory.sold_out.")],
) -> None:
    """
    Write a subscriber: a handler in its subject, its line in app/subscribers.py, a test.

    Example: ./hub new subscriber orders.large_orders
    """
    from crossdock.cli.new.files import Plan  # noqa: PLC0415
    from crossdock.cli.new.subscriber import plan_subscriber  # noqa: PLC0415  loads the datasets

    plan = Plan(project())
    subject, handler = _two(name, "a subscriber", "inventory.sold_out")
    tests = plan_subscriber(plan, subject, handler)
    _write(
        plan,
        f"Run its test: ./hub test {tests}/test_{handler}.py",
        f"Write the reaction in include/crossdock/commerce/{subject}/subscribers.py (docs/how-to/add-a-subscriber.md)",
        *_REFERENCE,
    )


@app.command("page")
def page(
    name: Annotated[str, typer.Argument(help="The page's module and address: returns, stock_levels.")],
    title: Annotated[str, typer.Option(help="Its name in the navigation; by default made from the name.")] = "",
) -> None:
    """
    Write a page of Airflow's UI: module, template, its entry in the navigation, and its lines in the tests of all pages.

    Example: ./hub new page stock_levels --title "Stock levels"
    """
    from crossdock.cli.new.files import Plan, checked_name  # noqa: PLC0415
    from crossdock.cli.new.page import plan_page  # noqa: PLC0415

    plan = Plan(project())
    checked_name(name, "a page")
    test = plan_page(plan, name, _checked_title(title or name.replace("_", " ").capitalize()))
    _write(
        plan,
        f"Run its tests: ./hub test {test} tests/web/test_frame.py tests/web/test_statements.py",
        f"Replace the use case in include/crossdock/web/{name}.py, and its template with it",
        "Name the route whose guard the page has in tests/web/matrix.py",
        "Say in docs/pages.md what it shows",
        "Run all static checks and tests: ./hub test --quick",
    )


def _checked_title(shown: str) -> str:
    if not shown.isprintable() or set(shown) & set('"\\$<>{}'):
        raise BadRequest(f"{shown!r} cannot be a title: letters, digits and plain signs, please")
    return shown


def _two(name: str, what: str, example: str) -> tuple[str, str]:
    from crossdock.cli.new.files import checked_name  # noqa: PLC0415

    first, dot, second = name.partition(".")
    if not dot:
        raise BadRequest(f"{name!r} cannot name {what}: two words with a dot between are expected, such as {example}")
    return checked_name(first, what), checked_name(second, what)


def _write(plan: Plan, *steps: str) -> None:
    """Write what is planned, print it, and the next steps in order."""
    plan.write()
    for path in plan.created:
        console.show(f"new      {path}")
    for path in plan.changed:
        console.show(f"changed  {path}")
    console.say("Next:")
    for number, step in enumerate(steps, start=1):
        console.say(f"  {number}. {step}")

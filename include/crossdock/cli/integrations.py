"""
./hub integration …: the registry, through the hub's public API.

Imports are light on purpose, and what only some commands need is imported in them: most only send a request.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.completion import ids_of
from crossdock.cli.consent import confirm
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubApi, HubRefused
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.paths import path_of

if TYPE_CHECKING:
    from crossdock.integrations.manifests import Manifest

app = typer.Typer(cls=CommandGroup, no_args_is_help=True)

Id = Annotated[
    str,
    typer.Argument(
        help="The id, as ./hub integration list shows it.", autocompletion=ids_of("/integrations", "integrations", "id")
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting: NAME=VALUE. Lists and true/false are JSON, all else is text."),
]
#: Never the value of an option: it would be in the shell's history and in every process list.
CredentialsFile = Annotated[
    str | None,
    typer.Option(
        "--credentials", help="A JSON file with the credentials, or - for standard input. By default, a prompt."
    ),
]


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """
    List integrations with their last test and the calls of the last hour.

    Example: ./hub integration list
    """
    found = hub_api().pages("/integrations", "integrations")
    if as_json:
        console.show_json({"integrations": found})
        return
    rows = [
        (
            integration["id"],
            integration["kind"],
            integration["state"],
            _verdict(integration),
            *_figures(integration["health"]),
            integration["updated_by"],
        )
        for integration in found
    ]
    console.show_table(
        "Integrations, and their calls of the last hour",
        ("id", "kind", "state", "last test", "breaker", "calls", "errors", "avoided", "P95 ms", "changed by"),
        rows,
        empty="There is no integration yet. To add one: ./hub integration add ID --kind KIND --set …",
    )


@app.command("show")
def show(
    integration_id: Id,
    hours: Annotated[int, typer.Option(min=1, max=720, help="The period over which calls are counted.")] = 1,
    as_json: Json = False,
) -> None:
    """
    Show an integration, its health, and the calls of its latest runs.

    Example: ./hub integration show shop_eu --hours 24
    """
    api = hub_api()
    found = api.get(path_of("integrations", integration_id)).document
    health = api.get(path_of("integrations", integration_id, "health"), hours=hours).document
    usage = api.get(path_of("integrations", integration_id, "usage"), limit=10).document["runs"]
    if as_json:
        console.show_json({**found, "health": health, "usage": usage})
        return
    calls, breaker = health.pop("calls"), health.pop("breaker")
    fields = {**found, **{name: value for name, value in health.items() if name not in found}}
    outage = breaker["outage"]
    fields["breaker"] = breaker["phase"]
    fields["outage"] = (
        f"{counted(outage['calls'], 'call')} since {outage['since'][:19]}: {outage['reason']}" if outage else ""
    )
    _show_fields(integration_id, fields)
    _show_fields(f"Calls of the last {hours} h", calls)
    console.show_table(
        "Circuit breaker, latest change first",
        ("at", "from", "to", "calls", "failures"),
        [[change["at"][:19], *list(change.values())[1:]] for change in breaker["changes"]],
        empty="The circuit breaker has always been closed",
    )
    console.show_table(
        "Latest runs",
        ("run", "state", "calls", "errors", "avoided", "P95 ms"),
        [
            [run["run_id"], run["state"], *(run["calls"][name] for name in ("calls", "errors", "avoided", "p95_ms"))]
            for run in usage
        ],
        empty="There are no runs yet",
    )


@app.command("kinds")
def kinds(as_json: Json = False) -> None:
    """
    List the kinds of integration, with their settings and credentials.

    Example: ./hub integration kinds
    """
    found = hub_api().get("/kinds").document["kinds"]
    if as_json:
        console.show_json({"kinds": found})
        return
    for kind in found:
        rows = [
            (name, _need(name, schema), "secret" if field.get("writeOnly") else "", field.get("description", ""))
            for schema in (kind["settings"], kind["credentials"])
            for name, field in schema["properties"].items()
        ]
        quality = f" [{kind['quality']}]" if kind["quality"] else ""
        title = f"{kind['kind']}{quality}: {kind['description']}"
        console.show_table(title, ("field", "", "", "description"), rows, empty="")


@app.command("actions")
def actions(integration_id: Id, as_json: Json = False) -> None:
    """
    List what can be done at the system of an integration, with a sample of each action's input.

    Example: ./hub integration actions crm
    """
    found = hub_api().get(path_of("integrations", integration_id, "actions")).document
    if as_json:
        console.show_json(found)
        return
    console.show_table(
        f"Actions of {integration_id} (quality: {found['quality'] or 'no claim'})",
        ("action", "", "what it does", "sample of its input"),
        [(each["name"], each["kind"], each["description"], json.dumps(each["sample"])) for each in found["actions"]],
        empty="This kind of integration has no actions",
    )


@app.command("act")
def act(
    integration_id: Id,
    action: Annotated[str, typer.Argument(help="The action, as ./hub integration actions lists it.")],
    given: Annotated[
        str, typer.Option("--input", help="The input as JSON, @FILE for a file with it, or - for standard input.")
    ],
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Perform an action at the system of an integration, and print its output as JSON.

    If the outcome is unknown, the error names the key with which the same call can be repeated.

    Example: ./hub integration act crm find_customer --input '{"key": "ada@example.com"}'
    """
    found = repeatable.send(path_of("integrations", integration_id, "actions", action), {"input": _input(given)}, key)
    if as_json:
        console.show_json(found)
        return
    console.show_document(found["output"])


@app.command("add")
def add(
    integration_id: Annotated[
        str, typer.Argument(help="Lowercase letters, digits and _. Also the id of the Airflow connection.")
    ],
    kind: Annotated[str, typer.Option(help="The kind, as ./hub integration kinds lists it.")],
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    settings: Set = None,
    credentials: CredentialsFile = None,
    existing: Annotated[
        bool,
        typer.Option(
            "--existing", help="Use the existing Airflow connection of this id; the hub does not write to it."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Add an integration after testing its connection. Credentials are stored in Airflow, encrypted, and nowhere else.

    Example: ./hub integration add erp_stock --kind declared --set base_url=https://erp.example --credentials erp.json
    """
    from crossdock.cli.credentials import credentials_for  # noqa: PLC0415

    api, entered = hub_api(), _settings(settings)
    # Before the prompt: an ID with a capital letter should not make a person type a secret twice.
    _refuse_bad_id(api, integration_id)
    schemas = _kind(api, kind, None if existing else integration_id)
    if not existing:
        schemas.refuse_invalid(entered, None)
    body: dict[str, Any] = {"id": integration_id, "kind": kind, "name": name, "settings": entered}
    if not existing:
        body["credentials"] = credentials_for(schemas, credentials)
    stored = _sent(lambda: api.post("/integrations", body).document, as_json=as_json)
    _report(stored, f"{integration_id} is connected. {_used_by(stored)}", as_json=as_json)


def _used_by(stored: dict[str, Any]) -> str:
    """Say what the hub does with an integration that was added; only a declared one gets its stream later, with its file."""
    if stored["streams"]:
        return f"Its streams: {', '.join(stored['streams'])}"
    if stored["kind"] == "declared":
        return "No stream reads it yet: put its declaration into the folder of integrations"
    return f"It has no streams; the hub calls it by its actions: ./hub integration actions {stored['id']}"


@app.command("test")
def test(integration_id: Id, as_json: Json = False) -> None:
    """
    Test the connection. The exit code is 1 if a check fails.

    Example: ./hub integration test shop_eu
    """
    found = hub_api().post(path_of("integrations", integration_id, "test"), None).document
    if as_json:
        console.show_json(found)
    else:
        _show_checks(found["checks"])
    if not found["passed"]:
        raise typer.Exit(Exit.FAILED)


@app.command("change")
def change(
    integration_id: Id,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    settings: Set = None,
    same_records: Annotated[
        bool, typer.Option("--same-records", help="The new address is of the same system: its records are the same.")
    ] = False,
    credentials: CredentialsFile = None,
    as_json: Json = False,
) -> None:
    """
    Change the name or single settings, after testing them.

    Settings that decide where the credentials are sent, such as the URL, need the credentials again.

    Example: ./hub integration change shop_eu --set project=shop-2
    """
    from crossdock.cli.credentials import credentials_for  # noqa: PLC0415

    if not name and not settings:
        raise BadRequest("Nothing to change. Use --name NAME or --set FIELD=VALUE")
    api = hub_api()
    seen = api.get(path_of("integrations", integration_id))
    body: dict[str, Any] = {"name": name} if name else {}
    if settings:
        body["settings"] = {**seen.document["settings"], **_settings(settings)}
    if same_records:
        body["same_records"] = True

    def send() -> Any:
        return api.patch(path_of("integrations", integration_id), body, if_match=seen.etag).document

    def enter_credentials() -> None:
        body["credentials"] = credentials_for(_kind(api, seen.document["kind"], integration_id), credentials)

    if credentials is not None:
        enter_credentials()
    try:
        stored = _sent(send, as_json=as_json)
    except HubRefused as refused:
        if credentials is not None or not _asks_for_credentials(refused):
            raise
        console.say(str(refused))
        enter_credentials()
        stored = _sent(send, as_json=as_json)
    _report(stored, f"{integration_id} is changed", as_json=as_json)


@app.command("rotate")
def rotate(integration_id: Id, credentials: CredentialsFile = None, as_json: Json = False) -> None:
    """
    Replace the credentials, after testing the new ones.

    Example: ./hub integration rotate shop_eu --credentials new.json
    """
    from crossdock.cli.credentials import credentials_for  # noqa: PLC0415

    api = hub_api()
    seen = api.get(path_of("integrations", integration_id))
    body = {"credentials": credentials_for(_kind(api, seen.document["kind"], integration_id), credentials)}
    stored = _sent(
        lambda: api.post(path_of("integrations", integration_id, "rotate"), body, if_match=seen.etag).document,
        as_json=as_json,
    )
    _report(stored, f"{integration_id} has new credentials", as_json=as_json)


@app.command("pause")
def pause(integration_id: Id, as_json: Json = False) -> None:
    """
    Pause the syncs of an integration. Runs that have read their records are finished.

    Example: ./hub integration pause shop_eu
    """
    found = hub_api().post(path_of("integrations", integration_id, "pause"), None).document
    _report(
        found, f"{integration_id} is paused. To resume it: ./hub integration resume {integration_id}", as_json=as_json
    )


@app.command("resume")
def resume(integration_id: Id, as_json: Json = False) -> None:
    """
    Resume the syncs of an integration. The next run reads what changed in the meantime.

    Example: ./hub integration resume shop_eu
    """
    found = hub_api().post(path_of("integrations", integration_id, "resume"), None).document
    _report(found, f"{integration_id} is resumed", as_json=as_json)


@app.command("remove")
def remove(
    integration_id: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """
    Delete an integration and the credentials that the hub wrote. Synced data is kept; its stock is no longer sellable.

    Example: ./hub integration remove shop_eu --yes
    """
    api = hub_api()
    seen = api.get(path_of("integrations", integration_id))
    confirm(f"This permanently deletes {integration_id} and its credentials", yes=yes)
    api.delete(path_of("integrations", integration_id), if_match=seen.etag)
    _report({"id": integration_id, "removed": True}, f"{integration_id} is deleted", as_json=as_json)


@app.command("validate")
def validate(
    file: Annotated[Path, typer.Argument(help="A declaration file: dags/integrations/NAME.yaml.")],
    as_json: Json = False,
) -> None:
    """
    Validate a declaration file; reports errors with their lines, those of its form first. Works offline.

    Example: ./hub integration validate dags/integrations/erp_stock.yaml
    """
    from crossdock.connectors.declarative.streams import declared_stream  # noqa: PLC0415  only this command needs it
    from crossdock.core.ids import sync_dag  # noqa: PLC0415

    declaration, stream = declared_stream(file)
    columns = [column.name for column in stream.columns]
    if as_json:
        console.show_json({"name": declaration.name, "table": stream.dataset.table, "columns": columns})
        return
    console.success(f"{declaration.name} is valid: DAG {sync_dag(stream.id)}, table {stream.dataset.table}")


@app.command("preview")
def preview(
    file: Annotated[Path, typer.Argument(help="A declaration file: dags/integrations/NAME.yaml.")],
    records: Annotated[int, typer.Option(min=1, max=20, help="How many of the first records.")] = 3,
    settings: Set = None,
    credentials: CredentialsFile = None,
    as_json: Json = False,
) -> None:
    """
    Show the first records of a declared system as received, as mapped, and what the rules say. Stores nothing.

    The exit code is 1 if there are records and none would be loaded, and 3 if some would not.

    With the address and credentials given here, or else with those of the integration, if it was added already.

    Example: ./hub integration preview dags/integrations/erp_stock.yaml --credentials erp.json
    """
    from crossdock.cli.declaration_preview import exit_of_preview, preview_body, show_preview  # noqa: PLC0415

    api = hub_api()
    body = preview_body(api, file, _settings(settings), credentials)
    found = api.post("/declarations/preview", {**body, "records": records}).document
    if as_json:
        console.show_json(found)
    else:
        show_preview(found["records"])
    if ended := exit_of_preview(found["records"]):
        raise typer.Exit(ended)


def _input(given: str) -> Any:
    """Read the JSON of *given*: itself, a file, or standard input."""
    where = "standard input" if given == "-" else given.removeprefix("@")
    try:
        text = given
        if given == "-":
            text = sys.stdin.read()
        elif given.startswith("@"):
            text = Path(where).read_text(encoding="utf-8")
    except OSError as error:
        raise BadRequest(f"Cannot read the input from {where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"Cannot read the input from {where}: it is not UTF-8") from error
    try:
        found = json.loads(text)
        # What Python reads and JSON cannot hold: NaN, and numbers that became infinite.
        json.dumps(found, allow_nan=False)
    except (ValueError, RecursionError) as error:
        cause = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadRequest(
            f"The input is not JSON: {cause}. Expected one object, as the sample of ./hub integration actions, or @FILE"
        ) from error
    return found


def _settings(given: list[str] | None) -> dict[str, Any]:
    found = {}
    for pair in given or ():
        name, equals, text = pair.partition("=")
        if not equals:
            raise BadRequest(f"Invalid setting {pair!r}. Write it as NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # A project called 2026 is a name, not a number: only lists and booleans are JSON here.
        found[name] = value if isinstance(value, list | bool) else text
    return found


def _refuse_bad_id(api: HubApi, integration_id: str) -> None:
    from crossdock.integrations.model import INTEGRATION_ID  # noqa: PLC0415

    if not re.fullmatch(INTEGRATION_ID, integration_id):
        raise BadRequest(
            f"Invalid ID {integration_id!r}. Use 2 to 63 lowercase letters, digits or _, starting with a letter, e.g. shop_eu"
        )
    with suppress(NotFound):
        api.get(path_of("integrations", integration_id))
        raise Conflict(
            f"The integration {integration_id!r} already exists", hint=Hint(HintId.SHOW_INTEGRATION, integration_id)
        )


def _kind(api: HubApi, name: str, integration_id: str | None) -> Manifest:
    """
    Read the kind from the hub in use: another machine's hub may know other kinds than this one.

    Its credentials are those that the integration needs; None for all that the kind has.
    """
    from crossdock.integrations.manifests import Manifest  # noqa: PLC0415

    narrowed = {"integration_id": integration_id} if integration_id else {}
    document = api.get(path_of("kinds", name), **narrowed).document
    return Manifest(**document, provides={})


def _sent(send: Any, *, as_json: bool) -> dict[str, Any]:
    """Return the answer of *send*. If the connection test failed, show its checks before the error."""
    try:
        found: dict[str, Any] = send()
    except HubRefused as refused:
        if not as_json and (checks := refused.problem.get("checks")):
            _show_checks(checks)
        raise
    return found


def _asks_for_credentials(refused: HubRefused) -> bool:
    return any(error["pointer"] == "/credentials" for error in refused.problem.get("errors", ()))


def _report(document: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json(document)
        return
    if document.get("checks"):
        _show_checks(document["checks"])
    console.success(sentence)


def _show_checks(checks: list[dict[str, Any]]) -> None:
    rows = [
        (check["name"], check["outcome"], check["duration_ms"], check["message"], _typed(check["hint"]))
        for check in checks
    ]
    console.show_table("Connection test", ("check", "", "ms", "found", "what to do"), rows, empty="")


def _typed(hint: str | None) -> str | None:
    """Write a setting that *hint* names as it is typed here: `--set 'allowed_networks=["10.0.0.1/32"]'`."""
    return re.sub(r"\bset (\w+) to (\[[^\]]*\])", r"add --set '\1=\2'", hint) if hint else hint


def _show_fields(title: str, fields: dict[str, Any]) -> None:
    console.show_table(title, ("field", "value"), [(name, _shown(value)) for name, value in fields.items()], empty="")


def _figures(health: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(_shown(health[name]) for name in ("breaker", "calls", "errors", "avoided", "p95_ms"))


def _verdict(integration: dict[str, Any]) -> str:
    if integration["tested_at"] is None:
        return "never tested"
    return f"{'passed' if integration['test_passed'] else 'failed'} {integration['tested_at'][:16]}"


def _need(name: str, schema: dict[str, Any]) -> str:
    return "required" if name in schema["required"] else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)

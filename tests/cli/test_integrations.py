"""./hub integration: every command through the hub's API, as a script uses it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from crossdock.cli import declaration_preview, integrations
from crossdock.cli.app import main
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.shop import free_port

PROJECT = Path(__file__).parents[2]
CANARY = "k4n4ry-of-the-command-line"


@pytest.fixture
def hub(served: Hub) -> Hub:
    """The server itself: what its integrations are stays from test to test, and each has names of its own."""
    return served


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=3, inventory=20, products=5, orders=5, customers=2, flaws=0, client_secret=CANARY) as opened:
        yield opened


#: Valid settings: the command prompts for credentials only after checking them.
SETTINGS = ["--kind=commercetools", "--set=base_url=https://shop.example", "--set=project=demo"]


def run(hub: Hub, *words: str, stdin: str = "", user: str = "otto") -> subprocess.CompletedProcess[str]:
    """The command in this process, which has loaded it already: forty starts of Python would take a minute."""
    signed_in = {"HUB_URL": hub.url, "HUB_USER": user, "HUB_PASSWORD": user * 2, "COLUMNS": "200"}
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.dict(os.environ, signed_in),
        patch.object(sys, "argv", ["hub", "integration", *words]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(["hub", *words], code, out.getvalue(), err.getvalue())


def answer(hub: Hub, *words: str, stdin: str = "") -> Any:
    ended = run(hub, *words, "--json", stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def secret(retailer: FakeRetailer, text: str = CANARY) -> str:
    return json.dumps({"client_id": retailer.client_id, "client_secret": text})


def add_words(retailer: FakeRetailer, integration_id: str) -> list[str]:
    return [
        "add",
        integration_id,
        "--kind=commercetools",
        f"--set=base_url={retailer.url}",
        f"--set=project={retailer.project}",
        f"--set=scope=view_products:{retailer.project} view_orders:{retailer.project}",
        '--set=allowed_networks=["127.0.0.0/8"]',
        "--credentials=-",
    ]


def test_a_whole_life(hub: Hub, retailer: FakeRetailer, tmp_path: Path) -> None:
    added = answer(hub, *add_words(retailer, "cli_life"), stdin=secret(retailer))
    assert added["test_passed"]
    assert "cli_life" in [each["id"] for each in answer(hub, "list")["integrations"]]
    assert answer(hub, "show", "cli_life")["health"]["runs_24h"] == 0
    assert answer(hub, "test", "cli_life")["passed"]
    assert answer(hub, "change", "cli_life", "--name=Renamed", "--set=token_path=/oauth/token")["version"] == 2
    assert answer(hub, "show", "cli_life")["settings"]["token_path"] == "/oauth/token"
    (tmp_path / "secret.json").write_text(secret(retailer))
    assert answer(hub, "rotate", "cli_life", f"--credentials={tmp_path}/secret.json")["version"] == 3
    assert answer(hub, "pause", "cli_life")["state"] == "paused"
    assert answer(hub, "resume", "cli_life")["state"] == "active"
    assert answer(hub, "remove", "cli_life", "--yes")["removed"]
    assert run(hub, "show", "cli_life").returncode == 1


def test_an_action_is_performed_by_command_and_repeated_by_its_key(
    hub: Hub, retailer: FakeRetailer, tmp_path: Path
) -> None:
    """After an unknown outcome a person must be able to repeat the very same call."""
    words = [
        f"{word} manage_products:{retailer.project}" if "scope=" in word else word
        for word in add_words(retailer, "cli_act")
    ]
    answer(hub, *words, stdin=secret(retailer))
    row = next(iter(retailer.state.collection("inventory").rows())).document
    (tmp_path / "input.json").write_text(json.dumps({"key": row["key"], "version": row["version"], "quantity": 4711}))
    act = ["act", "cli_act", "set_inventory_quantity", f"--input=@{tmp_path}/input.json"]
    # All that the client may send by itself, and one more.
    retailer.faults.put("inventory", [{"reset": "after"}, *[{"status": 503}] * 4])

    listed = answer(hub, "actions", "cli_act")
    unknown = run(hub, *act)
    (key,) = re.findall(r"--key (\S+)", unknown.stderr)
    done = answer(hub, *act, f"--key={key}")

    assert "set_inventory_quantity" in [action["name"] for action in listed["actions"]]
    assert "unknown whether" in unknown.stderr
    assert (unknown.returncode, done["output"]["quantity_on_stock"]) == (1, 4711)
    assert retailer.state.get("inventory", row["id"]).document["version"] == row["version"] + 1
    shown = run(hub, "act", "cli_act", "get_inventory", "--input", json.dumps({"sku": row["sku"]}))
    assert any(entry["quantity_on_stock"] == 4711 for entry in json.loads(shown.stdout)["entries"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input=colour"], "The input is not JSON"),
        (["--input=@/not/there"], "Cannot read the input from /not/there: No such file"),
        (["--input=@{folder}/latin.json"], "it is not UTF-8"),
        (["--input=@{folder}/deep.json"], "The input is not JSON: it nests too deeply"),
        (['--input={"sku": NaN}'], "The input is not JSON: Out of range"),
        (['--input={"sku": 1e999}'], "The input is not JSON: Out of range"),
        (['--input={"sku": "A"}', "--key=ключ"], "Invalid key 'ключ'"),
        (['--input={"sku": "A"}', "--key=a\nX: 1"], "Invalid key 'a\\nX: 1'"),
        (['--input={"sku": "A"}', "--key="], "Invalid key ''"),
        (['--input={"sku": 5}'], "/input/sku: must be of the type string"),
        (['--input={"skew": "A"}'], "/input/skew: is not known; known fields: sku"),
    ],
)
def test_a_wrong_input_is_wrong_use(
    hub: Hub, retailer: FakeRetailer, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"sku": "caf\xe9"}')
    # Deeper than any recursion limit of Python's decoder.
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    words = [word.replace("{folder}", str(tmp_path)) for word in words]
    if run(hub, "show", "cli_input").returncode:
        answer(hub, *add_words(retailer, "cli_input"), stdin=secret(retailer))

    ended = run(hub, "act", "cli_input", "get_inventory", *words)

    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.split())
    assert "--key" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_settings_are_wrong_use_on_the_client_and_on_the_server(hub: Hub, retailer: FakeRetailer) -> None:
    run(hub, *add_words(retailer, "cli_exit"), stdin=secret(retailer))

    assert run(hub, "change", "cli_exit", "--set=projekt=x").returncode == 2
    assert run(hub, "change", "cli_exit", "--set=project=another").returncode == 1, "its test fails"


@pytest.mark.parametrize(
    ("auth", "code", "said"),
    [
        ("none", 1, "address"),
        ("bearer", 2, "Not a terminal, so cannot prompt for credentials"),
    ],
)
def test_credentials_are_asked_for_where_the_declaration_has_an_authentication(
    hub: Hub, auth: str, code: int, said: str
) -> None:
    """Without one there is nothing to type, and a script has no terminal. Nothing listens at the address."""
    name = f"cli_by_{auth}"
    declaration = hub.declarations / f"{name}.yaml"
    declaration.write_text(
        f"title: Stock\nbase_url: http://127.0.0.1:{free_port()}\nauth: {{kind: {auth}}}\n"
        "read: {path: /stock, records: items}\n"
        "identity: {id: id, version: version, changed_at: changed}\n"
        "mapping: {sku: {path: sku}}\n"
    )
    try:
        ended = run(hub, "add", name, "--kind=declared", '--set=allowed_networks=["127.0.0.0/8"]')
    finally:
        declaration.unlink()

    assert ended.returncode == code, ended.stderr
    assert said in ended.stdout + ended.stderr
    assert ("Not a terminal" in ended.stderr) == (auth == "bearer")


def test_what_fails_says_which_check_and_what_to_do(hub: Hub, retailer: FakeRetailer) -> None:
    ended = run(hub, *add_words(retailer, "cli_wrong"), stdin=secret(retailer, f"{CANARY}-but-wrong"))

    assert ended.returncode == 1
    assert "credentials" in ended.stdout
    assert "Enter the ID and the secret again" in " ".join(ended.stdout.split())
    assert "Nothing was stored" in ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    assert "cli_wrong" not in [each["id"] for each in answer(hub, "list")["integrations"]]


def test_no_option_takes_a_secret(hub: Hub) -> None:
    """A shell keeps its history, and every process list shows the arguments."""
    shown = run(hub, "add", "--help").stdout

    assert "--secret" not in shown
    assert "--password" not in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "not_there"], 1, "There is no integration 'not_there'"),
        (["pause", "not_there"], 1, "There is no integration 'not_there'"),
        (["add", "x_y", "--kind=fax", "--existing"], 1, "no kind 'fax' of integration. Kinds: adyen, commercetools"),
        (["add", "x_y", "--kind=commercetools", "--set=novalue", "--existing"], 2, "NAME=VALUE"),
        (["add", "x_y", *SETTINGS], 2, "Not a terminal, so cannot prompt for credentials. Use --credentials FILE"),
        (["add", "Shop-EU", *SETTINGS, "--credentials=-"], 2, "Invalid ID 'Shop-EU'. Use 2 to 63 lowercase letters"),
        (["add", "x_y", "--kind=commercetools"], 2, "/settings/base_url: is missing"),
        (["add", "x_y", *SETTINGS, "--set=projekt=p"], 2, "/settings/projekt: is not known; known fields: base_url"),
        (["add", "x_y", *SETTINGS, "--credentials=-"], 2, "standard input is not JSON. Expected one JSON object"),
        (
            ["add", "x_y", *SETTINGS, "--credentials=/not/there"],
            2,
            "Cannot read the credentials from /not/there: No such file",
        ),
        (["add", "x_y", *SETTINGS, f"--credentials={PROJECT}"], 2, "Is a directory. Expected one JSON object, such as"),
        (
            ["add", "x_y", *SETTINGS, f"--credentials={PROJECT}/README.md"],
            2,
            "README.md is not JSON. Expected one JSON object",
        ),
        (
            ["add", "x_y", *SETTINGS, "--set=allowed_networks=10.0.0.0/8"],
            2,
            'must be of the type array, for example ["10.1.0.0/16"]',
        ),
        (["remove", "not_there"], 1, "There is no integration 'not_there'"),
        (["validate", "not/there.yaml"], 2, "cannot be read"),
    ],
)
def test_wrong_use_says_what_to_do(hub: Hub, words: list[str], code: int, message: str) -> None:
    ended = run(hub, *words)

    assert ended.returncode == code, ended.stderr
    assert message in " ".join(ended.stderr.split())


def test_a_file_of_credentials_that_lacks_one_is_named_and_none_of_its_values(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "other-system.json"
    file.write_text(json.dumps({"client_id": CANARY, "password": CANARY}))

    ended = run(hub, "add", "x_y", *SETTINGS, f"--credentials={file}")

    message = " ".join(ended.stderr.split())
    assert ended.returncode == 2
    assert "other-system.json does not contain the credentials of commercetools: " in message
    assert "client_secret is missing" in message
    assert "password is not known" in message
    assert CANARY not in ended.stdout + ended.stderr


def test_a_taken_id_is_reported_before_the_prompt_for_a_secret(hub: Hub, retailer: FakeRetailer) -> None:
    run(hub, *add_words(retailer, "cli_taken"), stdin=secret(retailer))

    ended = run(hub, "add", "cli_taken", *SETTINGS)

    assert ended.returncode == 1
    assert "already exists. To see it: ./hub integration show cli_taken" in " ".join(ended.stderr.split())


def test_a_private_address_is_refused_with_the_setting_that_allows_it(hub: Hub, retailer: FakeRetailer) -> None:
    words = [word for word in add_words(retailer, "cli_private") if "allowed_networks" not in word]

    ended = run(hub, *words, "--json", stdin=secret(retailer))

    problem = json.loads(ended.stdout)["error"]["problem"]
    assert ended.returncode == 1
    assert problem["checks"][0]["hint"].startswith(
        'If this network is intended, set allowed_networks to ["127.0.0.1/32"]'
    )


def test_a_setting_that_a_check_names_is_shown_as_it_is_typed(hub: Hub, retailer: FakeRetailer) -> None:
    """And what is shown is taken: the shell takes away the apostrophes."""
    words = [word for word in add_words(retailer, "cli_typed") if "allowed_networks" not in word]
    refused = run(hub, *words, stdin=secret(retailer))
    shown = " ".join((refused.stdout + refused.stderr).split())

    assert """add --set 'allowed_networks=["127.0.0.1/32"]'""" in shown
    assert run(hub, *words, '--set=allowed_networks=["127.0.0.1/32"]', stdin=secret(retailer)).returncode == 0


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (
            {"kind": "stripe", "streams": []},
            "It has no streams; the hub calls it by its actions: ./hub integration actions eu",
        ),
        ({"kind": "declared", "streams": []}, "No stream reads it yet"),
        ({"kind": "commercetools", "streams": ["eu.orders"]}, "Its streams: eu.orders"),
    ],
)
def test_what_the_hub_does_with_an_integration_is_said_by_its_nature(stored: dict[str, Any], said: str) -> None:
    assert integrations._used_by({"id": "eu", **stored}).startswith(said)


@pytest.mark.parametrize(("failures", "code"), [([], 0), ([0, 0], 0), ([0, 1], 3), ([1, 1], 1)])
def test_a_preview_without_a_record_that_would_be_loaded_is_no_success(failures: list[int], code: int) -> None:
    """A script that previews a declaration before it is used must not go on."""
    records = [{"failures": [{"rule": "r"}] * number} for number in failures]

    assert declaration_preview.exit_of_preview(records) == code


def test_a_viewer_may_read_but_not_change(hub: Hub, retailer: FakeRetailer) -> None:
    assert run(hub, "list", user="vera").returncode == 0
    ended = run(hub, *add_words(retailer, "cli_vera"), stdin=secret(retailer), user="vera")

    assert ended.returncode == 1
    assert "vera needs the operator role" in ended.stderr


def test_a_person_sees_the_health_of_an_integration(hub: Hub, retailer: FakeRetailer) -> None:
    """Calls, breaker and runs, as tables."""
    run(hub, *add_words(retailer, "seen_by_people"), stdin=secret(retailer))
    shown, listed = run(hub, "show", "seen_by_people", user="vera"), run(hub, "list", user="vera")

    assert (shown.returncode, listed.returncode) == (0, 0), shown.stderr + listed.stderr
    for part in ("p95_ms", "limit_use", "The circuit breaker has always been closed", "There are no runs yet"):
        assert part in shown.stdout
    assert "seen_by_people" in listed.stdout
    assert CANARY not in shown.stdout + listed.stdout


def test_a_declaration_is_validated_without_a_running_hub(hub: Hub, tmp_path: Path) -> None:
    example = PROJECT / "dags/integrations/examples/sandbox_stock_rest.yaml"
    assert answer(hub, "validate", str(example))["table"] == "inventory"

    (tmp_path / "wrong.yaml").write_text(example.read_text().replace("kind: keyset", "kind: keysets"))
    ended = run(hub, "validate", str(tmp_path / "wrong.yaml"))
    assert ended.returncode == 2
    assert "line 22: /read/paging/kind: must be one of none, page" in " ".join(ended.stderr.split())

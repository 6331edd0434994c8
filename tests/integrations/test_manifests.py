"""Manifests have the form that `manifest.schema.json` says, and what they name is there."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from crossdock.integrations import manifests as module
from crossdock.integrations.actions.model import Action, ActionKind
from crossdock.integrations.actions.ports import WriteAction, WriteCall
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import manifests, read_manifest

ROOM = Path(module.__file__).parent
SCHEMA = json.loads((ROOM / "manifest.schema.json").read_text())
FILES = sorted(ROOM.parent.glob("connectors/*/manifest.json"))
COMMERCETOOLS = ROOM.parent / "connectors/commercetools/manifest.json"
ACTIONS = [
    pytest.param(kind, name, id=f"{kind}-{name}") for kind, manifest in manifests().items() for name in manifest.actions
]


def errors(document: Any) -> list[str]:
    return [error.json_path for error in Draft202012Validator(SCHEMA).iter_errors(document)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_each_manifest_has_the_form_of_the_schema(path: Path) -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert errors(json.loads(path.read_text())) == []


def _without(*place: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in place[:-1]:
            document = document[step]
        del document[place[-1]]

    return change


def _with(value: Any, *place: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in place[:-1]:
            document = document[step]
        document[place[-1]] = value

    return change


WRITE = ("actions", "set_inventory_quantity")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_with("x", "colour"), id="an unknown field"),
        pytest.param(_with("x", *WRITE, "colour"), id="an unknown field of an action"),
        pytest.param(_without(*WRITE, "sample"), id="an action without a sample"),
        pytest.param(_without(*WRITE, "unknown"), id="a write that does not resolve what is unknown"),
        pytest.param(_without(*WRITE, "idempotency"), id="a write that does not say how keys are treated"),
        pytest.param(_with("replay", *WRITE, "unknown"), id="a replay where the system knows no keys"),
        pytest.param(_with("wait", *WRITE, "unknown"), id="an unknown outcome that time resolves"),
        pytest.param(_with("none", "actions", "get_order", "idempotency"), id="a read with keys"),
        pytest.param(_without("actions", "get_order", "input", "additionalProperties"), id="an input with any field"),
        pytest.param(_without("provides", "client"), id="actions without a client"),
        pytest.param(_without("quality"), id="actions without a quality"),
        pytest.param(_without("evidence"), id="a quality without evidence"),
        pytest.param(_with("platinum", "quality"), id="an unknown quality"),
    ],
)
def test_the_schema_refuses_what_is_wrong(change: Callable[[Any], None]) -> None:
    """A schema that accepts everything would pass the test above."""
    document = json.loads(COMMERCETOOLS.read_text())
    wrong = copy.deepcopy(document)
    change(wrong)

    assert errors(document) == []
    assert errors(wrong)


@pytest.mark.parametrize(("kind", "name"), ACTIONS)
def test_an_action_is_as_it_is_declared(kind: str, name: str) -> None:
    """Its sample is a valid input, its schemas are schemas, and what it names exists and is of its kind."""
    manifest = manifests()[kind]
    action, run = manifest.actions[name], manifest.run_of(name)

    for schema in (action.input, action.output):
        Draft202012Validator.check_schema(schema)
    assert list(errors_in(action.input, action.sample, "")) == []
    assert isinstance(run, WriteAction | WriteCall) == (action.kind is ActionKind.WRITE)
    if action.read_back is None:
        assert getattr(run, "read_back", None) is None
    else:
        look = manifest.actions[action.read_back]
        assert look.kind is ActionKind.READ
        assert list(errors_in(look.input, run.read_back.input_of(action.sample), "")) == []


def test_a_manifest_with_a_wrong_action_is_not_read(tmp_path: Path) -> None:
    """Not even where nobody runs the tests: an action with a misspelled field would lose what it says."""
    document = json.loads(COMMERCETOOLS.read_text())
    document["actions"]["get_order"]["knid"] = "read"
    (tmp_path / "manifest.json").write_text(json.dumps(document))

    with pytest.raises(msgspec.ValidationError, match="knid"):
        read_manifest(tmp_path / "manifest.json")


def test_the_schema_and_the_type_of_an_action_have_the_same_fields() -> None:
    assert set(SCHEMA["$defs"]["action"]["properties"]) == set(Action.__struct_fields__)


@pytest.mark.parametrize("value", ["https://shop.example/x\n", "my\nshop"])
def test_a_pattern_ends_where_the_text_ends(value: str) -> None:
    """Python's `$` lets a final line feed pass, that of JSON Schema does not: in a URL or a header it is an injection."""
    schema = {"type": "string", "pattern": "^[^\\s]+$"}
    assert [error.pointer for error in errors_in(schema, value, "/url")] == ["/url"]
    assert [*errors_in(schema, value.replace("\n", ""), "/url")] == []


def url_fields(schema: Any) -> list[Any]:
    """Find each field of *schema* that is a URL, by its pattern."""
    match schema:
        case {"pattern": str(pattern), **_others} if "//" in pattern:
            return [schema]
        case dict() | list():
            inner = schema.values() if isinstance(schema, dict) else schema
            return [found for each in inner for found in url_fields(each)]
    return []


@pytest.mark.parametrize("kind", manifests())
def test_no_url_has_a_user_and_a_password(kind: str) -> None:
    """Settings are shown, and a customer's browser shows where it comes back to: a password in either is no secret."""
    manifest = manifests()[kind]
    fields = url_fields(manifest.settings) + url_fields(manifest.credentials)
    fields += [found for action in manifest.actions.values() for found in url_fields(action.input)]

    assert fields
    for field in fields:
        scheme = "smtp" if "smtp" in field["pattern"] else "https"
        for name in ("ada:secret@shop.example", "ada@shop.example/x", "shop.example\\@bank.example"):
            assert [*errors_in(field, f"{scheme}://{name}", "/url")], name
        good = "shop.example:8443" if scheme == "smtp" else "shop.example:8443/ada@back/of/it"
        assert [*errors_in(field, f"{scheme}://{good}", "/url")] == []


@pytest.mark.parametrize("kind", manifests())
def test_settings_that_stay_move_no_credentials_whatever_their_type(kind: str) -> None:
    """A switch among them was taken for a URL: each change of such an integration was the hub's own error."""
    manifest = manifests()[kind]
    values = {"string": "https://a.example", "boolean": True, "array": ["10.0.0.0/8"]}
    given = {name: values[field["type"]] for name, field in manifest.settings["properties"].items()}
    moving = [name for name, field in manifest.settings["properties"].items() if field.get("x-destination")]

    assert manifest.other_destination(given, given) == []
    assert manifest.other_destination({}, given) == moving
    for name in moving:
        other = {"string": "https://b.example", "boolean": False, "array": ["0.0.0.0/0"]}
        changed = given | {name: other[manifest.settings["properties"][name]["type"]]}
        assert manifest.other_destination(given, changed) == [name]

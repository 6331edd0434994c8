"""The document of the API: the one in the repository is the one that is served, and the server does as it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crossdock.api.app import create_app
from crossdock.api.openapi import document
from tests.api.conftest import Hub
from tests.api.matrix import MATRIX, SIGNED

PROJECT = Path(__file__).parents[2]


class Fuzz(NamedTuple):
    """One run of Schemathesis."""

    #: Who asks. Most of what the others may, a viewer may too; the roles between them are in test_access, and here at length.
    name: str
    #: Requests that it makes up for each operation.
    examples: int
    phases: str = "fuzzing"
    #: Only the paths that contain it.
    paths: str = ""


_ALL_PHASES = "examples,coverage,fuzzing,stateful"
_IN_THE_GATE = [
    Fuzz("admin", 12, _ALL_PHASES),
    Fuzz("admin", 50, paths="/v1/(workflows|executions)"),
    Fuzz("uma", 2),
]
_DEEP = [Fuzz("admin", 500), Fuzz("otto", 3), Fuzz("dora", 2), Fuzz("vera", 2, _ALL_PHASES)]


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return document(create_app())


def test_the_document_in_the_repository_is_the_one_that_is_served(served: dict[str, Any]) -> None:
    """When this fails: python -m crossdock.api > docs/openapi.json, and look at what changed for clients."""
    assert json.loads((PROJECT / "docs/openapi.json").read_text()) == served


def test_every_route_is_in_the_document(served: dict[str, Any]) -> None:
    operations = {(method.upper(), path) for path, item in served["paths"].items() for method in item}

    assert operations == set(MATRIX) | SIGNED


def test_every_id_in_a_path_has_a_form(served: dict[str, Any]) -> None:
    """A text without one would reach a query, a log or another path as it came."""
    free = [
        f"{method} {path}: {parameter['name']}"
        for path, item in served["paths"].items()
        for method, operation in item.items()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path"
        and not {"pattern", "enum"} & set(parameter["schema"])
        and parameter["schema"].get("type") != "integer"
    ]

    assert free == []


def test_no_url_that_is_sent_to_the_hub_has_a_user_and_a_password(served: dict[str, Any]) -> None:
    """It would be stored, shown and passed on."""
    patterns = set(re.findall(r'"pattern": ("\^https?(?:[^"\\]|\\.)*")', json.dumps(served)))

    assert patterns
    for pattern in map(json.loads, patterns):
        assert re.fullmatch(pattern, "https://shop.example/ada@back")
        assert not re.fullmatch(pattern, "https://ada:secret@shop.example/")


def test_every_route_names_its_problems(served: dict[str, Any]) -> None:
    for item in served["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    assert list(response["content"]) == ["application/problem+json"]
            assert {"400", "401", "403", "default"} <= set(operation["responses"])


def test_it_is_served(hub: Hub, served: dict[str, Any]) -> None:
    assert hub.call("GET", "/v1/openapi.json", "vera").json() == served


@pytest.mark.parametrize(
    "fuzz",
    [*_IN_THE_GATE, *(pytest.param(fuzz, marks=pytest.mark.deep) for fuzz in _DEEP)],
    ids=lambda fuzz: f"{fuzz.name}-{fuzz.examples}",
)
def test_the_server_does_as_its_document_says(fuzzed_hub: Hub, fuzz: Fuzz) -> None:
    """
    Schemathesis, all its checks, over a socket and a database: no 500, no answer that the document does not know, no
    request that breaks the document and is accepted, no credential that could be left out.
    """
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(PROJECT / "tests/api/schemathesis.toml"),
        "run",
        str(PROJECT / "docs/openapi.json"),
        "--url",
        f"{fuzzed_hub.url}/hub",
        "--header",
        f"Authorization: Bearer {fuzzed_hub.token(fuzz.name)}",
        "--checks",
        "all",
        "--phases",
        fuzz.phases,
        "--max-examples",
        str(fuzz.examples),
        "--seed",
        "20261124",
        "--request-timeout",
        "600",
        "--no-color",
        *(("--include-path-regex", fuzz.paths) if fuzz.paths else ()),
    ]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests/api")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=7_200)

    # What failed comes first, and hints on how to test more come last.
    _, heading, failed = ended.stdout.partition("= FAILURES =")
    assert ended.returncode == 0, (heading + failed)[:6000] + ended.stderr[-2000:]


def test_the_fuzzer_knows_that_each_key_may_have_come_with_another_request() -> None:
    """It draws short keys, and two requests with one are refused with 422: a new route must be in its settings."""
    paths = json.loads((PROJECT / "docs/openapi.json").read_text())["paths"]
    keyed = {
        path
        for path, methods in paths.items()
        for parameter in methods.get("post", {}).get("parameters", [])
        if parameter["name"] == "Idempotency-Key"
    }
    groups = tomllib.loads((PROJECT / "tests/api/schemathesis.toml").read_text())["operations"]
    patterns = [
        group["include-path-regex"]
        for group in groups
        if 422 in group.get("checks", {}).get("positive_data_acceptance", {}).get("expected-statuses", [])
    ]

    assert keyed
    assert [path for path in sorted(keyed) if not any(re.match(pattern, path) for pattern in patterns)] == []

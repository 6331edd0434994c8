"""The laws of the tree that import-linter cannot see: what DAG files import, where SQL is written, how files are named."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "include" / "crossdock"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: A statement of SQL, as we write it: its first word in capitals, then another word.
STATEMENT = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|ALTER|CREATE|DROP|TRUNCATE|LOCK TABLE|COPY|SET LOCAL)\s+\S"
)
#: Names that say nothing of what is in the file.
NAMELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "managers"}


def below(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize(
    "path", [*PROJECT.glob("dags/*.py"), *PROJECT.glob("plugins/*.py")], ids=lambda path: path.name
)
def test_dags_and_plugins_import_only_app_api_and_web(path: Path) -> None:
    """Airflow imports these files in every process: what they reach for must be few rooms, and those the ones above."""
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("crossdock.")}

    assert rooms <= {"app", "api", "web"}


def sql_of(path: Path) -> list[int]:
    """Lines on which a statement begins. A docstring may mention SQL."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and id(node) not in docstrings
        and isinstance(node.value, (str, bytes))
        and STATEMENT.match(node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace"))
    ]


def test_sql_is_written_in_the_listed_files_only() -> None:
    """A change of a table must find every statement on it: pyproject.toml lists the files."""
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["crossdock"]["sql"]
    offenders = {
        f"{below(path)}:{line}"
        for path in MODULES
        if not any(fnmatch(below(path), pattern) for pattern in listed)
        for line in sql_of(path)
    }

    assert offenders == set()


def test_a_listed_file_has_sql() -> None:
    """A list that names what is gone would let SQL come back unseen."""
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["crossdock"]["sql"]
    empty = [
        pattern for pattern in listed if not any(fnmatch(below(path), pattern) and sql_of(path) for path in MODULES)
    ]

    assert empty == []


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    parts = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(PACKAGE).parts}

    assert parts & NAMELESS == set()


def test_every_module_says_what_it_is() -> None:
    """A newcomer reads the first line of a file before its name is believed."""
    silent = [
        below(path)
        for path in MODULES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert [name for name in silent if "migrations" not in name] == []


#: Rooms below the API that a module of the command line may import, and why it is not a client of the API only.
REACHES = {
    "alert_routes.py": {"maintenance"},  # `alerts routes validate` needs no hub
    "audit.py": {"observability"},  # `audit verify` reads the whole trail where it is
    "bench.py": {"bench"},
    "bench_alerts.py": {"bench"},
    "bench_dags.py": {"app", "bench", "connectors"},  # writes the snapshots that the DAG files read
    "bench_events.py": {"bench"},
    "bench_event_store.py": {"bench"},
    "bench_growth.py": {"bench"},
    "bench_orders.py": {"bench"},
    "bench_faults.py": {"bench"},
    "bench_pages.py": {"bench", "db"},  # fills the database of its own stack
    "bench_restore.py": {"bench"},
    "bench_workflows.py": {"bench"},
    "bench_stack.py": {"bench"},
    "credentials.py": {"integrations"},  # checks a file against the schema that the hub sent
    "declaration_preview.py": {
        "connectors",
        "integrations",
    },  # validates the file, and knows which credentials it needs
    "demo/event_steps.py": {"commerce", "db", "events", "sync"},  # compares with the database
    "demo/chapters.py": {"db"},
    "demo/checks.py": {"db", "sync"},
    "demo/integration_steps.py": {"commerce", "connectors", "db", "sync"},  # puts a declaration into its folder
    "demo/order_steps.py": {"commerce", "db"},  # fills a shelf
    "demo/sync_steps.py": {"commerce", "db", "sync"},
    "export.py": {"app"},  # reads a whole view where it is
    "integrations.py": {"connectors", "integrations"},  # `validate`, and the settings before a secret is typed
    "new/dataset_code.py": {"commerce", "sync"},  # writes code from the declaration of a dataset
    "prepare.py": {"app", "db", "integrations", "observability"},
    "overview.py": {"db", "maintenance"},  # for status, where the API does not answer
    "profile.py": {"bench"},
    "reference.py": {
        "api",
        "connectors",
        "db",
        "integrations",
        "maintenance",
    },  # pages of routes, connectors, views, alerts
    "session.py": {"db"},  # for audit.py and verify_dataset.py
    "workflows.py": {"app", "workflows"},  # `validate` needs no hub
    "verify_dataset.py": {"connectors", "db", "sync"},
}


def test_a_command_is_a_client_of_the_api_unless_it_is_local_by_nature() -> None:
    """A command that opens the database has no roles, and an actor whom nobody checked."""
    cli = PACKAGE / "cli"
    found = {
        path.relative_to(cli).as_posix(): {
            name.split(".")[1] for name in imported(path) if name.startswith("crossdock.")
        }
        - {"cli", "client", "core", "stack"}
        for path in sorted(cli.rglob("*.py"))
    }

    assert {name: rooms for name, rooms in found.items() if rooms} == REACHES


#: Modules that write to standard output or error without `cli.console`, and why.
WRITERS = {
    "api/__main__.py",  # writes the OpenAPI document
    "app/alert_sender.py",  # its log, which the stack and Docker keep
    "stack/supervisor.py",  # the same
    "app/airflow/metadata_cleanup.py",  # a child process answers its parent in JSON
    "bench/stack/dag_imports.py",  # a child process answers its parent in JSON
    "bench/sync/source.py",  # the same
    "bench/orders/worker.py",
    "bench/sync/worker.py",  # the same
    "cli/app.py",  # its version, for which rich need not be loaded
    "cli/console.py",
    "cli/demo/senders/deliver.py",  # a child process answers its parent in JSON
    "cli/session.py",  # sends what Airflow prints to standard error
    "sandbox/__main__.py",  # imports nothing of the hub; says how far it has come
}
_PRINTING = re.compile(
    r"\bprint\(|\btyper\.(?:echo|secho|confirm|prompt|launch)\b|\bsys\.(?:__)?std(?:out|err)|import .*\b(?:stdout|stderr|echo|secho)\b"
    r"|\b(?:from|import) rich\b|\bos\.write\("
)


def test_only_the_console_writes_to_the_terminal() -> None:
    """What a source or a person wrote would reach the terminal as it is, with its control characters and markup."""
    found = {below(path) for path in MODULES if _PRINTING.search(ast.unparse(ast.parse(path.read_text())))}

    assert found == WRITERS


def test_only_one_module_makes_loggers() -> None:
    """A logger of another one would write what came from outside as it is, and a line break begins a forged line."""
    found = {
        below(path)
        for path in MODULES
        if re.search(
            r"\bgetLogger\((?!\"(?:psycopg|urllib3|mail\.log)\")|\bget_logger\(|\blogging\.(?:info|warning|error)\(",
            path.read_text(),
        )
    }

    assert found == {"core/log.py"}


def test_a_client_builds_the_path_of_an_id_in_one_place() -> None:
    """`../runs?limit=1#`, typed for an ID, would be another route: `path_of` keeps it one segment."""
    listed = {"client/airflow.py", "client/hub.py", "stack/processes.py", "bench/meter.py"}
    found = {
        below(path)
        for path in MODULES
        if below(path).split("/")[0] in {"cli", "client", "stack", "bench"}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        and isinstance(node.values[0], ast.Constant)
        and str(node.values[0].value).startswith("/")
    }

    assert found == listed


def test_a_vendor_puts_no_id_into_a_path_by_itself() -> None:
    """Quoting leaves `..` as it is. In commercetools' paths a key follows `key=`, so that it is no segment of its own."""
    found = {
        below(path)
        for path in MODULES
        if below(path).startswith("connectors/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and "quote" in {name.name for name in node.names}
    }

    assert found == {"connectors/commercetools/client.py"}


def test_only_one_module_reads_yaml() -> None:
    """It bounds what a file may hold: an alias bomb of nine lines held up every parse."""
    assert {below(path) for path in MODULES if "yaml" in set(imported(path))} == {"core/yaml_document.py"}

"""`./hub new`: what it writes passes the checks and its own tests at once, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

import crossdock.connectors
from crossdock.commerce.datasets import datasets
from crossdock.sync import Stream
from tests.cli.conftest import Hub

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: What the command reads or changes of a checkout, and what the formatter reads.
READ = (
    "pyproject.toml",
    *(f"include/crossdock/{package}/__init__.py" for package in ("app", "commerce/inventory", "commerce/orders")),
    "include/crossdock/app/subscribers.py",
    "include/crossdock/commerce/inventory/subscribers.py",
    "include/crossdock/connectors/declarative/manifest.json",
    *(f"include/crossdock/web/{module}.py" for module in ("__init__", "app", "page")),
    *(f"tests/web/{module}.py" for module in ("matrix", "test_statements", "test_in_a_browser")),
)
DATASETS = sorted(datasets())
FIRST, *OTHERS = DATASETS
EVERYTHING = (
    ("connector", "acme_shop", "--title", "Acme Shop", "--dataset", FIRST),
    *(("stream", f"acme_shop.{dataset}") for dataset in OTHERS),
    # One subject has subscribers already, the other has none.
    ("subscriber", "inventory.sold_out"),
    ("subscriber", "orders.large_orders"),
    ("page", "stock_levels", "--title", "Stock levels"),
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only the files of a checkout that the command reads or changes."""
    root = tmp_path / "checkout"
    for path in READ:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / path, root / path)
    monkeypatch.setenv("HUB_PROJECT", str(root))
    return root


def written(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_connector_with_a_stream_of_each_dataset_and_subscribers_pass_the_linter(
    stackless_hub: Hub, checkout: Path
) -> None:
    """Lines are wrapped and imports sorted by the lengths and letters of names, which no template knows."""
    for words in EVERYTHING:
        ended = stackless_hub("new", *words)
        assert ended.code == 0, ended.text

    for words in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        linted = subprocess.run([BIN / "ruff", *words, "."], cwd=checkout, capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_the_samples_of_each_dataset_are_mapped_to_all_its_columns(
    stackless_hub: Hub, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new dataset, or a new type of column, must not be forgotten here."""
    for words in EVERYTHING[: len(DATASETS)]:
        stackless_hub("new", *words)
    folder = str(checkout / "include/crossdock/connectors")
    monkeypatch.setattr(crossdock.connectors, "__path__", [*crossdock.connectors.__path__, folder])
    try:
        for dataset in DATASETS:
            stream: Stream = getattr(import_module(f"crossdock.connectors.acme_shop.{dataset}"), dataset.upper())
            samples = (checkout / f"tests/connectors/acme_shop/{dataset}.json").read_bytes()
            records = msgspec.json.decode(samples, type=list[stream.record_type])  # type: ignore[name-defined]
            columns = stream.to_columns(records)

            assert {len(values) for values in columns.values()} == {len(records)}
            assert stream.field_names >= set(json.loads(samples)[0])
    finally:
        for name in [name for name in sys.modules if "acme_shop" in name]:
            del sys.modules[name]


def test_what_was_written_is_listed_with_the_next_steps_in_order(stackless_hub: Hub, checkout: Path) -> None:
    before = written(checkout)
    ended = stackless_hub("new", "connector", "acme_shop", "--dataset", "products")

    new = set(written(checkout)) - set(before)
    assert {line.split()[1] for line in ended.out.splitlines()} == new
    assert {Path(path).name for path in new if path.startswith("include")} == {
        *("__init__.py", "manifest.json", "client.py", "field_types.py", "connection_test.py"),
        *("products.py", "products.schema.json"),
    }
    steps = ["./hub test tests/connectors/acme_shop", "client.py", "airflow_settings.yaml", "benches.py"]
    steps += ["crossdock.api > docs/openapi.json", "crossdock.cli.reference", "./hub test --quick"]
    places = [ended.err.replace("\n", " ").find(step) for step in steps]
    assert places == sorted(places)
    assert -1 not in places


def test_a_stream_is_one_more_line_in_a_manifest_that_stays_as_it_was(stackless_hub: Hub, checkout: Path) -> None:
    """A person wrote the rest of the file, and reads the difference."""
    stackless_hub("new", "connector", "acme_shop", "--dataset", "inventory")
    manifest = checkout / "include/crossdock/connectors/acme_shop/manifest.json"
    before = manifest.read_text().splitlines()
    stackless_hub("new", "stream", "acme_shop.products")

    after = manifest.read_text().splitlines()
    assert [line.strip() for line in after if line not in before] == [
        '"crossdock.connectors.acme_shop.inventory:INVENTORY",',
        '"crossdock.connectors.acme_shop.products:PRODUCTS"',
    ]
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("connector", "Acme"), "'Acme' cannot name a connector: 2 to 31 lower-case letters"),
        (("connector", "../up"), "cannot name a connector"),
        (("connector", "class"), "cannot name a connector"),
        (("connector", "acme", "--dataset", "nothing"), "Unknown dataset 'nothing'. Datasets: customers, inventory"),
        (("connector", "acme", "--title", 'The "Acme"'), "cannot be a title"),
        (("connector", "declarative"), "exists and is not overwritten"),
        (("connector", "declared"), "'declared' is a kind of integration already"),
        (("connector", "none"), "would not be valid Python"),
        (("connector", "true"), "would not be valid Python"),
        *(
            (("connector", name), "would have two")
            for name in ("http_client", "cursor", "any", "value_error", "report")
        ),
        (("subscriber", "orders.none"), "would not be valid Python"),
        (("subscriber", "orders.bad_event"), "would have two BadEvent"),
        (("stream", "acme"), "two words with a dot between are expected, such as acme_shop.products"),
        (("stream", "acme.products"), "A new one: ./hub new connector acme"),
        (("stream", "declarative.products"), "is not a connector with streams"),
        (("subscriber", "nothing.sold_out"), "Unknown dataset 'nothing'"),
        (("subscriber", "inventory.availability"), "A subscriber 'availability' exists"),
        (("page", "Stock"), "'Stock' cannot name a page"),
        (("page", "alerts"), "There is a page /alerts"),
        (("page", "dead_letters"), "There is a page /dead-letters"),
        (("page", "stock", "--title", "<b>"), "cannot be a title"),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    stackless_hub: Hub, checkout: Path, words: tuple[str, ...], said: str
) -> None:
    before = written(checkout)
    ended = stackless_hub("new", *words)

    assert ended.code in {1, 2}
    assert said in ended.text
    assert written(checkout) == before


def test_nothing_is_overwritten_the_second_time(stackless_hub: Hub, checkout: Path) -> None:
    for words in EVERYTHING:
        stackless_hub("new", *words)
    before = written(checkout)
    for words in EVERYTHING:
        assert stackless_hub("new", *words).code == 1

    assert written(checkout) == before


def test_a_folder_that_is_no_checkout_is_refused(
    stackless_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed package has no tests beside it, and nobody keeps what is written into it."""
    monkeypatch.setenv("HUB_PROJECT", str(tmp_path))

    assert "is not a checkout of Crossdock" in stackless_hub("new", "connector", "acme_shop").text


def copied(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the whole checkout."""
    for folder in ("include", "tests", "dags", "plugins", "docs"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hub", "README.md", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, root / name)
    monkeypatch.setenv("HUB_PROJECT", str(root))
    return root


def test_a_page_passes_the_tests_of_all_pages(
    stackless_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy: who may see it, that each link leads somewhere, how many statements it takes, and that axe finds nothing."""
    root = copied(tmp_path / "checkout", monkeypatch)
    assert stackless_hub("new", "page", "stock_levels").code == 0
    tests = [f"tests/web/test_{name}.py" for name in ("stock_levels", "frame", "statements")]
    readable = "tests/web/test_in_a_browser.py::test_everybody_can_read_every_page"
    ended = subprocess.run(
        [BIN / "pytest", "-q", "-p", "no:cacheprovider", *tests, f"{readable}[dark-768]", "-rs"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "include")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-5000:]


@pytest.mark.deep
def test_what_is_written_passes_every_static_check_and_its_own_tests(
    stackless_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing that a new engineer does must work. In a copy of the whole checkout."""
    root = copied(tmp_path / "checkout", monkeypatch)
    for words in EVERYTHING:
        assert stackless_hub("new", *words).code == 0

    environment = {**os.environ, "PYTHONPATH": str(root / "include")}
    own = ["tests/connectors/acme_shop", "tests/commerce/inventory/test_sold_out.py", "tests/commerce/orders"]
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports"],
        ["mypy"],
        ["pytest", "-q", "-p", "no:cacheprovider", *own, "tests/integrations/test_provider.py", "tests/test_rooms.py"],
    ):
        ended = subprocess.run(
            [BIN / command[0], *command[1:]], cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"


def test_what_cannot_be_formatted_is_removed_again(stackless_hub: Hub, checkout: Path) -> None:
    """Half a connector would fail the next start of the hub."""
    (checkout / "pyproject.toml").write_text("[tool.ruff]\nno-such-option = 1\n")
    before, folders = written(checkout), set(checkout.rglob("*"))

    connector, subscriber = (
        stackless_hub("new", *words) for words in (("connector", "acme_shop"), ("subscriber", "inventory.sold_out"))
    )

    assert (connector.code, subscriber.code) == (1, 1)
    assert "Nothing was written" in connector.text
    assert (written(checkout), set(checkout.rglob("*"))) == (before, folders)

"""./hub sync STREAM: the hub in use says which stream is meant, also of integrations that a file declares."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import Hub as ServedHub
from tests.cli.conftest import Hub

EXAMPLES = Path(__file__).parents[2] / "dags/integrations/examples"


@pytest.fixture
def declarations(served: ServedHub) -> Iterator[None]:
    """The hub has a declaration that is valid, and one with mistakes."""
    shutil.copy(EXAMPLES / "sandbox_stock_rest.yaml", served.declarations)
    (served.declarations / "broken.yaml").write_text("title: x\n")
    yield
    for path in served.declarations.iterdir():
        path.unlink()


def test_without_a_hub_nothing_is_synced(stackless_hub: Hub) -> None:
    ended = stackless_hub("sync", "inventory", "--full")

    assert ended.code == 1
    assert "The stack is stopped. Start it with: ./hub up" in ended.text


@pytest.mark.parametrize("name", ["inventory", "commercetools.inventory"])
def test_a_stream_is_named_by_its_id_or_shorter(hub: Hub, name: str) -> None:
    """The Airflow of these tests has no DAGs: the message names the one that was to run."""
    assert "Airflow has no DAG sync_commercetools_inventory" in hub("sync", name, "--full").text


def test_a_name_that_means_several_streams_is_refused_with_them(hub: Hub) -> None:
    ended = hub("sync", "commercetools")

    assert ended.code == 2
    assert "means several streams. Use one of: commercetools." in ended.text


@pytest.mark.usefixtures("declarations")
def test_a_declared_sync_has_a_command_like_every_sync(hub: Hub) -> None:
    assert "Airflow has no DAG sync_sandbox_stock_rest_inventory" in hub("sync", "sandbox_stock_rest", "--full").text


@pytest.mark.usefixtures("declarations")
def test_an_invalid_declaration_lists_its_mistakes_and_does_not_block_other_syncs(hub: Hub) -> None:
    ended = hub("sync", "broken", "--full", "--json")

    assert ended.code == 2
    assert "line 1: /base_url: is missing" in ended.document["error"]["message"]
    assert "Airflow has no DAG sync_commercetools_products" in hub("sync", "products").text


@pytest.mark.usefixtures("declarations")
def test_a_slip_in_the_name_of_a_declared_sync_finds_it(hub: Hub) -> None:
    ended = hub("sync", "sandbox_stock_rst")

    assert ended.code == 2
    assert "Did you mean 'sandbox_stock_rest'?" in ended.text
    assert "commercetools.inventory, commercetools.products, commercetools.prices, commercetools.orders" in ended.text


@pytest.mark.parametrize("words", [["runs"], ["quarantine", "list"]])
def test_lists_take_the_same_names_and_refuse_a_slip(hub: Hub, words: list[str]) -> None:
    """An empty answer would look as if all were well."""
    listed, misspelt = (hub(*words, "--stream", name) for name in ("inventory", "inventry"))

    assert (listed.code, misspelt.code) == (0, 2)
    assert "Did you mean 'inventory'?" in misspelt.text

"""./hub sync NAME, where NAME is declared by a file and has no code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crossdock.connectors.declarative import files
from tests.cli.conftest import Hub

EXAMPLES = Path(__file__).parents[2] / "dags/integrations/examples"


@pytest.fixture
def declarations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "integrations"
    folder.mkdir()
    shutil.copy(EXAMPLES / "sandbox_stock_rest.yaml", folder)
    (folder / "broken.yaml").write_text("title: x\n")
    known = files.paths
    monkeypatch.setattr(files, "paths", lambda _=None: known(folder))
    return folder


@pytest.mark.usefixtures("declarations")
def test_a_declared_sync_has_a_command_like_every_sync(stackless_hub: Hub) -> None:
    started = stackless_hub("sync", "sandbox_stock_rest", "--full")

    assert started.code == 1
    assert "The stack is stopped. Start it with: ./hub up" in started.text


@pytest.mark.usefixtures("declarations")
def test_an_invalid_declaration_lists_its_mistakes_and_does_not_block_other_syncs(stackless_hub: Hub) -> None:
    ended = stackless_hub("sync", "broken", "--full", "--json")

    assert ended.code == 2
    assert "line 1: /base_url: is missing" in ended.document["error"]["message"]
    assert "The stack is stopped" in stackless_hub("sync", "products").text


@pytest.mark.usefixtures("declarations")
def test_a_slip_in_the_name_of_a_declared_sync_finds_it(stackless_hub: Hub) -> None:
    ended = stackless_hub("sync", "sandbox_stock_rst")

    assert ended.code == 2
    assert "Did you mean 'sandbox_stock_rest'?" in ended.text
    assert "commercetools.inventory, commercetools.products, commercetools.orders" in ended.text

"""HUB_STREAMS may name only what exists: a typing error would leave a default in force, and nobody would notice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.app import streams
from crossdock.app.stream_settings import findings, refuse_mistakes
from crossdock.core.errors import Terminal
from crossdock.core.settings import settings
from tests.streams import define_shop

EXAMPLE = Path(__file__).parents[2] / "dags/integrations/examples/sandbox_stock_rest.yaml"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub with the integration `commercetools`."""
    found = define_shop(tmp_path)
    monkeypatch.setenv("HUB_DEFINITIONS_URL", found)
    return found


def choose(monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any]) -> None:
    monkeypatch.setenv("HUB_STREAMS", json.dumps(chosen))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"commercetools.order": {}}, "'commercetools.order'. Did you mean 'commercetools.orders'?"),
        ({"shop_us.order": {}}, "'shop_us.order'. Did you mean 'shop_us.orders'?"),
        (
            {"commercetools.orders": {"rules": {"lines_have_name": "warn"}}},
            "has no rule 'lines_have_name'. Did you mean 'lines_have_a_name'?",
        ),
        ({"commercetools.orders": {"rules": {"sku_is_present": "warn"}}}, "has no rule 'sku_is_present'"),
        ({"*": {"rules": {"lines_have_name": "warn"}}}, "'*' has no rule 'lines_have_name'"),
        ({"*": {"rules": {"id_is_well_formed": "off"}}}, "'id_is_well_formed' cannot be changed"),
    ],
    ids=str,
)
def test_a_stream_or_a_rule_that_cannot_exist_is_refused_with_the_nearest_name(
    url: str, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any], message: str
) -> None:
    choose(monkeypatch, chosen)

    with pytest.raises(Terminal) as refused:
        refuse_mistakes()
    assert message in str(refused.value)
    assert message in findings(definitions_url=url)[0]


def test_what_may_be_is_accepted_and_an_integration_that_does_not_exist_is_found(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An integration may be added after its settings; the doctor says that they have no effect so far."""
    choose(
        monkeypatch,
        {
            "*": {"schedule": ""},
            "commercetools.orders": {"schedule": "*/2 * * * *", "rules": {"lines_have_a_name": "warn"}},
            "comercetools.orders": {"shards": 2},
        },
    )

    refuse_mistakes()
    (found,) = findings(definitions_url=url)
    assert found.startswith("HUB_STREAMS: 'comercetools.orders' has no effect, because there is no such integration.")
    assert found.endswith("Did you mean 'commercetools.orders'?")


def test_commands_of_a_local_stack_keep_declarations_in_its_own_folder(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They run outside Airflow's processes, where the setting has its default: a folder of the whole machine."""
    machine = tmp_path / "machine"
    monkeypatch.setenv("HUB_DEFINITIONS_URL", f"file://{machine}")
    declared = tmp_path / "declared"
    declared.mkdir()
    shutil.copy(EXAMPLE, declared)
    monkeypatch.setenv("HUB_DECLARATIONS", str(declared))

    refuse_mistakes(definitions_url=url)
    findings(definitions_url=url)

    assert not machine.exists()
    assert (Path(url.removeprefix("file://")) / f"declared-{EXAMPLE.stem}.json").exists()


@pytest.mark.usefixtures("url")
def test_a_rule_for_every_stream_holds_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only orders have lines; the sync of the stock failed for their rule."""
    choose(monkeypatch, {"*": {"rules": {"lines_have_a_name": "warn"}}})

    refuse_mistakes()
    levels = {
        one.stream.dataset.name: {rule.name: rule.level for rule in one.stream.rules()} for one in streams.existing()
    }
    assert levels["orders"]["lines_have_a_name"] == "warn"
    assert "lines_have_a_name" not in levels["inventory"]

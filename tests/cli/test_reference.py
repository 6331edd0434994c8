"""The reference pages are what the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.cli import reference
from crossdock.cli.reference import pages
from crossdock.sandbox.commercetools.routes import ENDPOINTS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    "name", ["cli.md", "rest.md", "settings.md", "connectors.md", "declarations.md", "data.md", "dbt-sources.yml"]
)
def test_a_reference_page_is_current(name: str) -> None:
    """Write the pages with `.venv/bin/python -m crossdock.cli.reference`."""
    assert (FOLDER / name).read_text() == pages()[name]


def test_the_commands_of_a_group_that_is_loaded_late_are_on_the_page() -> None:
    """Its placeholder has neither commands nor options, and a page without them looks complete."""
    assert "## `./hub integration list`" in pages()["cli.md"]
    assert "- `--full`" in pages()["cli.md"]


def test_each_setting_has_a_sentence_of_its_own() -> None:
    """Seven retentions once shared one sentence, and nobody could say which of its parts was whose."""
    settings = reference.settings().split("\n## ")[1:]
    sentences = [" ".join(setting.split("\n\n")[1].split("Default:")[0].split()) for setting in settings]
    assert len(set(sentences)) == len(sentences) > 20
    assert "Undefined" not in "".join(settings)


def test_a_field_without_its_comment_is_named() -> None:
    source = "class Settings:\n    #: What it is.\n    a: int = 1\n    b: int = 2\n"
    with pytest.raises(LookupError, match=r"Settings\.b has no"):
        reference._comments(source, "Settings")


def test_the_routes_that_can_be_broken_are_listed() -> None:
    """The syncs read `products`, and the help once named only the projections."""
    listed = pages()["cli.md"].split("## `./hub sandbox break`")[1].split("- `--once`")[0]
    assert [path for path in (*ENDPOINTS, "graphql", "oauth") if path not in listed] == []

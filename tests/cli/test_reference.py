"""The reference pages are what the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.cli.reference import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", ["cli.md", "rest.md", "settings.md", "connectors.md"])
def test_a_reference_page_is_current(name: str) -> None:
    """Write the pages with `.venv/bin/python -m crossdock.cli.reference`."""
    assert (FOLDER / name).read_text() == pages()[name]


def test_the_commands_of_a_group_that_is_loaded_late_are_on_the_page() -> None:
    """Its placeholder has neither commands nor options, and a page without them looks complete."""
    assert "## `./hub integration list`" in pages()["cli.md"]
    assert "- `--full`" in pages()["cli.md"]

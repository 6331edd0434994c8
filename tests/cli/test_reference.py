"""The reference pages are what the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.cli.reference import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", ["cli.md", "rest.md", "settings.md"])
def test_a_reference_page_is_current(name: str) -> None:
    """Write the pages with `.venv/bin/python -m crossdock.cli.reference`."""
    assert (FOLDER / name).read_text() == pages()[name]

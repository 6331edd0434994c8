"""The names of settings agree: in the code, the pages, `.env.example` and docker-compose.yaml. A name that nothing reads has no effect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from crossdock.core.settings import RENAMED, Settings

PROJECT = Path(__file__).parents[2]
_NAME = re.compile(r"\bHUB_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
OURS = {f"HUB_{name.upper()}" for name in Settings.model_fields}
#: A deployment of its own needs no other names and no other place, its processes write no log files, and logins of a local stack
#: are none of its own.
NOT_IN_COMPOSE = {"HUB_ID_PREFIX", "HUB_STORE_CONNECTION", "HUB_PROCESS_LOGS", "HUB_LOGINS"}


def names(paths: Iterable[Path]) -> set[str]:
    return {name for path in paths for name in _NAME.findall(path.read_text())}


def pages() -> list[Path]:
    # Decisions and benchmarks tell of their time.
    folders = ("how-to", "concepts", "reference")
    found = [page for folder in folders for page in (PROJECT / "docs" / folder).glob("*.md")]
    return [*found, *(PROJECT / "docs").glob("*.md"), PROJECT / "README.md"]


def code() -> list[Path]:
    folders = ("include", "dags", "plugins", "tests")
    return [*(path for folder in folders for path in (PROJECT / folder).rglob("*.py")), PROJECT / "hub"]


def test_every_setting_reaches_a_deployment() -> None:
    """One that docker-compose.yaml does not hand on could be set in .env, and had no effect."""
    handed_on = names([PROJECT / "docker-compose.yaml"])

    assert OURS - handed_on == NOT_IN_COMPOSE
    assert set(RENAMED) - handed_on == set(), "an old name is refused with the new one"


def test_the_example_of_an_environment_names_nothing_that_is_not_handed_on() -> None:
    assert names([PROJECT / ".env.example"]) - names([PROJECT / "docker-compose.yaml"]) == set()


def test_the_pages_name_every_setting_and_none_that_nothing_reads() -> None:
    documented = names(pages())

    assert OURS - documented == set()
    assert documented - names(code()) - OURS == set()


def test_every_page_that_the_example_names_exists() -> None:
    """It named docs/operations.md long after that page had gone."""
    for file in (".env.example", "docker-compose.yaml", "airflow_settings.yaml", "Dockerfile"):
        for page in re.findall(r"docs/[\w./-]+\.md", (PROJECT / file).read_text()):
            assert (PROJECT / page).is_file(), f"{file} names {page}"


def test_every_heading_that_the_example_names_exists() -> None:
    for page, heading in re.findall(r'(docs/[\w./-]+\.md), "([^"]+)"', (PROJECT / ".env.example").read_text()):
        # A heading, or the bold beginning of a paragraph.
        assert re.search(
            rf"^(#+ {re.escape(heading)}|\*\*{re.escape(heading)}\.\*\*)", (PROJECT / page).read_text(), re.MULTILINE
        ), heading

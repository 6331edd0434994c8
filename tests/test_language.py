"""The words of the project: what a stranger would have to guess at stays out of code, docs and messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

#: Out of everything that people read. Decisions, the changelog and old migrations are history and keep their words.
BANNED = re.compile(
    r"\b(mend(?:s|ed|ing)?|told|tell(?:s|ing)?(?: \w+){0,3} again|dlq|desks?|look(?:s|ed|ing)? after|fates?|sift(?:s|ed|ing)?"
    r"|so-manieth|is no (?:instant|event|declaration|id|operator)(?! type)|asked again|red task|Untrue)\b",
    re.IGNORECASE,
)
#: Ordinary English, but retired as names: the field has words of its own for these.
RETIRED_NAMES = re.compile(
    r"(?:^|_)(bury|buried|letter|letters|keeper|doors?|arrivals|sort_out|elsewhere|crash_point|remed(?:y|ies)|retake|give_back"
    r"|settle|survey|told|mended|judged|await_turn|visitor|tamper)(?:$|_)|^(Letter|Fates|Keeper|Holding|Remedy|Survey|Visitor|Untrue|Scene)$"
)
_HISTORY = ("docs/decisions/", "include/crossdock/db/migrations/versions/00")
_LONGEST_LINE = 140
_LONGEST_BULLET = 40


def texts() -> list[Path]:
    found = [*(PROJECT / "include").rglob("*"), *(PROJECT / "docs").rglob("*"), *PROJECT.glob("*.md")]
    found += [*PROJECT.glob("dags/**/*.*"), PROJECT / "hub", PROJECT / ".env.example", PROJECT / "docker-compose.yaml"]
    return sorted(
        path
        for path in found
        if path.suffix in {".py", ".md", ".json", ".yaml", ".example", ""}
        and path.is_file()
        and path.name != "CHANGELOG.md"
        and not below(path).startswith(_HISTORY)
        and "__pycache__" not in path.parts
    )


def below(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_the_retired_words_stay_out() -> None:
    """Each has a word that the field uses: docs/glossary.md, and CONTRIBUTING.md."""
    found = [
        f"{below(path)}:{number}: {match.group(0)}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in BANNED.finditer(line.replace("_", " "))
    ]

    assert found == []


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, 0


def test_the_retired_names_stay_out() -> None:
    found = [
        f"{below(path)}:{line}: {name}"
        for path in texts()
        if path.suffix == ".py"
        for name, line in names(ast.parse(path.read_text()))
        if RETIRED_NAMES.search(re.sub(r"dead_letters?", "", name))
    ]

    assert found == []


def pages() -> list[Path]:
    """List the pages that people write; the tables of a benchmark are written by the benchmark."""
    return [path for path in texts() if path.suffix == ".md" and not below(path).startswith("docs/benchmarks/s")]


@pytest.mark.parametrize("path", pages(), ids=below)
def test_a_page_can_be_read(path: Path) -> None:
    """A line fits on a screen, a bullet is one thought, and every link leads somewhere."""
    # A generated table is as wide as what it shows.
    text = re.sub(r"<!-- ([a-z ]+): begin -->.*<!-- \1: end -->", "", path.read_text(), flags=re.DOTALL)
    long_lines = [number for number, line in enumerate(text.splitlines(), 1) if len(line) > _LONGEST_LINE]
    bullets = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    assert long_lines == []
    assert [bullet for bullet in bullets if len(bullet.split()) > _LONGEST_BULLET] == []
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", sorted((PROJECT / "docs/decisions").glob("0*.md")), ids=lambda path: path.name[:4])
def test_a_decision_ends_with_what_would_violate_it(path: Path) -> None:
    """In one form: a reviewer looks for this sentence first."""
    assert path.read_text().rstrip().split("\n\n")[-1].startswith("**A change violates this when** ")

"""YAML of bounded size."""

from __future__ import annotations

import pytest

from crossdock.core.yaml_document import InvalidYaml, parsed

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1, y: 2}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))]
)
KEYS = "\n".join(["? &k0 [x, x]\n: 1", *(f"? &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]\n: 1" for n in range(1, 9))])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "more than 50,000 values"),
        (MERGES, "more than 50,000 values"),
        (KEYS, "more than 50,000 values"),
        ("a: &a [*a]", "contains itself"),
        ("a: &a {b: [*a]}", "contains itself"),
        ("[" * 100_000, "nests deeper"),
        ("a: " * 5_000, ""),
        ("\n".join(" " * depth + "a:" for depth in range(400)), "nests deeper"),
        ("- x\n" * 60_000, "more than 50,000 values"),
        ("x" * 600_000, "too large"),
        (f"a: {'9' * 100_000}", "a number of more than 64 digits"),
        (f"a: !!int '{'9' * 5_000}'", "a number of more than 64 digits"),
        (f"a: 1{':59' * 50_000}", "a number of more than 64 digits"),
        ("a: 2026-02-31", "cannot be read"),
        ("a: *nothing", ""),
        ("a: !!python/object:os.system x", ""),
        ("a: 1\n--- \nb: 2", ""),
        ("a: \x1b", ""),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_has_no_bound_is_refused(text: str, problem: str) -> None:
    """Airflow parses declarations again and again: one that does not end would hold up every DAG."""
    with pytest.raises(InvalidYaml, match=problem or None):
        parsed(text).value()


def test_aliases_and_merges_of_a_usual_size_are_read() -> None:
    text = "usual: &usual {size: 1, unit: m}\nmore: {<<: *usual, size: 2}\nboth: [*usual, *usual]\n"

    assert parsed(text).value()["more"] == {"size": 2, "unit": "m"}
    assert parsed("").value() is None


def test_the_line_is_named() -> None:
    with pytest.raises(InvalidYaml) as refused:
        parsed(f"a: 1\nb: 2\n{LAUGHS}")

    assert (refused.value.line, refused.value.problem[:16]) == (7, "is too large: wi")

"""Any order of steps: the validator ends, and its verdict on cycles is the one of a plain search."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.workflows.declared.model import MOST_STEPS, Rule
from crossdock.workflows.declared.validator import validate


def _text(jumps: list[int | None]) -> str:
    lines = ["schema: crossdock.workflow/1", "id: w2", "version: 1", "title: T", "do:"]
    for number, jump in enumerate(jumps):
        lines += [
            f"  - id: s{number}",
            "    wait: 1s",
            *([f"    then: s{jump % len(jumps)}"] if jump is not None else []),
        ]
    return "\n".join(lines)


def _walk_ends(jumps: list[int | None]) -> bool:
    """Whether a walk from each step ends."""
    for start in range(len(jumps)):
        place, walked = start, 0
        while place < len(jumps):
            jump = jumps[place]
            place, walked = (place + 1 if jump is None else jump % len(jumps)), walked + 1
            if walked > len(jumps):
                return False
    return True


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(0, MOST_STEPS), min_size=1, max_size=12))
def test_a_cycle_is_found_where_a_walk_does_not_end_and_nowhere_else(jumps: list[int | None]) -> None:
    rules = {finding.rule for finding in validate(_text(jumps), WorkflowCatalog()).findings}

    assert (Rule.CYCLE in rules) == (not _walk_ends(jumps))


_WORDS = st.sampled_from(
    [
        "id",
        "do",
        "call",
        "with",
        "switch",
        "fork",
        "for",
        "then",
        "catch",
        "handler",
        "when",
        "params",
        "branches",
        "s1",
        "x.y",
        "1s",
    ]
)
_PARTS = st.recursive(
    _WORDS | st.none() | st.booleans() | st.integers(-2, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["schema", "id", "do", "params", "triggers", "handlers", "integrations", "timeout"]), _PARTS
    )
)
def test_any_document_is_answered_with_findings(document: dict[str, object]) -> None:

    assert validate(json.dumps(document), WorkflowCatalog()).findings

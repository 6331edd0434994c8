"""Expressions are bounded: whatever their text, they end, and in little memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.workflows.declared import conditions, mappings
from crossdock.workflows.declared.mappings import ExpressionInvalid

SCOPE: dict[str, Any] = {"data": {"id": "7", "list": list(range(300)), "text": "a" * 1000}, "params": {"n": 3}}

DOUBLED = "[to_string(@),to_string(@)]|join('',@)"
BOMBS = {
    "a list that names itself twice, thirty times": "[@,@]" + "|[@,@]" * 30,
    "the same, written out": "[@,@]" + "|[@,@]" * 30 + "|to_string(@)",
    "the same, flattened": "[@,@]" + "|[@,@]" * 30 + "|[]" * 30,
    "a text that is doubled": "|".join([DOUBLED] * 20),
    "brackets": "[" * 990,
    "functions in functions": "to_array(" * 100 + "@" + ")" * 100,
    "a long one": "a" * 1001,
    "infinity": "to_number('1e999')",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_a_mapping_is_refused(name: str) -> None:
    with pytest.raises(ExpressionInvalid):
        mappings.evaluate(BOMBS[name], SCOPE)


CEL_BOMBS = {
    "loops in loops": "data.list.all(a, data.list.all(b, data.list.all(c, a + b + c >= 0)))",
    "lists of lists": "[1, 2].map(a, [1, 2]).size() > 0",
    "brackets": "(" * 400 + "true" + ")" * 400,
    "a doubled text": "data.text" + " + data.text" * 11 + " == ''",
    "a long one": "true || " * 200 + "true",
}


@pytest.mark.parametrize("name", CEL_BOMBS)
def test_a_bomb_of_a_condition_is_refused(name: str) -> None:
    with pytest.raises(ExpressionInvalid):
        conditions.is_true(CEL_BOMBS[name], SCOPE)


def test_a_pattern_that_other_engines_never_finish_ends() -> None:
    assert conditions.is_true('!data.text.matches("^(a+)+b$")', SCOPE)


def test_a_mapping_of_the_seed_runs_as_it_is_written() -> None:
    assert mappings.mapped({"x": "{customerId: data.id}", "y": [1, "params.n"]}, SCOPE) == {
        "x": {"customerId": "7"},
        "y": [1, 3],
    }


def test_a_condition_on_a_missing_value_fails_and_names_it() -> None:
    with pytest.raises(ExpressionInvalid, match="total"):
        conditions.is_true("params.total > 3", SCOPE)


def test_a_condition_that_turns_out_not_to_be_boolean_fails() -> None:
    with pytest.raises(ExpressionInvalid, match="not true or false"):
        conditions.is_true("params.n", SCOPE)


def test_what_a_condition_reads_is_found_between_texts_macros_and_functions() -> None:
    text = "a.b == \"c.d\" && has(p.x) && p.l.exists(i, i.q > 3) && size(p.z) > 1 && p.l[0].w == 1 && p.s.startsWith('q.r')"

    assert conditions.paths_in(text) == [("a", "b"), ("p", "x"), ("p", "l"), ("p", "z"), ("p", "l"), ("p", "s")]


@given(st.text(alphabet="abdis.[]{}()*?@|&!=<>`'\", 0123456789:", max_size=60))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    for evaluate in (mappings.evaluate, conditions.is_true):
        try:
            evaluate(text, SCOPE)
        except ExpressionInvalid as refused:
            assert str(refused)  # noqa: PT017  both ends are right

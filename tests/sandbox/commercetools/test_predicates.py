"""The predicate language means what the vendor's reference says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.sandbox.commercetools.predicates import MalformedPredicateError, compile_predicate, parse

ENTRY = {
    "id": "b1",
    "version": 3,
    "sku": "A-1",
    "published": True,
    "quantityOnStock": 12,
    "lastModifiedAt": "2026-03-01T10:00:00.000Z",
    "supplyChannel": {"typeId": "channel", "id": "c1"},
    "tags": ["red", "blue"],
    "none": [],
    "variants": [
        {"sku": "V-1", "prices": [{"value": {"centAmount": 100}}]},
        {"sku": "V-2", "prices": [{"value": {"centAmount": 900}}]},
    ],
    "name": {"en": "Cap", "de-AT": "Haube"},
}


def holds(text: str, **variables: list[str]) -> bool:
    return compile_predicate(parse(text, variables))(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        'sku = "A-1"',
        'sku != "A-2" and sku <> "A-3"',
        "quantityOnStock > 11 and quantityOnStock >= 12 and quantityOnStock < 12.5 and quantityOnStock <= 1.2e1",
        "published = true",
        'sku in ("A-0", "A-1")',
        'sku not in ("A-0")',
        "quantityOnStock in (1, 12)",
        'tags contains any ("green", "blue")',
        'tags contains all ("red", "blue")',
        'tags = "red"',
        "sku is defined and missing is not defined",
        "none is empty and tags is not empty",
        'supplyChannel(id = "c1" and typeId = "channel")',
        'variants(sku = "V-2")',
        'variants(sku = "V-2" and prices(value(centAmount > 500)))',
        'name(`de-AT` = "Haube") and name(de-AT = "Haube")',
        'not(sku = "A-2")',
        'sku = "x" or (version = 3 and not (version = 4))',
        'SKU is not defined AND sku = "A-1"',
        'lastModifiedAt = "2026-03-01T11:00:00+01:00"',
        'lastModifiedAt > "2026-03-01T09:59:59.999999Z" and lastModifiedAt < "2026-03-01T10:00:00.000001Z"',
        'lastModifiedAt >= "2026-03-01"',
    ],
)
def test_predicate_holds(text: str) -> None:
    """One line for each construct that the vendor documents and our callers may send."""
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'missing = "x"',
        "missing > 0",
        "published = 1",
        'quantityOnStock > "1"',
        'tags contains all ("red", "green")',
        'variants(sku = "V-1" and prices(value(centAmount > 500)))',
        'sku = "a-1"',
        'sku(id = "x")',
    ],
)
def test_predicate_does_not_hold(text: str) -> None:
    """Types do not mix, a missing field equals nothing, one element has to satisfy all of a nested predicate."""
    assert not holds(text)


def test_and_binds_closer_than_or() -> None:
    """`a or b and c` is `a or (b and c)`; the other reading would lose rows from a keyset page."""
    assert holds('sku = "A-1" or sku = "A-1" and version = 4')


def test_variable_is_what_it_meets() -> None:
    """A variable comes as text; it is a number beside a number, and a list after `in`."""
    assert holds("quantityOnStock = :q and sku in :skus and published = :p", q=["12"], skus=["x", "A-1"], p=["true"])
    assert holds("sku in (:a, :b)", a=["x"], b=["A-1"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sku",
        "sku =",
        'sku = "open',
        "sku = A-1",
        'sku = "A" and',
        '(sku = "A"',
        'sku = "A")',
        'sku in "A"',
        "sku in ()",
        'sku is "A"',
        "tags contains some (1)",
        "sku ~ 1",
        "sku = :nobody",
        'lastModifiedAt > "yesterday"',
        "lastModifiedAt > 5",
        "geo within circle(13.3, 52.5, 1000)",
        "(" * 200 + 'sku = "A"' + ")" * 200,
    ],
)
def test_malformed_predicate_is_refused(text: str) -> None:
    """A predicate that is half understood would answer the wrong rows with a 200."""
    with pytest.raises(MalformedPredicateError):
        compile_predicate(parse(text))


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


SIGNS = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@given(st.text(), st.text(), st.sampled_from(sorted(SIGNS)))
def test_text_compares_as_python_compares_it(kept: str, asked: str, sign: str) -> None:
    """Whatever is in a text, quoting carries it and the comparison is that of code points."""
    assert compile_predicate(parse(f"f {sign} {quoted(asked)}"))({"f": kept}) is SIGNS[sign](kept, asked)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.sampled_from(sorted(SIGNS)))
def test_number_compares_as_python_compares_it(kept: float, asked: int, sign: str) -> None:
    """Numbers compare by value, whole or not."""
    assert compile_predicate(parse(f"f {sign} {asked}"))({"f": kept}) is SIGNS[sign](kept, asked)


COMPARISONS = st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(SIGNS)), st.integers(0, 3))
TREES = st.recursive(
    COMPARISONS,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner),
    max_leaves=8,
)


def written(tree: Any) -> str:
    match tree:
        case ("not", inner):
            return f"not({written(inner)})"
        case ("and" | "or" as word, left, right):
            return f"({written(left)} {word} {written(right)})"
    return "{} {} {}".format(*tree)


def obvious(tree: Any, document: dict[str, int]) -> bool:
    match tree:
        case ("not", inner):
            return not obvious(inner, document)
        case ("and", left, right):
            return obvious(left, document) and obvious(right, document)
        case ("or", left, right):
            return obvious(left, document) or obvious(right, document)
    field, sign, value = tree
    return SIGNS[sign](document[field], value)


@given(TREES, st.fixed_dictionaries({name: st.integers(0, 3) for name in "abc"}))
def test_compiled_predicate_agrees_with_the_obvious_reading(tree: Any, document: dict[str, int]) -> None:
    """Nothing is lost between the text, the tree and the closures."""
    assert compile_predicate(parse(written(tree)))(document) is obvious(tree, document)

"""Evaluate JMESPaths on records whose numbers are exact; what does not fit is an answer in words, whatever raises."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathTypeError  # type: ignore[import-untyped]
from jmespath.functions import signature  # type: ignore[import-untyped]

from crossdock.core import exact_json
from crossdock.core.calculations import Calculations, CannotCalculate
from crossdock.core.printable import printable_json

_SHOWN_CHARACTERS = 60
#: Digits that a computed number keeps: more than any sum of prices needs.
_EXACT = decimal.Context(prec=60)


class PathDoesNotFit(Exception):
    """A path does not fit a document. The text completes `path …`."""

    def __init__(self, cause: str, came: Any = None, *, needed: Sequence[str] = ()) -> None:
        self.came = came
        #: PHP writes an empty object as an empty list.
        self.is_empty_list_for_object = isinstance(came, list) and not came and "object" in needed
        super().__init__(cause)


@cache
def finder(expression: str) -> Callable[[Any], Any]:
    """
    Compile *expression* to a function that finds its value in a document.

    The function raises PathDoesNotFit where JMESPath, or Python below it, raises anything.
    """
    compiled = jmespath.compile(expression)

    def find(document: Any) -> Any:
        try:
            with decimal.localcontext(_EXACT):
                return compiled.search(document, options=_OPTIONS)
        except JMESPathTypeError as error:
            needed = " or ".join(error.expected_types)
            cause = f"needs {needed} in {error.function_name}()"
            raise PathDoesNotFit(cause, error.current_value, needed=error.expected_types) from error
        except CannotCalculate as error:
            raise PathDoesNotFit(str(error), error.came) from error
        except Exception as error:
            # The author of a declaration writes programs in a small language: they may fail in any way.
            raise PathDoesNotFit(f"fails: {type(error).__name__}: {str(error).strip()}".splitlines()[0]) from error

    return find


def shown(value: Any) -> str:
    """Write *value* as short JSON on one line."""
    return printable_json(exact_json.encode(value).decode()[:_SHOWN_CHARACTERS])


def field_names(expression: str) -> frozenset[str]:
    """Collect the top-level fields that *expression* reads of a document."""
    return frozenset(_first_fields(jmespath.compile(expression).parsed))


#: The nodes whose children are all evaluated on the same document; of any other node it is the first child alone.
_SIDE_BY_SIDE = frozenset(
    {
        "and_expression",
        "comparator",
        "function_expression",
        "key_val_pair",
        "multi_select_dict",
        "multi_select_list",
        "not_expression",
        "or_expression",
    }
)


def _first_fields(node: dict[str, Any]) -> Iterator[str]:
    if node["type"] == "field":
        yield node["value"]
    children = [child for child in node["children"] if isinstance(child, dict)]
    for child in children if node["type"] in _SIDE_BY_SIDE else children[:1]:
        yield from _first_fields(child)


class _ExactFunctions(Calculations):
    """JMESPath's functions and ours, for which a Decimal is a number too."""

    def _get_allowed_pytypes(self, types: Any) -> Any:
        allowed, of_elements = super()._get_allowed_pytypes(types)
        return _with_decimal(allowed), [_with_decimal(names) for names in of_elements]

    def _convert_to_jmespath_type(self, name: str) -> Any:
        return super()._convert_to_jmespath_type("float" if name == "Decimal" else name)

    @signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, value: Any) -> str:
        return value if isinstance(value, str) else exact_json.encode(value).decode()

    @signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_type(self, value: Any) -> Any:
        return self._convert_to_jmespath_type(type(value).__name__)


def _with_decimal(names: Any) -> list[str]:
    return [*names, "Decimal"] if "float" in names else list(names)


_OPTIONS = jmespath.Options(custom_functions=_ExactFunctions())

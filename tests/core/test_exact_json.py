"""JSON keeps every digit of a number, and what no number can hold is a value, not an end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crossdock.core import exact_json


@pytest.mark.parametrize("exponent", ["99999999999999999999", "-99999999999999999999"])
def test_a_number_beyond_every_decimal_is_infinite(exponent: str) -> None:
    """A key of digits and one `e` reads as one: it ended the scan of everything that is stored."""
    assert exact_json.decode(f'{{"number": 1e{exponent}, "other": 1.10}}') == {
        "number": Decimal("Infinity"),
        "other": Decimal("1.10"),
    }

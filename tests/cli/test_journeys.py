"""./hub order trace and ./hub trace: a journey that a person can read, and one that a program can."""

from __future__ import annotations

import pytest

from crossdock.cli import journeys
from crossdock.core.errors import HubError


@pytest.mark.parametrize(
    ("after_s", "text"),
    [
        (0, "+0.0 s"),
        (0.43, "+0.4 s"),
        (-2, "-2.0 s"),
        (125, "+2 min 05 s"),
        (12_000, "+3 h 20 min"),
        (352_800, "+4 d 02 h"),
    ],
)
def test_an_offset_is_as_exact_as_a_person_reads_it(after_s: float, text: str) -> None:
    assert journeys.offset(after_s) == text


def test_an_order_is_traced_by_the_command_of_orders() -> None:
    with pytest.raises(HubError, match="order trace"):
        journeys.trace("order", "ord_1")

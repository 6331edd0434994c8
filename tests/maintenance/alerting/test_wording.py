"""Words of an alert: on one line, cut where they are too long, and never longer than a receiver takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.maintenance.alerting.wording import Words, fitted, one_line, web_link
from tests.contracts.alert_channels import SAMPLE, sample


@given(st.text(), st.integers(1, 50))
def test_any_text_becomes_one_visible_line_of_a_length(text: str, longest: int) -> None:
    line = one_line(text, longest)

    assert len(line) <= longest
    assert line.isprintable() or all(sign.isprintable() or sign.isspace() or ord(sign) > 0xFF for sign in line)
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_text_that_fits_is_not_cut() -> None:
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("limit", [1, 500, 1_500, 5_000, 50_000])
def test_what_is_left_out_is_counted(limit: int) -> None:
    """First less is said of each cause, then causes are left out; the first one always stays."""
    message = sample(causes=SAMPLE.causes * 30)
    words = fitted(message, lambda found: found, lambda found: len(str(found)) <= limit, most_causes=30)

    assert isinstance(words, Words)
    left_out = 30 - len(words.causes)
    assert words.causes
    assert words.more == (f"… and {left_out} more causes" if left_out else "")
    assert len(words.causes) == 1 or len(str(words)) <= limit


def test_a_single_cause_that_is_left_out_is_one() -> None:
    message = sample(causes=SAMPLE.causes * 2)

    assert fitted(message, lambda found: found, lambda _: True, most_causes=1).more == "… and 1 more cause"


@pytest.mark.parametrize("url", ["https://hub.example/a?b=c&d=%20#e", "http://127.0.0.1:8080/hub/"])
def test_a_web_address_is_a_link(url: str) -> None:
    assert web_link(url) == url

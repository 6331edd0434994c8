"""What is shown of a bad record can be stored and sent everywhere."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from crossdock.core.storable import visible

any_text = st.text(st.characters(codec=None, exclude_categories=()))


@given(any_text)
@example("\x00")
@example("half \ud83d a pair \udca9")
def test_what_is_made_visible_is_text_that_utf8_and_postgresql_can_hold(text: str) -> None:
    shown = visible(text)

    assert "\x00" not in shown
    assert shown.encode().decode() == shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_text_that_can_be_held_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_characters_that_cannot_be_stored_are_shown_as_escapes() -> None:
    assert visible("a\x00b\ud83d") == "a\\u0000b\\ud83d"

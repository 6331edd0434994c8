"""Text from outside, made printable."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.log import logger
from crossdock.core.printable import UNPRINTABLE_IN_SCHEMAS, printable, printable_json, printable_lines, well_formed

#: Python 3.11 knows Unicode 14; some of what is listed came later.
_NOT_SHOWN = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def test_each_control_and_format_character_of_unicode_is_made_visible() -> None:
    """The list is written out; a character that it lacks would reach a terminal."""
    wrong = [
        f"{number:x}"
        for number in range(sys.maxunicode + 1)
        if (category := unicodedata.category(chr(number))) != "Cn"
        and (printable(chr(number)) == chr(number)) != (category not in _NOT_SHOWN)
    ]

    assert wrong == []


def test_the_part_for_json_schema_is_the_same_up_to_ffff() -> None:
    """The API refuses names by it, and a pattern of JSON Schema cannot name more."""
    listed = re.compile(f"[{UNPRINTABLE_IN_SCHEMAS}]")
    signs = [chr(number) for number in range(0x10000) if not 0xD800 <= number < 0xE000]

    assert [sign for sign in signs if (printable(sign) != sign) != bool(listed.match(sign))] == []


@given(st.text())
def test_printable_text_stays_and_is_one_line(text: str) -> None:
    shown = printable(text)

    assert not any(unicodedata.category(sign) in _NOT_SHOWN for sign in shown)
    assert printable(shown) == shown


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_escaped_json_is_the_same_document(document: object) -> None:
    text = printable_json(json.dumps(document, ensure_ascii=False, indent=2))

    assert json.loads(text) == document
    assert not any(unicodedata.category(sign) in _NOT_SHOWN for sign in text if sign != "\n")


def test_a_further_line_cannot_pass_for_one_of_ours() -> None:
    assert (
        printable_lines("refused\n✓ All is well\r\n  already indented")
        == "refused\n  ✓ All is well\\r\n  already indented"
    )


def test_an_identifier_is_printable_and_bounded() -> None:
    fits = re.compile(well_formed(1, 5)).match

    assert [
        text for text in ("A-1", "ß é", "", "ABCDEF", "A\n", "A\x1b", "A\x9b", "A\u202e", "\U000e0041") if fits(text)
    ] == [
        "A-1",
        "ß é",
    ]


def test_a_log_line_is_one_line_whatever_came_from_outside() -> None:
    """A line break would begin a forged line, and an escape sequence act on the terminal that shows the log."""
    log, written = logger("crossdock.of.this.test"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    hostile = "no\x1b]52;c;aGk=\x07\nERROR forged\x9b\u202e"

    log.warning("A webhook of %s was refused: %d %s", hostile, 7, ValueError(hostile))
    log.error("It failed", exc_info=ValueError(hostile))

    lines = written.getvalue().splitlines()
    assert lines[0] == rf"WARNING A webhook of {printable(hostile)} was refused: 7 {printable(hostile)}"
    assert lines[1] == "ERROR It failed"
    assert lines[2:] == [printable("ValueError: no\x1b]52;c;aGk=\x07"), printable("  ERROR forged\x9b\u202e")]
    assert not any(sign in written.getvalue() for sign in "\x1b\x07\x9b\u202e")

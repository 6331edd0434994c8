r"""
Text from outside, made printable: a SKU, a source's error message or a name may hold anything.

A control or format character moves the cursor, writes to the clipboard, turns the reading direction, or is just not seen.
Here it becomes visible as Python writes it (`\x1b`, `\u202e`). Every command prints through `cli.console` and every
module logs through `core.log`; both use this.
"""

from __future__ import annotations

import re

#: Unicode's categories Cc (C0, DEL, C1), Cf (bidi, zero width), Zl and Zp up to U+FFFF, within a class `[…]` of a pattern.
#: Written out, because neither Python's `re` nor JSON Schema knows categories. A test compares it with Unicode.
UNPRINTABLE_IN_SCHEMAS = (
    r"\u0000-\u001f\u007f-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
)
#: All of them, and halves of surrogate pairs, for Python's `re`: a pattern of JSON Schema cannot name those above U+FFFF.
UNPRINTABLE = (
    UNPRINTABLE_IN_SCHEMAS
    + r"\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0001\U000e0020-\U000e007f"
)

_unprintable = re.compile(f"[{UNPRINTABLE}]")


def well_formed(least: int, most: int) -> str:
    r"""Write the pattern of an identifier: so many characters, all of them printable. `\Z`: a `$` lets a final line feed pass."""
    return rf"^[^{UNPRINTABLE}]{{{least},{most}}}\Z"


def is_blank(text: str) -> bool:
    """Check that nothing of *text* is visible."""
    return not _unprintable.sub("", text).strip()


def printable(text: str) -> str:
    """Make control and format characters of *text* visible; the result is one line. Safe to repeat."""
    return text if text.isascii() and text.isprintable() else _unprintable.sub(_visible, text)


def printable_lines(text: str) -> str:
    """Do the same with each line of *text*, and indent all but the first: none of them can pass for one of ours."""
    first, *more = map(printable, text.split("\n"))
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in more)])


def printable_json(text: str) -> str:
    """Escape what is not printable in JSON: the document stays the same. JSON has such characters in texts only."""
    return _unprintable.sub(_json_escape, text)


def _visible(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _json_escape(found: re.Match[str]) -> str:
    if found[0] in "\t\n\r":  # between the parts of a document
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

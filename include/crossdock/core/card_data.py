"""
Find card numbers and card security codes in JSON documents, so that none is stored.

The hub handles tokens of payment providers only. A number counts as a card's if its length and its first digits are those
of a card scheme and its check digit is right. One valid EAN in ten passes the same check digit, so that fields of article
codes and order numbers are left out, and so is a 13 or 14 digit number with the check digit of a GTIN outside card fields.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from crossdock.core.errors import BadRequest

#: What stands for a card number or a security code that was removed.
MASK = "[card data removed]"


class CardDataKind(StrEnum):
    NUMBER = "card number"
    CODE = "card security code"


class CardData(NamedTuple):
    """A place with card data; never the value."""

    #: JSON pointer (RFC 6901).
    pointer: str
    kind: CardDataKind


class CardDataRefused(BadRequest):
    """A document has card data, which the hub does not take. The message names the place, never the value."""

    def __init__(self, found: CardData) -> None:
        self.found = found
        super().__init__(
            f"There is a {found.kind} at {found.pointer or '/'}. The hub takes no card data: send the token of a payment provider"
        )


class _Scheme(NamedTuple):
    """The first digits of a scheme's numbers, from … to, and their lengths."""

    low: str
    high: str
    lengths: frozenset[int]


_SIXTEEN = frozenset({16})
_LONG = frozenset(range(16, 20))
#: ISO/IEC 7812 issuer ranges, as the schemes publish them.
_SCHEMES = (
    _Scheme("4", "4", frozenset({13, 16, 19})),  # Visa
    _Scheme("51", "55", _SIXTEEN),  # Mastercard
    _Scheme("2221", "2720", _SIXTEEN),
    _Scheme("34", "34", frozenset({15})),  # American Express
    _Scheme("37", "37", frozenset({15})),
    _Scheme("300", "305", frozenset({14, 16})),  # Diners Club
    _Scheme("3095", "3095", frozenset({14, 16})),
    _Scheme("36", "36", frozenset({14, 16})),
    _Scheme("38", "39", frozenset({14, 16})),
    _Scheme("6011", "6011", _LONG),  # Discover
    _Scheme("644", "649", _LONG),
    _Scheme("65", "65", _LONG),
    _Scheme("3528", "3589", _LONG),  # JCB
    _Scheme("62", "62", _LONG),  # UnionPay
    _Scheme("81", "81", _LONG),
    _Scheme("5018", "5018", frozenset(range(13, 20))),  # Maestro
    _Scheme("5020", "5020", frozenset(range(13, 20))),
    _Scheme("5038", "5038", frozenset(range(13, 20))),
    _Scheme("5893", "5893", frozenset(range(13, 20))),
    _Scheme("6304", "6304", frozenset(range(13, 20))),
    _Scheme("6759", "6759", frozenset(range(13, 20))),
    _Scheme("6761", "6763", frozenset(range(13, 20))),
    _Scheme("2200", "2204", _LONG),  # Mir
    _Scheme("506099", "506198", _LONG),  # Verve
    _Scheme("650002", "650027", _LONG),
    _Scheme("60", "60", _SIXTEEN),  # RuPay
    _Scheme("508", "508", _SIXTEEN),
    _Scheme("5067", "5067", _SIXTEEN),  # Elo
    _Scheme("636368", "636368", _SIXTEEN),
    _Scheme("9792", "9792", _SIXTEEN),  # Troy
)
_SHORTEST, _LONGEST = 13, 19
#: Of a JSON number; longer ones are IDs.
_LONGEST_NUMBER = 16
#: Lengths of EAN-13 and GTIN-14.
_GTIN_LENGTHS = (13, 14)

#: Digits in groups with a few blanks or dashes between them; not part of a word or of a decimal fraction.
_RUN = re.compile(r"(?<![A-Za-z0-9])(?<![0-9][.,])[0-9]+(?:[ \u2010-\u2015-]{1,3}[0-9]+)*(?![A-Za-z0-9])")
#: Between four groups of four, other signs are none of decimal fractions or paths.
_FOURS = re.compile(r"(?<![A-Za-z0-9])[0-9]{4}([._/])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![A-Za-z0-9])")
_GROUP = re.compile(r"[0-9]+")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
#: Before a number in a text: what it is the number of.
_LABEL = re.compile(
    r"(?:sku|ean|gtin|upc|isbn|barcode|order ?(?:number|no)\.?)(?:[ -]?1[234])?[\W_]{0,3}$", re.IGNORECASE
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ARTICLE_WORDS = frozenset({"sku", "skus", "ean", "eans", "gtin", "gtins", "upc", "isbn", "barcode", "barcodes"})
_NUMBER_WORDS = frozenset({"number", "numbers", "no", "nr"})
_CARD_WORDS = frozenset({"card", "pan", "cardnumber"})
_CODE_WORDS = frozenset({"cvv", "cvc", "csc", "cav", "cvn", "cid"})
_CODE = re.compile(r"\s*[0-9]{3,4}\s*")
#: Makes a text to search of a page: digits and what may stand between their groups, in any encoding of it, are alike, and
#: so are large and small letters. Every page of every source is searched, so that one pass prepares both searches.
_MARKED = bytes(
    ord("0")
    if chr(byte) in "0123456789 ._/-" or byte in b"\xe2\x80\x90\x91\x92\x93\x94\x95\xc2\xa0"
    else ord(chr(byte).lower())
    if byte < 0x80  # noqa: PLR2004 - the end of ASCII
    else ord("x")
    for byte in range(256)
)
_LONG_RUN = b"0" * _SHORTEST
_RUN_END = re.compile(rb"0+")
#: Names of fields that may have a security code, in a marked page: a pattern with a first letter is searched fast.
_MARKED_NAME = re.compile(rb'c(?:v[vcn]|sc|av|id)0{0,2}"')
_MARKED_SECURITY = b"security"
#: The same in the bytes of a page, less names such as `publicId`.
_QUICK_NAME = re.compile(
    rb"(?:cv[vcn]|CV[VCN]|Cv[vcn]|[Cc]sc|CSC|[Cc]av|CAV|[Cc]id|CID|[Ss]ecurity_?[Cc]ode)_?[0-9]?\""
)
_UUID_LENGTH = 36
_UUID_ALONE = re.compile(rb'[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"')
_UUID_BYTES = re.compile(rb"(?<![0-9A-Za-z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])")
#: Begins the digits of other scripts and widths, what is not seen between digits, and an escape of any of them.
_OTHER = re.compile(rb"[\xd9\xdb\xe0\xef]|\xc2\xad|\xe2\x80[\x8b-\x8f]|\\u")
#: A run of them, whatever number it is: Arabic, Persian, Devanagari, Bengali, Thai and wide digits, plain or escaped.
_OTHER_QUICK = re.compile(
    rb"(?:(?:[0-9]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0(?:\xa5|\xa7)[\xa6-\xaf]|\xe0\xb9[\x90-\x99]|\xef\xbc[\x90-\x99]"
    rb"|\\u(?:003[0-9]|066[0-9]|06[fF][0-9]|09[6eE][6-9a-fA-F]|0[eE]5[0-9]|[fF][fF]1[0-9]))"
    rb"(?:[ ._/-]|\xe2\x80[\x8b-\x95]|\xc2[\xa0\xad]|\xef\xbb\xbf"
    rb"|\\u(?:00[aA][0dD]|20(?:0[b-fB-F]|1[0-5])|[fF][eE][fF][fF])){0,6}){13,}"
)


def find_card_data(document: Any) -> Iterator[CardData]:
    """Find each place of *document*, plain JSON, with a card number or a card security code."""
    yield from _found(document, "", "")


def refuse_card_data(document: Any) -> None:
    """
    Refuse a document with card data.

    Raises:
        CardDataRefused: it has some; the first place is named.

    """
    for found in find_card_data(document):
        raise CardDataRefused(found)


def without_card_data(document: Any) -> tuple[Any, int]:
    """Copy *document* with `MASK` in each place of card data; return it, and the number of places."""
    return _masked(document, "")


def may_have_card_data(body: bytes) -> bool:
    """Check quickly whether *body*, JSON in UTF-8, may have card data: most have no number of this form at all."""
    marked = body.translate(_MARKED)
    if _may_name_a_code(marked) and _QUICK_NAME.search(body):
        return True
    if not _is_plain(body) and _OTHER.search(body) and _OTHER_QUICK.search(body):
        return True
    return any(
        _is_card(digits)
        for start, end in _long_runs(marked)
        if not _is_in_uuid(body, start, end)
        for _, digits in _numbers(body[start:end].decode("latin-1"))
    )


def _may_name_a_code(marked: bytes) -> bool:
    return bool(_MARKED_NAME.search(marked)) or _MARKED_SECURITY in marked


def _is_plain(body: bytes) -> bool:
    # One byte is found many times as fast as two.
    return body.isascii() and (b"\\" not in body or b"\\u" not in body)


def _long_runs(marked: bytes) -> Iterator[tuple[int, int]]:
    """Find where digits and what may separate their groups are at least as long as a card number: start and end."""
    start = marked.find(_LONG_RUN)
    while start >= 0:
        end = _RUN_END.match(marked, start).end()  # type: ignore[union-attr]  # there is one where the run starts
        yield start, end
        start = marked.find(_LONG_RUN, end)


def _is_in_uuid(body: bytes, start: int, end: int) -> bool:
    """Check whether what is from *start* to *end* is a part of a UUID, whose digits are no number."""
    quote = body.rfind(b'"', max(start - _UUID_LENGTH, 0), start)
    if quote >= 0 and _UUID_ALONE.match(body, quote + 1):
        return True  # nearly always: a value that is a UUID and nothing else
    around = _UUID_BYTES.finditer(body, max(start - _UUID_LENGTH, 0), end + _UUID_LENGTH)
    return any(uuid.start() <= start and end <= uuid.end() for uuid in around)


def keep_repeated(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Build the object of a JSON document with all values of a name that comes twice, as `object_pairs_hook`: all are kept in its text."""
    kept: dict[str, Any] = {}
    for name, value in pairs:
        kept[name] = [kept[name], value] if name in kept else value
    return kept


def _found(value: Any, name: str, pointer: str) -> Iterator[CardData]:
    match value:
        case dict():
            for key, inner in value.items():
                if _has_number(str(key), ""):
                    # The name itself is the value: the pointer ends before it.
                    yield CardData(pointer, CardDataKind.NUMBER)
                else:
                    yield from _found(inner, str(key), f"{pointer}/{_escaped(str(key))}")
        case list():
            for place, inner in enumerate(value):
                yield from _found(inner, name, f"{pointer}/{place}")
        case _ if kind := _kind_of(value, name):
            yield CardData(pointer, kind)


def _masked(value: Any, name: str) -> tuple[Any, int]:
    match value:
        case dict():
            inner = {MASK if _has_number(str(key), "") else key: _masked(each, str(key)) for key, each in value.items()}
            hidden = sum(_has_number(str(key), "") for key in value)
            return {key: each for key, (each, _) in inner.items()}, hidden + sum(count for _, count in inner.values())
        case list():
            items = [_masked(each, name) for each in value]
            return [each for each, _ in items], sum(count for _, count in items)
        case _ if _kind_of(value, name):
            return MASK, 1
        case _:
            return value, 0


def _kind_of(value: Any, name: str) -> CardDataKind | None:
    if (
        isinstance(value, float | Decimal)
        and math.isfinite(value)
        and abs(value) < 10**_LONGEST
        and value == int(value)
    ):
        value = int(value)  # some write every number as 4111111111111111.0
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if _names_code(name) and _CODE.fullmatch(text):
        return CardDataKind.CODE
    # A provider's ID may be a long number.
    is_id = isinstance(value, int) and len(text) > _LONGEST_NUMBER and not _names_card(name)
    return CardDataKind.NUMBER if not is_id and _has_number(text, name) else None


def _has_number(text: str, name: str) -> bool:
    """Check whether *text*, the value of the field *name*, has a card number in it."""
    if len(text) < _SHORTEST or _names_article(name):
        return False
    plain = text if text.isascii() else _plain(text)
    if any(_is_card(re.sub("[^0-9]", "", four.group())) for four in _FOURS.finditer(plain)):
        return True
    ids = [match.span() for match in _UUID.finditer(plain)]
    for run in _RUN.finditer(plain):
        if len(run.group()) >= _SHORTEST and not any(low <= run.start() < high for low, high in ids):
            for at, digits in _numbers(run.group()):
                start = run.start() + at
                if _is_card(digits) and (_names_card(name) or not _is_article(plain[:start], digits)):
                    return True
    return False


def _plain(text: str) -> str:
    """Write *text* as a person reads it: digits of any script and width as ours, and nothing that is not seen."""
    seen = (sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in seen)


def _numbers(run: str) -> Iterator[tuple[int, str]]:
    """
    Join neighbouring groups of digits to numbers of a card's length, each with its place.

    A security code or a date may follow a number, so that a run is not one number.
    """
    groups = [(group.start(), group.group()) for group in _GROUP.finditer(run)]
    for first, (start, _) in enumerate(groups):
        digits = ""
        for _, group in groups[first : first + _LONGEST]:
            digits += group
            if len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST:
                yield start, digits


def _is_card(digits: str) -> bool:
    return _is_of_scheme(digits) and _luhn(digits)


def _is_of_scheme(digits: str) -> bool:
    return any(
        len(digits) in scheme.lengths and scheme.low <= digits[: len(scheme.low)] <= scheme.high for scheme in _SCHEMES
    )


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0  # noqa: PLR2004


def _is_article(before: str, digits: str) -> bool:
    return bool(_LABEL.search(before[-24:])) or (len(digits) in _GTIN_LENGTHS and _is_gtin(digits))


def _is_gtin(digits: str) -> bool:
    weighted = (int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(reversed(digits)))
    return sum(weighted) % 10 == 0


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _names_article(name: str) -> bool:
    """Check for the field of an article's code or an order's number."""
    words = _words(name)
    return not _ARTICLE_WORDS.isdisjoint(words) or (words[-2:-1] == ["order"] and words[-1] in _NUMBER_WORDS)


def _names_card(name: str) -> bool:
    return not _CARD_WORDS.isdisjoint(_words(name))


def _names_code(name: str) -> bool:
    """Check for the field of a card's security code; the result of its check, `cvc_check`, is none."""
    words = [word for word in _words(name) if not word.isdigit()]
    last = words[-1] if words else ""
    return last in _CODE_WORDS or last == "securitycode" or words[-2:] == ["security", "code"]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

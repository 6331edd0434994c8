"""
Find card numbers and card security codes in JSON documents, so that none is stored.

The hub handles tokens of payment providers only. A number counts as a card's if its length and its first digits are those
of a card scheme and its check digit is right. One valid EAN in ten passes the same check digit, so that fields of article
codes, order numbers and tracking numbers are left out, and so are IBANs, phone numbers, and a 13 or 14 digit number with the
check digit of a GTIN outside card fields.
"""

from __future__ import annotations

import json
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

#: Not all zeros at the end of a fraction's whole value were written: a number with fewer digits before them is a measure.
_FEWEST_WRITTEN = 13
#: In a word no shorter number counts: with 13 and 14 digits there are article codes, parcels and IDs.
_SHORTEST_IN_WORD = 15

#: Digits in groups with a few blanks or dashes between them; not of a decimal fraction.
_RUN = re.compile(r"(?<![0-9])(?<![0-9][.,])[0-9]+(?:[ \u2010-\u2015-]{1,3}[0-9]+)*")
#: Between four groups of four, other signs are none of decimal fractions or paths.
_FOURS = re.compile(r"(?<![A-Za-z0-9])[0-9]{4}([._/+])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![A-Za-z0-9])")
#: As programs write large fractions: 4.111111111111111E15.
_EXPONENT = re.compile(r"(?<![A-Za-z0-9.,])[0-9]\.[0-9]{12,18}[eE]\+?[0-9]{2}(?![A-Za-z0-9])")
_GROUP = re.compile(r"[0-9]+")
#: What has long numbers and is none: UUIDs, and orders of Amazon.
_ID = re.compile(r"\b(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9]{3}-[0-9]{7}-[0-9]{7})\b")
_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
#: ISO 13616: letters count as 10 to 35, and the rest by 97 is one.
_IBAN_MODULUS = 97
#: Before a number in a text: what it is the number of.
_LABEL = re.compile(
    r"(?:sku|ean|gtin|upc|isbn|barcode|order ?(?:number|no)\.?)(?:[ -]?1[234])?[\W_]{0,3}$", re.IGNORECASE
)
#: Letters directly before a number that say that it is a card's: tracking and order numbers begin with others.
_CARD_WORD = re.compile(
    r"(?:card|karte|carte|visa|amex|maestro|(?<![A-Za-z])(?:pan|cc))(?:no|nr|num|number)?$", re.IGNORECASE
)
_REST_OF_WORD = re.compile(r"[A-Za-z]*(?![A-Za-z0-9])")
#: The longest word and label that is looked for before a number.
_LOOK_BACK = 24
#: Of E.164, with the country.
_LONGEST_PHONE = 15
#: The name of a field whose list may be a card number in parts.
_PARTS_NAME = re.compile(r"card[ _-]?(?:number|no|nr)?[^A-Za-z]{0,16}$", re.IGNORECASE)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ARTICLE_WORDS = frozenset({"sku", "skus", "ean", "eans", "gtin", "gtins", "upc", "isbn", "barcode", "barcodes"})
_NUMBER_WORDS = frozenset({"number", "numbers", "no", "nr"})
_PARCEL_WORDS = frozenset({"tracking", "waybill"})
_PHONE_WORDS = frozenset({"phone", "telephone", "mobile", "fax", "tel", "msisdn"})
#: In a field of phone numbers, as those without a plus are; a card of 15 digits or more is one there too.
_PHONE_LENGTHS = (13, 14)
_CARD_WORDS = frozenset({"card", "pan", "cardnumber"})
_CODE_WORDS = frozenset({"cvv", "cvc", "csc", "cav", "cvn", "cid"})
_CODE = re.compile(r"\s*[0-9]{3,4}\s*")
#: Makes a text to search of a page: digits and what may stand between their groups are alike, and so are
#: large and small letters. Every page of every source is searched, so that one pass prepares both searches.
_BETWEEN = " ._/+-%\\"
_MARKED = bytes(
    ord("0") if chr(byte) in f"0123456789{_BETWEEN}" else ord(chr(byte).lower()) if byte < 0x80 else 0x7F  # noqa: PLR2004
    for byte in range(256)
)
_LONG_RUN = b"0" * _SHORTEST
_RUN_END = re.compile(rb"0+")
#: Names of fields that may have a security code, or a number in parts, in a marked page: a pattern with a first letter is
#: searched fast.
_MARKED_NAME = re.compile(rb'c(?:v[vcn]|sc|av|id|ard(?:0?n(?:umber|o|r))?)[^a-z"]{0,16}"')
_MARKED_SECURITY = b"security"
#: The same in the bytes of a page, less names such as `publicId`.
_QUICK_NAME = re.compile(
    rb"(?:(?:cv[vcn]|CV[VCN]|Cv[vcn]|[Cc]sc|CSC|[Cc]av|CAV|[Cc]id|CID|[Ss]ecurity[ _-]?[Cc]ode)[^A-Za-z\"]{0,16}\""
    rb"|(?i:card[ _-]?(?:number|no|nr)?)[^A-Za-z\"]{0,16}\"\s*:\s*\[)"
)
_UUID_LENGTH = 36
_UUID_ALONE = re.compile(rb'[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"')
_UUID_BYTES = re.compile(rb"(?<![0-9A-Za-z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_ASCII = bytes(range(128))
_WRITTEN_END = re.compile(rb"[0-9]+\.?[0-9]*$")
_EXPONENT_END = re.compile(rb"[eE]\+?[0-9]{1,2}")
#: The escape of a sign in JSON; of two halves for those beyond the first plane.
_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}")
_ESCAPE_BEFORE_DIGIT = re.compile(rb"\\u[0-9a-fA-F]{4}(?=[0-9])")


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
    body = _spelled_plainly(body)
    marked = body.translate(_MARKED)
    if _may_name_a_field(marked) and _QUICK_NAME.search(body):
        return True
    return any(
        _is_card(digits)
        for start, end in _long_runs(marked)
        if not _is_in_uuid(body, start, end)
        for digits in _digits_at(body, start, end)
    )


def _spelled_plainly(body: bytes) -> bytes:
    """Write what has several spellings in JSON or in Unicode in one. One byte is looked for many times as fast as two."""
    if b"\\" in body and b"\\u" in body:
        body = _unescaped(body)
    if not body.isascii():
        for sign in set(body.translate(None, _ASCII).decode("utf-8", "replace")):
            if (plain := _plain_sign(sign)) != sign:
                body = body.replace(sign.encode(), plain.encode())
    return body


def _unescaped(body: bytes) -> bytes:
    for escape in set(_ESCAPE.findall(body)):
        sign = json.loads(b'"' + escape + b'"')
        plain = _plain_sign(sign)
        if plain != sign or (sign.isascii() and sign.isalnum()) or sign in _BETWEEN:
            body = body.replace(escape, plain.encode())
    # The digits of any other escape are none of the number behind it.
    return _ESCAPE_BEFORE_DIGIT.sub(b" ", body)


def _may_name_a_field(marked: bytes) -> bool:
    return bool(_MARKED_NAME.search(marked)) or _MARKED_SECURITY in marked


def _long_runs(marked: bytes) -> Iterator[tuple[int, int]]:
    """Find where digits and what may separate their groups are at least as long as a card number: start and end."""
    start = marked.find(_LONG_RUN)
    while start >= 0:
        end = _RUN_END.match(marked, start).end()  # type: ignore[union-attr]  # there is one where the run starts
        yield start, end
        start = marked.find(_LONG_RUN, end)


def _digits_at(body: bytes, start: int, end: int) -> Iterator[str]:
    """Join the groups from *start* to *end* in each way, and write a fraction with an exponent as its whole value."""
    run = body[start:end].replace(b"%20", b" ")
    for number in _numbers(run.decode("latin-1")):
        yield number.digits
    if (exponent := _EXPONENT_END.match(body, end)) and (written := _WRITTEN_END.search(run)):
        whole = _whole(Decimal((written.group() + exponent.group()).decode()))
        yield "" if whole is None else str(whole)


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
        case list() if _is_in_parts(value, name):
            yield CardData(pointer, CardDataKind.NUMBER)
        case list():
            for place, inner in enumerate(value):
                yield from _found(inner, name, f"{pointer}/{place}")
        case _ if kind := _kind_of(value, name):
            yield CardData(pointer, kind)


def _masked(value: Any, name: str) -> tuple[Any, int]:
    match value:
        case dict():
            names = {key: MASK if _has_number(str(key), "") else str(key) for key in value}
            hidden = sum(name is MASK for name in names.values())
            inner = {names[key]: _masked(each, names[key]) for key, each in value.items()}
            return {key: each for key, (each, _) in inner.items()}, hidden + sum(count for _, count in inner.values())
        case list() if _is_in_parts(value, name):
            return MASK, 1
        case list():
            items = [_masked(each, name) for each in value]
            return [each for each, _ in items], sum(count for _, count in items)
        case _ if _kind_of(value, name):
            return MASK, 1
        case _:
            return value, 0


def _is_in_parts(values: list[Any], name: str) -> bool:
    """
    Check for a card number whose digits are spread over a list, in a field of a card.

    In any other field, sizes, quantities or postal codes would make one.
    """
    if not (1 < len(values) <= _LONGEST and _names_card(name) and _PARTS_NAME.search(name)):
        return False
    parts = [str(each) for each in values if isinstance(each, str | int) and not isinstance(each, bool)]
    digits = "".join(parts)
    return len(parts) == len(values) and digits.isascii() and digits.isdecimal() and _is_card(digits)


def _kind_of(value: Any, name: str) -> CardDataKind | None:
    is_fraction = isinstance(value, float | Decimal)
    if is_fraction:
        value = _whole(value)  # some write every number as 4111111111111111.0
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if not is_fraction and _names_code(name) and _CODE.fullmatch(text):
        return CardDataKind.CODE
    # A provider's ID may be a long number.
    is_id = isinstance(value, int) and len(text) > _LONGEST_NUMBER and not _names_card(name)
    return CardDataKind.NUMBER if not is_id and _has_number(text, name) else None


def _whole(value: float | Decimal) -> int | None:
    """Read a fraction as the whole number that it is; None if it is none, or is one of few digits and many zeros."""
    if not math.isfinite(value) or abs(value) >= 10**_LONGEST or value != int(value):
        return None
    return int(value) if len(str(int(value)).rstrip("0")) >= _FEWEST_WRITTEN else None


def _has_number(text: str, name: str) -> bool:
    """Check whether *text*, the value of the field *name*, has a card number in it."""
    if len(text) < _SHORTEST or _names_article(name):
        return False
    plain = text if text.isascii() else _plain(text)
    if "%" in plain:
        plain = plain.replace("%20", " ")  # as in a URL
    if any(_is_card(re.sub("[^0-9]", "", four.group())) for four in _FOURS.finditer(plain)):
        return True
    if any((whole := _whole(Decimal(found.group()))) and _is_card(str(whole)) for found in _EXPONENT.finditer(plain)):
        return True
    runs = [run for run in _RUN.finditer(plain) if len(run.group()) >= _SHORTEST]
    ids = [*(found.span() for found in _ID.finditer(plain)), *_ibans(plain)] if runs else []
    return any(
        _is_card(number.digits) and not _is_other(number, plain, name) and _stands_alone(number, plain)
        for run in runs
        if not any(low <= run.start() < high for low, high in ids)
        for number in _numbers(run.group(), run.start())
    )


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """Find IBANs with a right check number, in groups or not: start and end."""
    for found in _IBAN.finditer(text):
        # What follows may be a word of large letters.
        ends = [found.end(), *(match.start() for match in re.finditer(" ", found.group()))]
        for end in ends[:1] + [found.start() + at for at in ends[1:]]:
            sign = text[found.start() : end].replace(" ", "")
            if int("".join(str(int(each, 36)) for each in sign[4:] + sign[:4])) % _IBAN_MODULUS == 1:
                yield found.start(), end


def _plain(text: str) -> str:
    """Write *text* as a person reads it: digits, blanks and dashes of any script as ours, and nothing that is not seen."""
    return "".join(_plain_sign(sign) for sign in text)


def _plain_sign(sign: str) -> str:
    if sign.isascii():
        return sign
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    return {"Zs": " ", "Pd": "-", "Cf": ""}.get(unicodedata.category(sign), sign)


class _Number(NamedTuple):
    """Digits of a card's length, of one group or several."""

    start: int
    end: int
    digits: str
    groups: int


def _numbers(run: str, offset: int = 0) -> Iterator[_Number]:
    """
    Join neighbouring groups of digits to numbers of a card's length; *offset* is the run's place in its text.

    A security code or a date may follow a number, so that a run is not one number.
    """
    groups = list(_GROUP.finditer(run))
    for first, group in enumerate(groups):
        digits = ""
        for count, part in enumerate(groups[first : first + _LONGEST], start=1):
            digits += part.group()
            if len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST:
                yield _Number(offset + group.start(), offset + part.end(), digits, count)


def _stands_alone(number: _Number, text: str) -> bool:
    """Check that *number* is no part of a word, such as a tracking number, unless the word says that it is a card's."""
    before, after = text[number.start - 1 : number.start], text[number.end : number.end + 1]
    if before.isascii() and before.isalpha():
        is_named = _CARD_WORD.search(text[max(number.start - _LOOK_BACK, 0) : number.start])
        return bool(is_named) and bool(_REST_OF_WORD.match(text, number.end))
    if after.isascii() and after.isalpha():
        is_one = number.groups == 1 and len(number.digits) >= _SHORTEST_IN_WORD
        return is_one and bool(_REST_OF_WORD.match(text, number.end))
    return True


def _is_other(number: _Number, text: str, name: str) -> bool:
    """Check whether *number*, in the field *name*, is an article's or a phone's."""
    if _names_card(name):
        return False
    digits = number.digits
    is_phone = text[number.start - 1 : number.start] == "+" and len(digits) <= _LONGEST_PHONE
    is_phone |= len(digits) in _PHONE_LENGTHS and not _PHONE_WORDS.isdisjoint(_words(name))
    return is_phone or _is_article(text[: number.start], digits)


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
    return bool(_LABEL.search(before[-_LOOK_BACK:])) or (len(digits) in _GTIN_LENGTHS and _is_gtin(digits))


def _is_gtin(digits: str) -> bool:
    weighted = (int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(reversed(digits)))
    return sum(weighted) % 10 == 0


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _names_article(name: str) -> bool:
    """Check for the field of an article's code, a parcel's or an order's number."""
    words = _words(name)
    return not (_ARTICLE_WORDS | _PARCEL_WORDS).isdisjoint(words) or (
        words[-2:-1] == ["order"] and words[-1] in _NUMBER_WORDS
    )


def _names_card(name: str) -> bool:
    return not _CARD_WORDS.isdisjoint(_words(name))


def _names_code(name: str) -> bool:
    """Check for the field of a card's security code; the result of its check, `cvc_check`, is none."""
    words = [word for word in _words(name) if not word.isdigit()]
    last = words[-1] if words else ""
    return last in _CODE_WORDS or last == "securitycode" or words[-2:] == ["security", "code"]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

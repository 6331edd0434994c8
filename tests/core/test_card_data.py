"""Card data are found wherever they are, and no article code is taken for some."""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core import exact_json
from crossdock.core.card_data import (
    MASK,
    CardDataRefused,
    find_card_data,
    keep_repeated,
    may_have_card_data,
    refuse_card_data,
    without_card_data,
)

#: Numbers that the schemes and their processors publish for tests.
TEST_CARDS = {
    "visa": "4111111111111111",
    "visa debit": "4000056655665556",
    "visa of 13": "4222222222222",
    "mastercard": "5555555555554444",
    "mastercard 2-series": "2223003122003222",
    "american express": "378282246310005",
    "american express 34": "343434343434343",
    "discover": "6011111111111117",
    "discover 65": "6510000000000034",
    "diners": "30569309025904",
    "diners 36": "36227206271667",
    "diners 38": "38520000023237",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
    "unionpay of 19": "6205500000000000004",
    "maestro": "6759649826438453",
    "mir": "2200000000000004",
}


def found(document: Any) -> list[str]:
    return [place.pointer for place in find_card_data(document)]


def written(document: Any, *, is_escaped: bool = False) -> bytes:
    """Write JSON with each fraction as it was spelled."""
    text = json.dumps(document, ensure_ascii=is_escaped, default=lambda number: f"fraction {number}")
    return re.sub(r'"fraction ([^"]*)"', r"\1", text).encode()


def grouped(number: str, sign: str) -> str:
    sizes = (4, 6, 5) if len(number) == 15 else (4, 4, 4, 4, 4)
    groups, at = [], 0
    for size in sizes:
        groups.append(number[at : at + size])
        at += size
    return sign.join(group for group in groups if group)


@pytest.mark.parametrize("number", TEST_CARDS.values(), ids=TEST_CARDS)
@pytest.mark.parametrize("form", ["plain", "blanks", "dashes", "in a text", "with its code", "wide digits"])
def test_the_test_cards_of_all_schemes_are_found(number: str, form: str) -> None:
    text = {
        "plain": number,
        "blanks": grouped(number, " "),
        "dashes": grouped(number, "-"),
        "in a text": f"please charge {number}, thanks",
        "with its code": f"{grouped(number, ' ')} 123",
        "wide digits": "".join(chr(ord(digit) + 0xFEE0) for digit in number),
    }[form]

    assert found({"note": [text]}) == ["/note/0"]
    assert found({"cardNumber": text}) == ["/cardNumber"]


@pytest.mark.parametrize(
    "text",
    [
        "4111  1111  1111  1111",
        "4111 - 1111 - 1111 - 1111",
        "4111.1111.1111.1111",
        "4111_1111_1111_1111",
        "4111/1111/1111/1111",
        "4111\u200b1111\u200b1111\u200b1111",
        "4111\u00ad1111\u00ad1111\u00ad1111",
        "".join(chr(0x660 + int(digit)) for digit in "4111111111111111"),
        "".join(chr(0x6F0 + int(digit)) for digit in "4111111111111111"),
        "".join(chr(0x966 + int(digit)) for digit in "4111111111111111"),
        "4111\u00a01111\u20111111\u00a01111",
        "4111\u20091111\u2009\u30001111\u2060\u30001111",
        "4111+1111+1111+1111",
        "https://shop.example/pay?number=4111%201111%201111%201111",
        "card4111111111111111x",
        "VisaNo4111 1111 1111 1111",
        "4111111111111111exp",
        "4.111111111111111E15",
        4111111111111111.0,
        Decimal("4.111111111111111E+15"),
        Decimal("4.111111111113E15"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("is_escaped", [False, True])
def test_a_number_is_found_however_a_person_or_a_program_writes_it(text: Any, *, is_escaped: bool) -> None:
    """In the digits of their script, with what is not seen between them, and as programs that write ASCII escape it."""
    assert found({"note": text}) == ["/note"]
    assert may_have_card_data(written({"note": text}, is_escaped=is_escaped))
    assert may_have_card_data(written({"note": text}, is_escaped=is_escaped).replace(b"/", b"\\/")), "as PHP does"


def test_each_value_of_a_repeated_name_is_looked_at() -> None:
    """A reader keeps the last one; the text that is stored has all."""
    body = '{"a": {"x": "4111 1111 1111 1111", "x": 1, "x": 2}}'

    assert found(json.loads(body, object_pairs_hook=keep_repeated)) == ["/a/x/0/0"]


@pytest.mark.parametrize("name", ["card", "cardNumber", "credit_card_no", "Card number:"])
@pytest.mark.parametrize("parts", [["4111", "1111", "1111", "1111"], [4, *[1] * 15], ["411111", 1111111111]])
def test_a_number_in_parts_is_found_in_a_field_of_a_card(name: str, parts: list[Any]) -> None:
    """In any other field, sizes and quantities and postal codes are such lists."""
    assert found({name: parts}) == [f"/{name}"]
    assert without_card_data({name: parts}) == ({name: MASK}, 1)
    assert may_have_card_data(json.dumps({name: parts}, indent=2).encode())
    assert found({"sizes": parts}) == []


def test_a_number_is_found_as_a_number_and_as_a_name() -> None:
    assert found({"a": {"b": 4111111111111111}}) == ["/a/b"]
    assert found({"a": {"4111111111111111": 1}}) == ["/a"]


@pytest.mark.parametrize("name", ["cvv", "CVV2", "cvc", "cardCvc", "card_security_code", "securityCode", "csc"])
@pytest.mark.parametrize("value", ["123", 1234, " 123 "])
def test_a_security_code_is_found_by_its_name(name: str, value: Any) -> None:
    assert found({"card": {name: value}}) == [f"/card/{name}"]


@pytest.mark.parametrize(
    "document",
    [
        {"cvc_check": "pass"},
        {"cvcResult": "1 Matches"},
        {"cvv": None},
        {"share": Decimal("NaN"), "rate": float("inf"), "price": Decimal("1E+999999")},
        {"cvv": MASK},
        {"id": "41111111-1111-4111-8111-111111111111"},
        {"at": "2026-11-29T12:00:00.411111111111111Z", "ms": 1764417600000},
        {"share": 0.4111111111111111, "text": "0.4111111111111111", "hosts": "10.1.2.3/4111.1111"},
        {"payment": "pi_3MtwBwLkdIwHu7ix28a3tqPa", "psp": "NC6HT9CRT65ZGN82"},
        {"order_number": "4111111111111111", "orderNumber": "4111111111111111", "skus": ["4111111111111111"]},
        {"iban": "DE89 3704 0044 0532 0130 00", "phone": "+49 170 1234567"},
        {"mass": 4.2e15, "number": Decimal("4.2E+15"), "text": "4.2e15", "rate": 4.1111111111111111e-15},
        {"plz": [4010, 4020, 4030, 4041], "sizes": [36, 38, 40, 42, 44, 46, 48]},
        {"parcel": "YT4111111111111111", "dpd": "30569309025904B", "ups": "1Z4111111111111111"},
    ],
    ids=str,
)
def test_what_is_none_is_left_alone(document: Any) -> None:
    assert found(document) == []


CHANCE = random.Random(4711)  # noqa: S311  the same numbers each time


def digits(count: int) -> str:
    return "".join(CHANCE.choices("0123456789", k=count))


def with_check_digit(text: str) -> str:
    """Add the check digit of GS1: of EANs, GTINs, and shipping units."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(text)))
    return text + str(-total % 10)


def articles() -> list[str]:
    """Make 1,000 codes as shops have them, those of countries whose numbers begin as cards do among them."""
    chance = random.Random(4711)  # noqa: S311  the same codes each time
    codes = []
    for number in range(1_000):
        prefix = chance.choice(["400", "401", "440", "300", "360", "380", "498", "505", "622", "760", "871", "978"])
        length = 12 if number % 2 else 13
        code = (str(chance.randint(1, 8)) if length == 13 else "") + prefix
        codes.append(with_check_digit(code + "".join(str(chance.randint(0, 9)) for _ in range(length - len(code)))))
    return codes


#: Country, and the digits after its check number.
_IBANS = {"DE": 18, "AT": 16, "BE": 12, "DK": 14, "NO": 11, "ES": 20, "PL": 24, "LT": 16}


def iban() -> str:
    country = CHANCE.choice(list(_IBANS))
    account = CHANCE.choice("45") + digits(_IBANS[country] - 1)
    letters = "".join(str(int(letter, 36)) for letter in country)
    return f"{country}{98 - int(f'{account}{letters}00') % 97:02}{account}"


def by_fours(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


#: What numbers of a shop are, each as its field and as a text has it. Those that begin as cards do are in the majority.
GOOD_NUMBERS: dict[str, Callable[[], dict[str, Any]]] = {
    "uuids": lambda: {
        "id": str(uuid.UUID(int=CHANCE.getrandbits(128), version=4)),
        "hash": f"{CHANCE.getrandbits(256):064x}",
    },
    "digits of uuids": lambda: {"note": f"{digits(8)}-{digits(4)}-4{digits(3)}-8{digits(3)}-{digits(12)}"},
    "order numbers": lambda: {"orderNumber": f"4{digits(15)}", "note": f"order number: 4{digits(15)}"},
    "order numbers with letters": lambda: {"ref": f"ORD4{digits(15)}", "name": f"#R{digits(16)}-B"},
    "orders of Amazon": lambda: {"note": f"Amazon 3{CHANCE.choice('0689')}{digits(1)}-3{digits(6)}-{digits(7)} paid"},
    "phones": lambda: {
        "phone": f"+49151{digits(8)}",
        "mobile": f"49151{digits(8)}",
        "note": f"call +49 1511 {digits(7)}",
    },
    "UPS": lambda: {"parcel": f"1Z4{digits(15)}", "note": f"by UPS: 1Z{CHANCE.randint(100, 999)}AA1{digits(10)}."},
    "DHL": lambda: {"parcel": f"0034043{digits(13)}", "note": f"JJD00{digits(16)} or {digits(20)}"},
    "YunExpress": lambda: {"parcel": f"YT24{digits(14)}", "trackingNumber": f"24{digits(14)}"},
    "DPD": lambda: {"parcel": f"30{digits(12)}{CHANCE.choice('ABCXYZ')}"},
    "shipping units": lambda: {"sscc": f"(00){with_check_digit('34' + digits(15))}"},
    "IBANs": lambda: {"iban": (number := iban()), "note": f"to {by_fours(number)} please", "text": by_fours(iban())},
    "times": lambda: {
        "ms": 1764417600000 + CHANCE.randrange(10**10),
        "us": f"17{digits(14)}",
        "day": f"2026-11-29T12:00:00.{digits(9)}Z",
    },
    "amounts": lambda: {
        "price": f"{CHANCE.randint(1, 10**6)}.{digits(2)}",
        "share": f"0.4{digits(15)}",
        "mass": float(f"4.{digits(3)}e15"),
    },
}


@pytest.mark.parametrize("make", GOOD_NUMBERS.values(), ids=GOOD_NUMBERS)
def test_a_thousand_numbers_of_a_shop_pass(make: Callable[[], dict[str, Any]]) -> None:
    assert [document for _ in range(1_000) if found(document := make())] == []


def test_a_thousand_article_codes_are_not_refused() -> None:
    """As typed fields, in texts with their names, and where nothing says what they are."""
    refused = [
        code
        for code in articles()
        if found(
            {
                "ean": code,
                "gtin": int(code),
                "variants": [{"sku": code, "barcode": code}],
                "note": f"EAN {code}",
                "description": f"Ring, gold (GTIN: {code}), and EAN-13 {code}.",
                "code": code,
                "quantity": int(code),
            }
        )
    ]

    assert refused == []


def test_some_of_them_would_be_refused_by_their_check_digit_alone() -> None:
    """Else the test before would prove nothing."""
    assert sum(bool(found({"card": code})) for code in articles()) > 5


def test_the_refusal_names_the_place_and_never_the_value() -> None:
    with pytest.raises(CardDataRefused) as refused:
        refuse_card_data({"lines": [{"note": "4111 1111 1111 1111"}]})

    assert "/lines/0/note" in str(refused.value)
    assert "1111" not in str(refused.value)


def test_masking_leaves_all_else() -> None:
    masked, places = without_card_data({"id": 7, "note": "4111111111111111", "card": {"cvc": "123", "last4": "1111"}})

    assert (masked, places) == ({"id": 7, "note": MASK, "card": {"cvc": MASK, "last4": "1111"}}, 2)
    assert found(masked) == []


_LEAVES = st.sampled_from(
    [
        *TEST_CARDS.values(),
        *(f"{grouped(number, ' ')} 123" for number in TEST_CARDS.values()),
        "EAN 4006381333931",
        4111111111111111,
        "x",
        None,
        True,
        1.5,
    ]
)
#: What may be between the groups of a number, and before and after it.
_SIGNS = st.sampled_from(
    [
        *("", " ", "-", "--", " - ", ".", "_", "/", "+", "%20", "\u00a0", "\u2009", "\u2011", "\u2013", "\u3000"),
        *("\u200b", "\u00ad", "\u202a", "\u061c", "\ufeff", "\u00e4", "\u0e01", "\u4e00", "\\", '"', "#"),
        *("card", "x", "IBAN ", "E15", "1", "4"),
    ]
)
_SCRIPTS = st.sampled_from([0x30, 0x30, 0x30, 0x660, 0x6F0, 0x966, 0xE50, 0x1040, 0xFF10, 0x1D7CE])


@st.composite
def _spelled(draw: st.DrawFn) -> str:
    number, zero = draw(st.sampled_from([*TEST_CARDS.values()])), draw(_SCRIPTS)
    parts = grouped(number, " ").split(" ")
    sign = draw(_SIGNS)
    signs = [sign if draw(st.booleans()) else draw(_SIGNS) for _ in parts]
    text = draw(_SIGNS) + "".join(part + between for part, between in zip(parts, signs, strict=True)) + draw(_SIGNS)
    return "".join(chr(zero + int(sign)) if sign in "0123456789" else sign for sign in text)


_FRACTIONS = st.builds(
    lambda number, places, exponent: (
        Decimal(f"{number[:1]}.{number[1:]}").scaleb(places).normalize()
        if exponent
        else Decimal(number).scaleb(-places)
    ),
    st.sampled_from([*TEST_CARDS.values(), "4111111111111130", "4000000000000002", "4200000000000000"]),
    st.integers(0, 19),
    st.booleans(),
)
_NAMES = st.sampled_from(
    [
        "a",
        "sku",
        "cvc",
        "cvv-2",
        "CVC*",
        "cvv\u00e9",
        "card \u2116",
        "cvv (2026)",
        "security-code 2",
        "card",
        "cardNumber",
        "Card No",
        "phone",
        "pan",
        "trackingId",
    ]
)
_PARTS = st.lists(st.sampled_from(["4111", "1111", 1, 4, "37828224", "6310005", 1111]), max_size=19)


@given(
    st.recursive(
        _LEAVES | _spelled() | _FRACTIONS | _PARTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES | _spelled(), inner, max_size=4),
    ),
    st.booleans(),
    st.booleans(),
)
def test_the_quick_check_misses_nothing_that_is_found(document: Any, is_escaped: bool, is_php: bool) -> None:
    body = written(document, is_escaped=is_escaped)
    if found(exact_json.decode(body.decode())):
        assert may_have_card_data(body.replace(b"/", b"\\/") if is_php else body)
    masked, _ = without_card_data(document)
    assert found(masked) == []

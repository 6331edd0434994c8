"""Card data are found wherever they are, and no article code is taken for some."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        4111111111111111.0,
    ],
    ids=ascii,
)
@pytest.mark.parametrize("is_escaped", [False, True])
def test_a_number_is_found_however_a_person_or_a_program_writes_it(text: Any, *, is_escaped: bool) -> None:
    """In the digits of their script, with what is not seen between them, and as programs that write ASCII escape it."""
    assert found({"note": text}) == ["/note"]
    assert may_have_card_data(json.dumps({"note": text}, ensure_ascii=is_escaped).encode())


def test_each_value_of_a_repeated_name_is_looked_at() -> None:
    """A reader keeps the last one; the text that is stored has all."""
    body = '{"a": {"x": "4111 1111 1111 1111", "x": 1, "x": 2}}'

    assert found(json.loads(body, object_pairs_hook=keep_repeated)) == ["/a/x/0/0"]


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
    ],
    ids=str,
)
def test_what_is_none_is_left_alone(document: Any) -> None:
    assert found(document) == []


def articles() -> list[str]:
    """Make 1,000 codes as shops have them, those of countries whose numbers begin as cards do among them."""
    chance = random.Random(4711)  # noqa: S311  the same codes each time
    codes = []
    for number in range(1_000):
        prefix = chance.choice(["400", "401", "440", "300", "360", "380", "498", "505", "622", "760", "871", "978"])
        length = 12 if number % 2 else 13
        digits = (str(chance.randint(1, 8)) if length == 13 else "") + prefix
        digits += "".join(str(chance.randint(0, 9)) for _ in range(length - len(digits)))
        total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
        codes.append(digits + str(-total % 10))
    return codes


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


@given(
    st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "sku", "cvc"]), inner))
)
def test_the_quick_check_misses_nothing_that_is_found(document: Any) -> None:
    if found(document):
        assert may_have_card_data(json.dumps(document, ensure_ascii=False).encode())
    masked, _ = without_card_data(document)
    assert found(masked) == []

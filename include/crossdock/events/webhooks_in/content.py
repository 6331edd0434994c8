"""Read the content of a message: JSON or a form, in UTF-8, without card data; and take lists apart."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from crossdock.core.card_data import keep_repeated, refuse_card_data
from crossdock.core.errors import BadRequest
from crossdock.events.webhooks_in.checks import MOST_FIELDS
from crossdock.events.webhooks_in.schemes.model import Message

#: A delivery of many records is stored as so many events, in one transaction.
MOST_RECORDS = 2_000
_BEGINS_JSON = ("{", "[")
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def document_of(message: Message) -> Any:
    """
    Decode the body. Whole numbers are exact, whatever their size.

    Raises:
        BadRequest: it is not what its content type says, or not in UTF-8.
        CardDataRefused: it has card data.

    """
    return _form(message.body) if message.is_form else _json(message.body)


def is_plain_text(message: Message) -> bool:
    """
    Check whether the body is a text that is not JSON, from a sender that may send one.

    Raises:
        CardDataRefused: it has card data.

    """
    if not message.may_be_text:
        return False
    try:
        text = message.body.decode()
        json.loads(text)
    except (RecursionError, UnicodeDecodeError):
        return False
    except ValueError:
        refuse_card_data(text)
        # PostgreSQL stores no NUL: refused as what it is not.
        return "\x00" not in text
    return False


def _json(body: bytes) -> Any:
    try:
        body.decode()
        document = json.loads(body, parse_constant=_no_number)
        # The text is stored as it came: also what a reader of it drops, because its name comes again.
        refuse_card_data(json.loads(body, object_pairs_hook=keep_repeated))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON in UTF-8") from error
    return document


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have: what takes lists apart does not read them."""
    raise ValueError(name)


def _form(body: bytes) -> Any:
    """Read the fields of a form: a text, or a list of texts where a field comes again. A field may hold JSON (GitHub, Slack)."""
    try:
        text = body.decode()
        fields = parse_qs(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise BadRequest("The body is not a form in UTF-8") from error
    document = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    refuse_card_data(document)
    payload = document.get("payload")
    if len(document) == 1 and isinstance(payload, str) and payload.lstrip().startswith(_BEGINS_JSON):
        return _json(payload.encode(errors="surrogatepass"))
    return document


def items_of(message: Message, path: str) -> list[Message]:
    """
    Take the list at *path* apart; an empty path means a body that is a list. Each item is as it came, byte for byte.

    Raises:
        BadRequest: there are too many.

    """
    if message.is_form:
        return [message]
    raw = msgspec.Raw(message.body.removeprefix(codecs.BOM_UTF8))
    try:
        for step in filter(None, path.split(".")):
            raw = _RAW_FIELDS.decode(raw)[step]
        items = _RAW_LIST.decode(raw)
    except (msgspec.DecodeError, KeyError, RecursionError):
        return [message]
    if len(items) > MOST_RECORDS:
        raise BadRequest(f"The body has {len(items):,} records. At most {MOST_RECORDS:,} are taken: send fewer at once")
    return [Message(message.id, bytes(item)) for item in items] or [message]


def values_at(document: Any, path: str) -> Iterator[Any]:
    """Find all values at *path*: dots separate nested fields, and of a list each item counts. None where there is none."""
    found: Sequence[Any] = [document]
    for step in path.split("."):
        found = [item.get(step) if isinstance(item, dict) else None for item in _flat(found)]
    yield from _flat(found)


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    """Not by recursion: a list of lists may be as deep as its decoder takes."""
    rest = list(reversed(values))
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest.extend(reversed(value))
        else:
            yield value

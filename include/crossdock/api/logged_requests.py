"""
What the access log may show of a request.

Airflow's api-server logs path and query of each request after its answer, from the ASGI scope that our app was given.
The names of secrets are known to Airflow, which hides their values; card numbers and keys under other names are not.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

from starlette.types import Scope

from crossdock.core.card_data import find_card_data

#: A long word of large and small letters and digits: a key or a token, whoever made it. UUIDs and times are none.
_KEY = re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=[^0-9]*[0-9])[A-Za-z0-9_.~+/=-]{24,}")
#: What names a customer in a path.
_CUSTOMER = re.compile(r"(/journeys/customer/).+", re.DOTALL)
#: Some senders of webhooks can send their secret in the query alone, under a name that the connection says.
_WEBHOOK = "/v1/webhooks/"
_HIDDEN = "***"


def hide_in_log(scope: Scope) -> None:
    """Replace the path and query of *scope* by what may be logged of them. Call it when the request is done."""
    scope["path"] = shown_path(scope["path"])
    pairs = parse_qsl(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)
    hides_all = _WEBHOOK in scope["path"]
    hidden = [(_shown(name, ""), _HIDDEN if hides_all else _shown(value, name)) for name, value in pairs]
    # As it came where nothing is hidden: a log shows what was asked.
    if hidden != pairs:
        scope["query_string"] = urlencode(hidden).encode()


def shown_path(path: str) -> str:
    """Write *path* without a customer's address, and with stars for its digits if it has a card number."""
    path = _CUSTOMER.sub(rf"\1{_HIDDEN}", path)
    return _without_digits(path) if any(find_card_data(path)) else path


def _shown(text: str, name: str) -> str:
    """Write a part of a query, the value of *name* or a name itself."""
    if _KEY.fullmatch(text):
        return _HIDDEN
    return _without_digits(text) if any(find_card_data({name: text})) else text


def _without_digits(text: str) -> str:
    return "".join("*" if sign.isdecimal() else sign for sign in text)

"""
The action of SendGrid: send a mail.

The vendor knows no idempotency keys, and has no read that finds a mail at once. A mail whose acceptance is unknown stays
so until a person has looked it up: its custom arguments have our `reference`. Its sandbox mode is not used: it
accepts mails that are never sent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.commerce.mail.addresses import ascii_address
from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.core.errors import Declined
from crossdock.http.response import HttpResponse, redacted
from crossdock.integrations.actions.model import Document
from crossdock.integrations.actions.ports import WriteAction, WriteRequest

#: The vendor would rewrite each link, and add a picture that says who has read the mail.
UNTRACKED = {"click_tracking": {"enable": False, "enable_text": False}, "open_tracking": {"enable": False}}
#: What the vendor answers when it has looked at the mail itself and refuses it: the content, or its size.
_OF_THE_MAIL = frozenset({400, 413})


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    field: str | None = None


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Error]


# Made once, here: the API server's threads run actions (core/decoding.py).
_decode_errors = msgspec.json.Decoder(_Errors).decode


def _request(_: SendGrid, given: Document) -> WriteRequest:
    """Build the request of a valid input. Raises BadRequest for an address that mail cannot be sent to."""
    content = [{"type": "text/plain", "value": given["text"]}]
    if "html" in given:
        content.append({"type": "text/html", "value": given["html"]})
    body = {
        "personalizations": [
            {
                "to": [_mailbox(given["to"])],
                "custom_args": {"reference": given["reference"], "kind": given["kind"]},
            }
        ],
        "from": _mailbox(given["from"]),
        "subject": given["subject"],
        "content": content,
        "categories": [given["kind"]],
        "tracking_settings": UNTRACKED,
    }
    return WriteRequest("POST", "/v3/mail/send", body)


def _output(response: HttpResponse) -> Document:
    message_id = response.headers.get("X-Message-Id")
    if not message_id:
        raise response.invalid("has no X-Message-Id")
    return {"id": message_id}


def _decline(response: HttpResponse) -> Declined | None:
    """
    Read the vendor's decision against a mail.

    Another mailer may be asked after 413, since limits differ, and after a 400 about the sender, whom the other may know.
    """
    if response.status not in _OF_THE_MAIL:
        return None
    try:
        errors = _decode_errors(response.body).errors
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not errors:
        return None
    message = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)
    fields = [error.field or "" for error in errors]
    return Declined(
        response.system,
        response.status,
        redacted(message, response),
        code=fields[0] or None,
        try_other=response.status == 413 or all(field.startswith("from") for field in fields),  # noqa: PLR2004
    )


def _mailbox(given: Document) -> dict[str, Any]:
    name = {"name": given["name"]} if "name" in given else {}
    return {"email": ascii_address(given["address"]), **name}


SEND_MAIL = WriteAction(request=_request, output_of=_output, decline_of=_decline)

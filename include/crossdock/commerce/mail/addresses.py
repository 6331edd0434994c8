"""Mail addresses: how a domain in any script is written where only ASCII is understood."""

from __future__ import annotations

import re

import idna

from crossdock.core.errors import BadRequest

#: RFC 5321 4.5.3.1, less the angle brackets of a path.
_LONGEST_LOCAL_PART, _LONGEST = 64, 254
#: A dot-atom (RFC 5322 3.2.3): without quotes, nothing in it can end the address or the line. `mailer.json` has the same.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def ascii_address(address: str) -> str:
    """
    Write *address* in ASCII: its domain as IDNA 2008 has it (`ada@bücher.example` → `ada@xn--bcher-kva.example`).

    Raises:
        BadRequest: it is no address that mail can be sent to. The message does not show it.

    """
    local_part, at, domain = address.rpartition("@")
    if not (at and _LOCAL_PART.fullmatch(local_part) and len(local_part) <= _LONGEST_LOCAL_PART):
        raise _invalid()
    try:
        written = f"{local_part}@{idna.encode(domain, uts46=True).decode()}"
    except (idna.IDNAError, UnicodeError) as error:
        raise _invalid() from error
    if len(written) > _LONGEST or "." not in domain:
        raise _invalid()
    return written


def _invalid() -> BadRequest:
    return BadRequest(
        "Invalid mail address: expected something like ada@customer.example, in ASCII before the @ and of 254 characters at most"
    )

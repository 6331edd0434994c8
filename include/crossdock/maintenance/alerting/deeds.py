"""
Signed links in the messages of alerts: acknowledge or mute one alert, without a login. Pure.

Whoever has the link may do this one deed to this one alert until it expires. It opens a confirmation: programs that
look at mails follow links, and a GET must not act.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlencode

from crossdock.core.errors import Terminal

#: What the keys are derived for.
PURPOSE = "alert link"
#: A message comes again, with new links, for as long as its cause lasts.
_GOOD_FOR = timedelta(days=3)
PATH = "hub/pages/alert-link"


class Deed(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    MUTE = "mute"


#: What a link says.
WORDS = {Deed.ACKNOWLEDGE: "Acknowledge", Deed.MUTE: "Mute"}


class LinkRefused(Terminal):
    """The link was not signed by this hub, or has expired."""


@dataclass(frozen=True)
class SignedDeed:
    """One deed to one alert, for those who had a message over one route."""

    deed: Deed
    alert_id: int
    route: str
    #: Seconds since 1970.
    until_s: int

    def signature(self, key: bytes) -> str:
        """Sign it with *key*."""
        text = f"{self.deed}\n{self.alert_id}\n{self.route}\n{self.until_s}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


#: The links of a message: alert, route and the time → words and URL of each.
LinksOf = Callable[[int, str, datetime], tuple[tuple[str, str], ...]]


def no_links(_alert_id: int, _route: str, _now: datetime) -> tuple[tuple[str, str], ...]:
    """Give none: nobody said where the pages are, or there is no key to sign with."""
    return ()


def links_of(base_url: str, keys: Sequence[bytes]) -> LinksOf:
    """Make what writes the links to pages below *base_url*, signed with the first of *keys*."""
    if not base_url or not keys:
        return no_links

    def links(alert_id: int, route: str, now: datetime) -> tuple[tuple[str, str], ...]:
        until_s = int((now + _GOOD_FOR).timestamp())
        signed = [SignedDeed(deed, alert_id, route, until_s) for deed in Deed]
        return tuple((WORDS[each.deed], _url(base_url, each, keys[0])) for each in signed)

    return links


def _url(base_url: str, deed: SignedDeed, key: bytes) -> str:
    query = {
        "deed": deed.deed.value,
        "alert": deed.alert_id,
        "route": deed.route,
        "until": deed.until_s,
        "signature": deed.signature(key),
    }
    return f"{base_url.rstrip('/')}/{PATH}?{urlencode(query)}"


def refuse_unsigned(deed: SignedDeed, signature: str, keys: Sequence[bytes], now: datetime) -> None:
    """
    Check the signature in constant time, and that the link is still good.

    Raises:
        LinkRefused: it is not, or was changed.

    """
    if not any(hmac.compare_digest(deed.signature(key).encode(), signature.encode()) for key in keys):
        raise LinkRefused("This link was not made by this hub, or was changed on its way")
    if deed.until_s <= now.timestamp():
        raise LinkRefused("This link has expired. Open the alerts instead: a later message has a new one")

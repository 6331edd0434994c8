"""Links of a response to its next page: the header of RFC 8288, and which links may be followed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

# Not `requests.utils.parse_header_links`: it splits at every `;` and `=`, also those in quotes, and drops what is left.
_TARGET = re.compile(r"[\s,]*<([^>]*)>")
_PARAMETER = re.compile(r"""\s*;\s*(?:([^\s"(),/:;<=>?@\[\]{}]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?)?""")
_END = re.compile(r"\s*(?:,|$)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OtherServer(ValueError):
    """A link leads to another server. The text names it."""


def next_link(header: str) -> str | None:
    """
    Find the target of the relation `next` in a Link header; None if it has none.

    Raises:
        ValueError: it is not a Link header. That says nothing about whether there is a next page.

    """
    return next((target for target, relations in _links_in(header) if "next" in relations), None)


def followed(link: str, *, page: str) -> str:
    """
    Resolve *link*, found on *page*, to the path and query that are requested from the page's own origin.

    A proxy that ends TLS hides the scheme from the server behind it, so that its links have another one. They are followed
    all the same, but as the page was: never by plain http instead of https, and never with our credentials elsewhere.

    Raises:
        OtherServer: the link leads to another host or port.
        ValueError: it is not a URL.

    """
    # Without its query, which may have a key.
    here = urlsplit(page)._replace(query="", fragment="")
    there = urlsplit(urljoin(here.geturl(), link.strip()))
    if there.scheme not in _DEFAULT_PORTS or _host(there) != _host(here) or not _same_port(here, there):
        raise OtherServer(there.netloc.rpartition("@")[2] or there.scheme)
    return there._replace(scheme="", netloc="", fragment="").geturl()


def _links_in(header: str) -> Iterator[tuple[str, list[str]]]:
    """Parse each link with its relation types; they are case-insensitive, and several may stand in one parameter."""
    at = 0
    while header[at:].strip(" \t,"):
        target = _TARGET.match(header, at)
        if target is None:
            raise ValueError(f"no <target> at character {at}")
        at, found = target.end(), dict[str, str]()
        while parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            name, quoted, plain = parameter.groups()
            if name:  # of a parameter that comes twice, the first counts
                found.setdefault(name.lower(), _unescaped(quoted) if quoted is not None else plain or "")
        end = _END.match(header, at)
        if end is None:
            raise ValueError(f"not a parameter at character {at}")
        at = end.end()
        # A link with an anchor is a link of another resource, not of this page.
        if "anchor" not in found:
            yield target[1].strip(), found.get("rel", "").strip("'").lower().split()


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _host(split: SplitResult) -> str:
    """
    Write a host in one spelling, as the client resolves it: an international name in ASCII, without the dot at its end.

    Raises:
        ValueError: it is not the host of a URL.

    """
    host = (split.hostname or "").rstrip(".")
    try:
        if ":" in host:
            return str(ipaddress.ip_address(host))
        return parse_url(f"http://{host}").host or ""
    except LocationParseError as error:
        raise ValueError(f"{split.netloc.rpartition('@')[2]} is not the host of a URL") from error


def _same_port(here: SplitResult, there: SplitResult) -> bool:
    """Compare ports as they are written, and as they are meant: the default ports of http and https are one server's."""
    if here.port == there.port:
        return True
    meant = {split.port or _DEFAULT_PORTS[split.scheme] for split in (here, there)}
    return len(meant) == 1 or all(split.port in {None, _DEFAULT_PORTS[split.scheme]} for split in (here, there))

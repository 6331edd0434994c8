"""
Pagination of a declared system: where the next page begins, and whether there is one. Pure.

A list ends on evidence, never on a short page: a server may allow less than it is asked for, and hide records of a page.
Evidence is an announced total, an empty page, an end marker, or what the declaration says of answers past the end. A page
that comes again is past the end, too; a list that goes in a circle otherwise, or is longer than declared, is an error.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from crossdock.connectors.declarative.keyset import Order, OutOfOrder, continued
from crossdock.connectors.declarative.model import Paging
from crossdock.connectors.declarative.paths import PathDoesNotFit, finder, shown
from crossdock.core.decoding import prepare
from crossdock.core.errors import Terminal
from crossdock.http.links import OtherServer, followed, next_link

#: The kinds of pagination that count; for the others the response, or its last record, says what comes next.
_COUNTED = frozenset({"page", "offset"})
#: What text says of whether there is more; any other text is truth to JMESPath alone.
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})
#: So many pages in a row with the same records, none of which has an ID, are one page: no shop has that many equal rows.
_EQUAL_PAGES = 10


class ListWithoutEnd(Terminal):
    """A list goes in a circle, or has more pages than declared."""


class InvalidPage(Exception):
    """A page contradicts its declaration. The text completes `the page …`."""


class Repeated(Exception):
    """The page is one that came before."""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a page begins, and what tells a new page from one that was read before; a run that continues later has it, too."""

    #: What is asked for; None for the first page.
    position: str | None = None
    #: How many pages came before, and how many records; those that came again on the next page count once.
    pages: int = 0
    records: int = 0
    #: Fingerprints of the first page and of the one before.
    first: str = ""
    previous: str = ""
    #: The page with which later ones are compared: the first, second, fourth, eighth, and so on, so that a circle of any
    #: length is found (Brent's algorithm) without a list of all pages.
    landmark: str = ""
    #: Of a page whose records have no ID: the fingerprint of what it brought, and how many such pages in a row were equal.
    content: str = ""
    equal: int = 0
    #: How many records the list announced last, None if it announces none; and the most that it announced.
    total: int | None = None
    most: int = 0
    #: If there is a total: digests of the IDs of the page before. Pages overlap where rows are hidden after the cut.
    ids: tuple[str, ...] = ()
    #: For a keyset: the order of its values.
    order: Order = Order()

    @classmethod
    def of(cls, text: str) -> Place:
        """Read what `text` wrote, or the position alone, as earlier versions of the hub wrote it."""
        try:
            return _decode_place(text)
        except msgspec.DecodeError:
            return cls(position=text)

    @property
    def text(self) -> str:
        return msgspec.json.encode(self).decode()

    @property
    def page_no(self) -> int:
        return self.pages + 1


prepare(Place)
_decode_place = msgspec.json.Decoder(Place).decode


@dataclass(frozen=True)
class Answer:
    """What a response says of its list."""

    document: Any
    records: Sequence[Any]
    #: The ID of each record, None where it has none.
    ids: Sequence[str | None]
    headers: Mapping[str, str]
    #: Where it came from: a relative link is below it.
    url: str


def limit_page_size(paging: Paging, limit: int | None) -> Paging:
    """Limit pages to *limit* records, unless the system has no size parameter or the size determines the position."""
    if limit is None or not paging.size_parameter or paging.kind not in {"offset", "cursor", "keyset"}:
        return paging
    return msgspec.structs.replace(paging, size=min(paging.size, limit))


def query_of(paging: Paging, position: str | None, limit: int | None = None) -> dict[str, Any]:
    """Build the query parameters of the page at *position*; *limit* as in `limit_page_size`."""
    paging = limit_page_size(paging, limit)
    if position is None:
        return _with_size(paging, {paging.parameter: paging.first} if paging.kind == "page" else {})
    if paging.kind == "link":
        query = parse_qs(urlsplit(position).query, keep_blank_values=True)
        # A list only where a name comes twice: a GraphQL variable is typed.
        return {name: values if len(values) > 1 else values[0] for name, values in query.items()}
    if paging.kind in _COUNTED:
        # A number, not text: a GraphQL variable is typed.
        return _with_size(paging, {paging.parameter: int(position)})
    value = paging.template.replace("{value}", position) if paging.kind == "keyset" else position
    return _with_size(paging, {paging.parameter: value})


def next_place(paging: Paging, place: Place, answer: Answer) -> Place | None:
    """
    Compute where the page after that of *answer*, which began at *place*, begins; None if it was the last.

    Raises:
        Repeated: the page is one that came before. Ask for it again; if it comes again, it is `past_the_end`.
        InvalidPage: it contradicts the declaration, or fewer records came than were announced.
        OtherServer: its next page is on another server.
        ListWithoutEnd: the list goes in a circle, or has more pages than declared.

    """
    position, order = _next_position(paging, place, answer), place.order
    if paging.kind == "keyset" and position != place.position:
        order = _order(paging, place, answer)
    ids = _digests(answer) if _has_total(paging) else ()
    total, came = _total(paging, place, answer), place.records + _new(ids, place, answer)
    most = max(place.most, total or 0)
    # A total that became smaller lacks records that were read and are gone: it says nothing about those to come.
    if _is_last(paging, place, answer, position, reached=came == total == most):
        _refuse_another_number(came, total, most)
        return None
    if position is None:
        raise InvalidPage("says that there is more, but not where")
    if position == place.position:
        raise InvalidPage("links to itself: it repeats the previous page")
    # Records without an ID are alike, and say little about whether their page came before.
    content, equal = _without_ids(paging, place, answer)
    fingerprint = _fingerprint(position if content or not answer.records else answer.records)
    if fingerprint in {place.first, place.previous}:
        raise Repeated
    if fingerprint == place.landmark:
        raise _in_a_circle(paging, place)
    _refuse_more(came, total, most)
    if place.page_no >= paging.max_pages:
        raise ListWithoutEnd(
            f"The list has more than {paging.max_pages:,} pages. If it is that long, declare read.paging.max_pages; if not, "
            "the system does not say where it ends"
        )
    return Place(
        position=position,
        pages=place.page_no,
        records=came,
        first=place.first or fingerprint,
        previous=fingerprint,
        landmark=place.landmark if place.page_no & place.pages else fingerprint,
        content=content,
        equal=equal,
        total=total,
        most=most,
        ids=ids,
        order=order,
    )


def past_the_end(paging: Paging, place: Place, answer: Answer | None) -> None:
    """
    Accept that the list ended before *place*: the system says so, or repeats an earlier page (*answer*) again and again.

    Raises:
        InvalidPage: fewer records came than were announced.
        ListWithoutEnd: it is no end: cursors or links go in a circle, or page 2 is page 1 and nothing says that this was all.

    """
    if answer is None:
        _refuse_another_number(place.records, place.total, place.most)
        return
    if paging.kind not in _COUNTED or paging.more:
        raise _in_a_circle(paging, place)
    total = _total(paging, place, answer)
    is_short = bool(paging.size_parameter) and len(answer.records) < paging.size
    # Offsets that count records overlap if rows are hidden after the cut: then a short page comes again before the end.
    is_doubtful = is_short if paging.kind == "offset" else place.pages == 1 and not is_short
    if is_doubtful and total is None and "repeat" not in paging.past_end:
        raise ListWithoutEnd(
            f"Page {place.page_no} brings the records of the page before again: the list ends there, or the system ignores "
            f"{paging.parameter!r}. If it repeats a page past the end, declare read.paging.past_end: [repeat]; if it announces "
            "how many records there are, declare read.paging.total"
        )
    _refuse_another_number(place.records, total, max(place.most, total or 0))


def _without_ids(paging: Paging, place: Place, answer: Answer) -> tuple[str, int]:
    """
    Fingerprint a page whose records have no ID, and count how many like it came in a row; nothing of any other page.

    Empty pages are not counted: some systems filter after they cut, and a parameter that is ignored brings records.

    Raises:
        ListWithoutEnd: too many in a row are equal.

    """
    if not answer.records or any(each is not None for each in answer.ids):
        return "", 0
    content = _fingerprint(answer.records)
    equal = place.equal + 1 if content == place.content else 1
    if equal < _EQUAL_PAGES:
        return content, equal
    what = repr(paging.parameter) if paging.parameter else "its own links"
    raise ListWithoutEnd(
        f"Pages {place.page_no - equal + 1} to {place.page_no} bring the same records, none of which has an ID: the system "
        f"ignores {what}, or repeats its last page. Check read.paging.parameter and identity.id; if the system has no "
        "pages, declare read.paging.kind: none"
    )


def _refuse_another_number(came: int, total: int | None, most: int) -> None:
    if total is not None and came < total:
        raise InvalidPage(f"ends a list of {came:,} records, of which {total:,} were announced")
    _refuse_more(came, total, most)


def _refuse_more(came: int, total: int | None, most: int) -> None:
    """Refuse a total that is none: the number of a page, or what a system writes where it does not know it."""
    if total is not None and came > most:
        raise InvalidPage(
            f"announces {total:,} records, but {came:,} came. If that is not the number of all records of the list, leave the "
            "total out of read.paging"
        )


def _new(ids: Sequence[str], place: Place, answer: Answer) -> int:
    """Count the records that were not on the page before, by their IDs if there is a total."""
    return (Counter(ids) - Counter(place.ids)).total() if ids else len(answer.records)


def _digests(answer: Answer) -> tuple[str, ...]:
    """Digest the ID of each record, or all of a record without one."""
    pairs = zip(answer.ids, answer.records, strict=True)
    return tuple(_fingerprint(record if each is None else each, size=6) for each, record in pairs)


def _is_last(paging: Paging, place: Place, answer: Answer, position: str | None, *, reached: bool) -> bool:
    """Look for evidence of the end; *reached*: all announced records came."""
    if paging.kind == "none":
        return True
    if paging.more:
        return not _has_more(paging, answer)
    if paging.kind in _COUNTED or paging.kind == "keyset":
        return reached or not answer.records
    # The next cursor is the evidence. Some systems always send one: then an empty page that leads nowhere is the end.
    leads_nowhere = position == place.position
    return position is None or (not answer.records and (leads_nowhere or reached)) or (leads_nowhere and reached)


def _has_more(paging: Paging, answer: Answer) -> bool:
    found = _found(paging.more, answer.document)
    if found is None:
        raise InvalidPage(f"says nothing at {paging.more} about whether there is more")
    if not isinstance(found, str):
        return bool(found)
    if found.lower() not in _FALSE | _TRUE:
        raise InvalidPage(
            f"says {shown(found)} at {paging.more}, which is neither true nor false. Compare it, as in a == 'b'"
        )
    return found.lower() in _TRUE


def _has_total(paging: Paging) -> bool:
    return bool(paging.total or paging.total_header)


def _total(paging: Paging, place: Place, answer: Answer) -> int | None:
    """Read how many records are announced: by this page, or else by an earlier one; None if none is declared."""
    if not _has_total(paging):
        return None
    where = paging.total or f"the header {paging.total_header}"
    found = _found(paging.total, answer.document) if paging.total else answer.headers.get(paging.total_header)
    if found is None and place.total is not None:
        return place.total
    if isinstance(found, str) and found.strip().isdecimal():
        return int(found)
    if type(found) is not int or found < 0:  # not isinstance: to Python, true is an int
        raise InvalidPage(f"announces no total at {where}, but {shown(found)}")
    return found


def announced(paging: Paging, document: Any, headers: Mapping[str, str]) -> int | None:
    """Read how many records the first page announces; None if none is declared, or what is there is no number."""
    try:
        return _total(paging, Place(), Answer(document, (), (), headers, ""))
    except InvalidPage:
        return None  # Reading the page says what is wrong with it.


def _next_position(paging: Paging, place: Place, answer: Answer) -> str | None:
    match paging.kind:
        case "cursor":
            return _text(_found(paging.next, answer.document))
        case "link":
            return _next_link(paging, answer)
        case "page":
            return str(int(place.position or paging.first) + 1)
        case "offset" if answer.records:
            # By what came, not by what was asked for: a server may allow less.
            return str(int(place.position or 0) + len(answer.records))
        case "keyset" if answer.records:
            return _last_value(paging, answer)
    return None


def _last_value(paging: Paging, answer: Answer) -> str:
    """Take the value of the last record that has one: a record without goes to quarantine, and the list goes on."""
    for value in _values(paging, reversed(answer.records)):
        return str(value)
    raise InvalidPage(f"has no record with a value at {paging.value}, where the next page would begin")


def _values(paging: Paging, records: Iterable[Any]) -> Iterator[Any]:
    """Yield the values of the keyset, those that records have."""
    for record in records:
        try:
            value = finder(paging.value)(record)
        except PathDoesNotFit:
            continue
        if _text(value) is not None:
            yield value


def _order(paging: Paging, place: Place, answer: Answer) -> Order:
    values = list(_values(paging, answer.records))
    try:
        return continued(place.order, place.position, values, may_have_ties=_has_total(paging))
    except OutOfOrder as error:
        raise InvalidPage(str(error)) from error


def _in_a_circle(paging: Paging, place: Place) -> ListWithoutEnd:
    what = {"cursor": "cursors", "link": "links"}.get(paging.kind, "pages")
    return ListWithoutEnd(f"Page {place.page_no} of the list came before: its {what} go in a circle. Check read.paging")


def _fingerprint(value: Any, size: int = 12) -> str:
    return hashlib.blake2b(repr(value).encode("utf-8", "backslashreplace"), digest_size=size).hexdigest()


def _with_size(paging: Paging, query: dict[str, Any]) -> dict[str, Any]:
    return {**query, paging.size_parameter: paging.size} if paging.size_parameter else query


def _next_link(paging: Paging, answer: Answer) -> str | None:
    """Read the path and query of the next page. A link that cannot be read is no evidence of the end."""
    header = answer.headers.get("Link", "")
    try:
        link = _text(_found(paging.next, answer.document)) if paging.next else next_link(header)
        return None if link is None else followed(link, page=answer.url)
    except OtherServer:
        raise
    except ValueError as error:
        where = f"at {paging.next}" if paging.next else f"in its Link header {shown(header)}"
        raise InvalidPage(f"has no link that can be followed {where}: {error}") from error


def _found(path: str, document: Any) -> Any:
    try:
        return finder(path)(document)
    except PathDoesNotFit as error:
        raise InvalidPage(f"does not fit {path}, which {error}") from error


def _text(value: Any) -> str | None:
    # By identity: to Python, 0 is False, and it is a cursor as any other.
    return None if value is None or value is False or value == "" else str(value)

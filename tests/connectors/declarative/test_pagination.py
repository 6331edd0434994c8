"""A list is read to its end on evidence, never on a short page; nothing is lost, nothing comes twice, and each run ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crossdock.connectors.declarative.pagination import ListWithoutEnd, Place
from crossdock.core.errors import SourceInvalid, SystemRefused
from crossdock.db.database import Store
from crossdock.sync.model import Counts, RunState, SyncRequest
from crossdock.sync.source import Axis, Range
from tests.connectors.declarative.worlds import APIS, AT, a_shop, a_sync, data_of, declared, serving, source_of, written
from tests.shop import query

Asked = dict[str, Any]

PAGE = {"kind": "page", "parameter": "page", "size_parameter": "size", "size": 10}
OFFSET = {"kind": "offset", "parameter": "skip", "size_parameter": "size", "size": 10}
CURSOR = {"kind": "cursor", "parameter": "after", "next": "next", "size_parameter": "size", "size": 10}
LINK = {"kind": "link", "next": "next"}
KEYSET = {"kind": "keyset", "parameter": "above", "value": "id", "size_parameter": "size", "size": 10}
PAST_THE_END = (400, {}, {"message": "no such page", "code": "invalid_page_number"})


def things(count: int) -> list[Asked]:
    return [{"id": number, "name": f"R-{number}", "size": 1, "at": AT} for number in range(1, count + 1)]


def numbered(rows: list[Asked], *, at_most: int = 10, hidden: Callable[[int], bool] = lambda _: False) -> Any:
    """The page that is asked for by its number: of *at_most* rows, less those that are *hidden* after it was cut."""

    def page(asked: Asked) -> list[Asked]:
        size = min(at_most, int(asked["size"]))
        first = (int(asked["page"]) - 1) * size
        return [row for row in rows[first : first + size] if not hidden(row["id"])]

    return page


def after(rows: list[Asked], asked: Asked, parameter: str, at_most: int = 10) -> list[Asked]:
    first = int(asked.get(parameter, 0))
    return rows[first : first + at_most]


ROWS = things(34)
NAMELESS = [row | {"id": None} for row in ROWS]
#: As a database sorts names that is neither that of ASCII nor of Unicode.
NAMED = [
    {"id": 100 - number, "name": name, "size": 1, "at": AT}
    for number, name in enumerate(f"{letter}{end}" for letter in "aÄbBcéEfFgGhHiIjJ" for end in ("-a", "a"))
]
_BY_PAGE = numbered(ROWS)


def _again(asked: Asked) -> list[Asked]:
    """The last page again, whatever page beyond it is asked for, as Magento does."""
    rows: list[Asked] = _BY_PAGE({**asked, "page": min(int(asked["page"]), 4)})
    return rows


def _above(rows: list[Asked], value: str, *, asked: Asked, direction: int = 1) -> list[Asked]:
    """The ten rows above the value that is asked for, in the order of *rows*."""
    above = asked.get("above")
    return [row for row in rows if above is None or direction * row[value] > direction * int(above)][:10]


def _after_name(asked: Asked, rows: list[Asked] = NAMED) -> list[Asked]:
    """The ten rows whose names are after the one that is asked for, in the database's order."""
    names = [row["name"] for row in NAMED]
    first = names.index(asked["above"]) + 1 if "above" in asked else 0
    return [row for row in rows if names.index(row["name"]) >= first][:10]


def _by_cursor(asked: Asked) -> Asked:
    rows = after(ROWS, asked, "after")
    last = rows[-1]["id"] if rows else 0
    return {"items": rows, "next": str(last) if 0 < last < len(ROWS) else None}


def _by_cursor_with_hidden_rows(asked: Asked) -> Asked:
    """The second page is empty, and it is not the end."""
    page = _by_cursor(asked)
    return page | {"items": [row for row in page["items"] if not 10 < row["id"] <= 20]}


#: Habit of a server → (how its list is declared, what it answers, how many of 34 records it shows).
LISTS: dict[str, tuple[Asked, Callable[[Asked], Any], int]] = {
    "pages to an empty one": (PAGE, lambda asked: {"items": _BY_PAGE(asked)}, 34),
    "pages of fewer than asked for": (
        PAGE | {"size": 100},
        lambda asked: {"items": numbered(ROWS, at_most=10)(asked)},
        34,
    ),
    "pages with hidden rows": (
        PAGE,
        lambda asked: {"items": numbered(ROWS, hidden=lambda no: no % 7 == 5)(asked)},
        29,
    ),
    "the last page again": (PAGE, lambda asked: {"items": _again(asked)}, 34),
    "the last page again, and full": (
        PAGE | {"size": 17},
        lambda asked: {"items": numbered(ROWS, at_most=17)({**asked, "page": min(int(asked["page"]), 2)})},
        34,
    ),
    "the first page again": (
        PAGE,
        lambda asked: {"items": _BY_PAGE({**asked, "page": (int(asked["page"]) - 1) % 4 + 1})},
        34,
    ),
    "one short page for ever": (PAGE | {"size": 50}, lambda _: {"items": ROWS}, 34),
    "one full page for ever, as declared": (
        PAGE | {"size": 34, "past_end": ["repeat"]},
        lambda _: {"items": ROWS},
        34,
    ),
    "pages to a total": (
        PAGE | {"size": 17, "total": "total"},
        lambda asked: (
            {"items": numbered(ROWS, at_most=17)(asked), "total": "34"} if int(asked["page"]) < 3 else PAST_THE_END
        ),
        34,
    ),
    "pages to an end marker": (
        PAGE | {"more": "page < pages"},
        lambda asked: (
            {"items": _BY_PAGE(asked), "page": int(asked["page"]), "pages": 4}
            if int(asked["page"]) < 5
            else PAST_THE_END
        ),
        34,
    ),
    "an empty page in between, and an end marker": (
        PAGE | {"more": "more"},
        lambda asked: {"items": numbered(ROWS, hidden=lambda no: 10 < no <= 20)(asked), "more": int(asked["page"]) < 4},
        24,
    ),
    "400 past the end": (
        PAGE | {"past_end": [400]},
        lambda asked: {"items": _BY_PAGE(asked)} if int(asked["page"]) < 5 else PAST_THE_END,
        34,
    ),
    "400 past the end, by its reason": (
        PAGE | {"past_end": [400], "past_end_if": "code == 'invalid_page_number'"},
        lambda asked: {"items": _BY_PAGE(asked)} if int(asked["page"]) < 5 else PAST_THE_END,
        34,
    ),
    "204 past the end": (
        PAGE | {"past_end": [204]},
        lambda asked: {"items": _BY_PAGE(asked)} if int(asked["page"]) < 5 else (204, {}, b""),
        34,
    ),
    "offsets to an empty page": (OFFSET, lambda asked: {"items": after(ROWS, asked, "skip")}, 34),
    "offsets at a server that allows less": (OFFSET, lambda asked: {"items": after(ROWS, asked, "skip", 4)}, 34),
    "offsets to a total": (
        OFFSET | {"total": "total"},
        lambda asked: {"items": after(ROWS, asked, "skip"), "total": 34},
        34,
    ),
    "cursors": (CURSOR, _by_cursor, 34),
    "cursors over twenty empty pages": (
        CURSOR,
        lambda asked: (
            {"items": [], "next": str(place + 1)}
            if (place := int(asked.get("after", 0))) < 20
            else {"items": ROWS, "next": None}
        ),
        34,
    ),
    "cursors over an empty page": (CURSOR, _by_cursor_with_hidden_rows, 24),
    "a cursor that is always there, and an end marker": (
        CURSOR | {"more": "!done"},
        lambda asked: (
            _by_cursor(asked) | {"next": str(int(asked.get("after", 0)) + 10), "done": int(asked.get("after", 0)) >= 30}
        ),
        34,
    ),
    "a cursor that stays at the end": (
        CURSOR,
        lambda asked: {
            "items": (rows := after(ROWS, asked, "after")),
            "next": str(int(asked.get("after", 0)) + len(rows)),
        },
        34,
    ),
    "links": (
        LINK,
        lambda asked: {
            "items": after(ROWS, asked, "from"),
            "next": f"/things?from={start}" if (start := int(asked.get("from", 0)) + 10) < 34 else None,
        },
        34,
    ),
    "cursors down to the number 0": (
        CURSOR,
        lambda asked: {
            "items": after(ROWS, {"after": (place := int(asked.get("after", 30)))}, "after"),
            "next": place - 10 if place else None,
        },
        34,
    ),
    "an end marker in words": (
        PAGE | {"more": "more"},
        lambda asked: {"items": _BY_PAGE(asked), "more": "True" if int(asked["page"]) < 4 else "False"},
        34,
    ),
    "keyset, newest first": (
        KEYSET,
        lambda asked: {"items": _above(ROWS[::-1], "id", asked=asked, direction=-1)},
        34,
    ),
    "keyset in the order of the database": (
        KEYSET | {"value": "name"},
        lambda asked: {"items": _after_name(asked)},
        34,
    ),
    "keyset to a total that forgets what was deleted": (
        KEYSET | {"total": "total"},
        lambda asked: {"items": after(ROWS, asked, "above"), "total": 30 if "above" in asked else 34},
        34,
    ),
    "keyset that is not unique, to a total": (
        KEYSET | {"value": "rank", "total": "total", "size": 9},
        lambda asked: {
            "items": _above([row | {"rank": (row["id"] - 1) // 3} for row in ROWS], "rank", asked=asked)[:9],
            "total": 34,
        },
        34,
    ),
    "keyset": (KEYSET, lambda asked: {"items": after(ROWS, asked, "above")}, 34),
    "keyset at a server that allows less": (KEYSET, lambda asked: {"items": after(ROWS, asked, "above", 3)}, 34),
    "keyset to a total": (
        KEYSET | {"total": "total"},
        lambda asked: {"items": after(ROWS, asked, "above"), "total": 34},
        34,
    ),
}
ONLY_REST = {"links", "204 past the end"}


@pytest.mark.parametrize(
    ("api", "habit"), [(api, habit) for habit in LISTS for api in APIS if api == "rest" or habit not in ONLY_REST]
)
def test_a_list_is_read_to_its_end_once(api: str, habit: str, store: Store, tmp_path: Path) -> None:
    paging, answer, shown = LISTS[habit]
    with a_shop(api, answer) as url:
        report = a_sync(declared(api, read={"paging": paging}), url, store, tmp_path)()

    assert (report.state, report.counts) == (RunState.DONE, Counts(read=shown, inserted=shown))
    assert len(data_of(store)) == shown


def _circle(length: int) -> Callable[[Asked], Asked]:
    """Cursors that lead to each other, over pages that differ, or over empty ones."""

    def page(asked: Asked) -> Asked:
        place = int(asked.get("after", 0))
        return {"items": ROWS[place : place + 1], "next": str(place % length + 1)}

    return page


def _announcing(more: int, shown: int = 34) -> Callable[[Asked], Asked]:
    return lambda asked: {"items": numbered(ROWS[:shown])(asked), "total": more}


#: Fault → (how the list is declared, what the server answers, the error, what it says).
FAULTS: dict[str, tuple[Asked, Callable[[Asked], Any], type[Exception], str]] = {
    "two cursors in turn": (
        CURSOR,
        lambda asked: {"items": ROWS[:1], "next": "b" if asked.get("after") == "a" else "a"},
        ListWithoutEnd,
        "cursors go in a circle",
    ),
    **{
        f"a circle of {length} cursors": (CURSOR, _circle(length), ListWithoutEnd, "cursors go in a circle")
        for length in (2, 3, 7)
    },
    "a circle of cursors over empty pages": (
        CURSOR,
        lambda asked: {"items": [], "next": "b" if asked.get("after") == "a" else "a"},
        ListWithoutEnd,
        "cursors go in a circle",
    ),
    "new cursors to the same page": (
        CURSOR,
        lambda asked: {"items": ROWS[:10], "next": str(int(asked.get("after", 0)) + 1)},
        ListWithoutEnd,
        "cursors go in a circle",
    ),
    "a list without an end": (
        PAGE | {"max_pages": 5},
        lambda asked: {"items": [ROWS[0] | {"id": 1_000 + int(asked["page"])}]},
        ListWithoutEnd,
        "more than 5 pages.*max_pages",
    ),
    "a full page for ever": (PAGE, lambda _: {"items": ROWS[:10]}, ListWithoutEnd, "ignores 'page'.*past_end"),
    "a full page for ever, without IDs": (
        PAGE,
        lambda _: {"items": NAMELESS[:10]},
        ListWithoutEnd,
        "Pages 1 to 10 .* ignores 'page'.*kind: none",
    ),
    "a full page for ever, without IDs, with a total and an end marker": (
        PAGE | {"total": "total", "more": "more"},
        lambda _: {"items": NAMELESS[:10], "total": 1_000, "more": True},
        ListWithoutEnd,
        "Pages 1 to 10 .* ignores 'page'",
    ),
    "the last page again, without IDs": (
        PAGE,
        lambda asked: {"items": [row | {"id": None} for row in _again(asked)]},
        ListWithoutEnd,
        "Pages 4 to 13 .* repeats its last page",
    ),
    "offsets that are ignored, without IDs": (
        OFFSET,
        lambda _: {"items": NAMELESS[:3]},
        ListWithoutEnd,
        "Pages 1 to 10 .* ignores 'skip'",
    ),
    "new cursors to the same page, without IDs": (
        CURSOR,
        lambda asked: {"items": NAMELESS[:10], "next": str(int(asked.get("after", 0)) + 1)},
        ListWithoutEnd,
        "Pages 1 to 10 .* ignores 'after'",
    ),
    "pages in a circle of three": (
        PAGE | {"past_end": ["repeat"]},
        lambda asked: {
            "items": _BY_PAGE(
                {
                    **asked,
                    "page": (0, 1, 2, 3, 4)[int(asked["page"])]
                    if int(asked["page"]) < 5
                    else 2 + (int(asked["page"]) - 2) % 3,
                }
            )
        },
        ListWithoutEnd,
        "pages go in a circle",
    ),
    "fewer than announced, by pages": (
        PAGE | {"total": "total"},
        _announcing(35),
        SourceInvalid,
        "34 records, of which 35 were announced",
    ),
    "fewer than announced, without pages": (
        {"kind": "none", "total": "total"},
        lambda _: {"items": ROWS, "total": 100},
        SourceInvalid,
        "34 records, of which 100 were announced",
    ),
    "fewer than announced, by cursors": (
        CURSOR | {"total": "total"},
        lambda asked: _by_cursor(asked) | {"total": 40},
        SourceInvalid,
        "34 records, of which 40",
    ),
    "fewer than announced, and the last page again": (
        PAGE | {"total": "total"},
        lambda asked: {"items": _again(asked), "total": 40},
        SourceInvalid,
        "34 records, of which 40",
    ),
    "fewer than announced, and 400 past the end": (
        PAGE | {"total": "total", "past_end": [400]},
        lambda asked: {"items": _BY_PAGE(asked), "total": 40} if int(asked["page"]) < 5 else PAST_THE_END,
        SourceInvalid,
        "34 records, of which 40",
    ),
    **{
        f"a total of {total}, by {paging['kind']}": (
            paging | {"total": "total"},
            lambda asked, parameter=paging["parameter"], total=total: {
                "items": _BY_PAGE(asked) if parameter == "page" else after(ROWS, asked, parameter),
                "total": total,
            },
            SourceInvalid,
            f"no total at .*, but {total}" if total == -1 else f"announces {total} records, but {came} came",
        )
        for paging, total, came in ((PAGE, -1, 10), (PAGE, 33, 34), (OFFSET, 0, 10), (KEYSET, 9, 10))
    },
    "a total of 0, without pages": (
        {"kind": "none", "total": "total"},
        lambda _: {"items": ROWS, "total": 0},
        SourceInvalid,
        "announces 0 records, but 34 came",
    ),
    "a total of 0, by cursors": (
        CURSOR | {"total": "total"},
        lambda asked: _by_cursor(asked) | {"total": 0},
        SourceInvalid,
        "announces 0 records, but 10 came",
    ),
    "offsets that show a short page twice": (
        OFFSET,
        lambda asked: {"items": [row for row in after(ROWS, asked, "skip") if row["id"] % 10 == 1]},
        ListWithoutEnd,
        r"page before again.*past_end: \[repeat\]",
    ),
    "an end marker in unknown words": (
        PAGE | {"more": "more"},
        lambda asked: {"items": _BY_PAGE(asked), "more": "no more"},
        SourceInvalid,
        "neither true nor false",
    ),
    "no total where it was declared": (
        PAGE | {"total": "total"},
        lambda asked: {"items": _BY_PAGE(asked)},
        SourceInvalid,
        "no total at",
    ),
    "no end marker where it was declared": (
        PAGE | {"more": "more"},
        lambda asked: {"items": _BY_PAGE(asked)},
        SourceInvalid,
        "says nothing at",
    ),
    "400 that nothing was declared of": (
        PAGE,
        lambda asked: {"items": _BY_PAGE(asked)} if int(asked["page"]) < 5 else PAST_THE_END,
        SystemRefused,
        r"page 5.*past_end: \[400\]",
    ),
    "400 for another reason": (
        PAGE | {"past_end": [400], "past_end_if": "code == 'too_deep'"},
        lambda asked: {"items": _BY_PAGE(asked)} if int(asked["page"]) < 5 else PAST_THE_END,
        SystemRefused,
        "no such page",
    ),
    "400 for the first page": (PAGE | {"past_end": [400]}, lambda _: PAST_THE_END, SystemRefused, "no such page"),
    "a keyset that the server ignores": (
        KEYSET,
        lambda _: {"items": ROWS[:10]},
        SourceInvalid,
        "repeats the previous page",
    ),
    "a keyset from the newest, asked for what is above": (
        KEYSET,
        lambda asked: {"items": _above(ROWS[::-1], "id", asked=asked)},
        SourceInvalid,
        "not sorted by its value",
    ),
    "a keyset from the last name, asked for those after": (
        KEYSET | {"value": "name"},
        lambda asked: {"items": _after_name(asked, NAMED[::-1])},
        SourceInvalid,
        "not sorted by its value",
    ),
    "a keyset without an order": (
        KEYSET,
        lambda asked: {"items": _above([*ROWS[1::2], *ROWS[::2]], "id", asked=asked)},
        SourceInvalid,
        "not sorted by its value",
    ),
    "a keyset of times from the newest, a record a page": (
        KEYSET | {"value": "at", "size": 1},
        lambda asked: {
            "items": [
                ROWS[0] | {"at": f"2026-11-01T0{3 if 'above' not in asked else 9 - int(asked['above'][12])}:00:00Z"}
            ]
        },
        SourceInvalid,
        "not sorted by its value",
    ),
    "a keyset that is not unique": (
        KEYSET | {"value": "rank"},
        lambda asked: {"items": _above([row | {"rank": (row["id"] - 1) // 3} for row in ROWS], "rank", asked=asked)},
        SourceInvalid,
        "a value that is not unique",
    ),
    "a keyset without a value": (
        KEYSET | {"value": "place"},
        lambda _: {"items": ROWS[:10]},
        SourceInvalid,
        "no record with a value at place",
    ),
}


@pytest.mark.parametrize(("api", "fault"), [(api, fault) for fault in FAULTS for api in APIS])
def test_a_list_without_a_sure_end_fails_and_says_why(api: str, fault: str, store: Store, tmp_path: Path) -> None:
    """And loads nothing: half a list passes for the whole one tomorrow."""
    paging, answer, error, says = FAULTS[fault]
    asked_for: list[Any] = []
    with a_shop(api, lambda asked: asked_for.append(asked) or answer(asked)) as url:
        sync = a_sync(declared(api, read={"paging": paging}), url, store, tmp_path)
        with pytest.raises(error, match=says):
            sync()

    assert len(asked_for) < 40
    assert data_of(store) == {}


@pytest.mark.parametrize(
    ("paging", "record_id", "pages"),
    [(PAGE, None, 2), (OFFSET, 1, 2), (PAGE | {"size": 1}, None, 2), (PAGE | {"size": 1}, None, 9)],
    ids=["no ID", "one ID", "no ID, a record a page", "nine pages without an ID"],
)
def test_records_that_cannot_be_told_apart_do_not_end_a_list(
    paging: Asked, record_id: int | None, pages: int, store: Store, tmp_path: Path
) -> None:
    """Pages of them look as if one came again; only the content says that it did not."""
    size = paging["size"]
    rows = [
        row | {"id": record_id, "name": f"R-{row['id'] if record_id else 0}"}
        if size < row["id"] <= (pages + 1) * size
        else row
        for row in things((pages + 4) * size + 4)
    ]

    def answer(asked: Asked) -> Asked:
        return {"items": numbered(rows)(asked) if "page" in asked else after(rows, asked, "skip")}

    with a_shop("rest", answer) as url:
        report = a_sync(declared("rest", read={"paging": paging}), url, store, tmp_path)()

    assert report.counts.read == len(rows)


def test_a_record_on_two_pages_counts_once_towards_the_total(store: Store, tmp_path: Path) -> None:
    """A server that hides rows after it cut the page shows some of them again at the next offset."""

    def answer(asked: Asked) -> Asked:
        return {"items": [row for row in after(ROWS, asked, "skip") if row["id"] % 2], "total": 17}

    with a_shop("rest", answer) as url:
        report = a_sync(declared("rest", read={"paging": OFFSET | {"total": "total"}}), url, store, tmp_path)()

    assert (report.state, report.counts.inserted) == (RunState.DONE, 17)


@pytest.mark.parametrize(
    "link",
    [
        "things?page={page}",
        "./things?page={page}",
        "?page={page}",
        "/api/v1/things?page={page}",
        "/v2/things?page={page}",
    ],
)
def test_a_link_is_resolved_against_the_page_that_has_it(link: str, store: Store, tmp_path: Path) -> None:
    """RFC 3986; it may also leave the path of the base URL, on the same server."""
    other = "/v2/things" if link.startswith("/v2") else "/api/v1/things"

    def answer(asked: Asked, request: Any) -> Any:
        page = int(asked.get("page", 1))
        if urlsplit(request.path).path != (other if page > 1 else "/api/v1/things"):
            return 404, {}, {"message": "no such page"}
        return {"items": _BY_PAGE({"page": page, "size": 10}), "next": link.format(page=page + 1) if page < 4 else None}

    with serving(answer) as url:
        report = a_sync(declared("rest", read={"paging": LINK}), f"{url}/api/v1", store, tmp_path)()

    assert report.counts == Counts(read=34, inserted=34)


@pytest.mark.parametrize("paging", [LINK, CURSOR], ids=["link", "cursor"])
def test_a_404_for_the_next_page_that_the_system_named_is_not_called_an_end(
    paging: Asked, store: Store, tmp_path: Path
) -> None:
    """Whoever declared that it is would lose the rest of the list."""

    def answer(asked: Asked) -> Any:
        return (404, {}, {}) if "after" in asked else {"items": ROWS[:10], "next": "/things?after=1"}

    with a_shop("rest", answer) as url:
        sync = a_sync(declared("rest", read={"paging": paging}), url, store, tmp_path)
        with pytest.raises(SystemRefused) as refused:
            sync()

    assert "past_end" not in str(refused.value)


def test_one_page_that_comes_twice_is_not_the_end(store: Store, tmp_path: Path) -> None:
    """A cache on the way answered with the page before; asked again, the server has more."""
    stale = [3]

    def answer(asked: Asked) -> Asked:
        number = int(asked["page"])
        if number in stale:
            stale.remove(number)
            number -= 1
        return {"items": _BY_PAGE({**asked, "page": number})}

    with a_shop("rest", answer) as url:
        report = a_sync(declared("rest", read={"paging": PAGE}), url, store, tmp_path)()

    assert report.counts == Counts(read=34, inserted=34)


def test_a_total_in_a_header_counts(store: Store, tmp_path: Path) -> None:
    """WordPress announces it there."""
    paging = PAGE | {"total_header": "X-WP-Total"}
    with a_shop("rest", lambda asked: (200, {"X-WP-Total": "40"}, {"items": _BY_PAGE(asked)})) as url:
        sync = a_sync(declared("rest", read={"paging": paging}), url, store, tmp_path)
        with pytest.raises(SourceInvalid, match="34 records, of which 40"):
            sync()


def test_a_list_that_grows_while_it_is_read_is_read_whole(store: Store, tmp_path: Path) -> None:
    """The total of the last page counts, not that of the first."""
    rows = things(20)

    def answer(asked: Asked) -> Asked:
        page = {"items": after(rows, asked, "skip"), "total": len(rows)}
        rows.extend(things(25)[len(rows) : len(rows) + 5])
        return page

    with a_shop("rest", answer) as url:
        report = a_sync(declared("rest", read={"paging": OFFSET | {"total": "total"}}), url, store, tmp_path)()

    assert report.counts.read == 25


@pytest.mark.parametrize("api", APIS)
def test_a_limit_and_named_keys_find_their_records(api: str, store: Store, tmp_path: Path) -> None:
    """A key may be on any page; a limit ends the run, not the list."""
    with a_shop(api, lambda asked: {"items": _BY_PAGE(asked), "total": 34}) as url:
        sync = a_sync(declared(api, read={"paging": PAGE | {"total": "total"}}), url, store, tmp_path)
        named, limited = sync(SyncRequest(keys=("R-31",))), sync(SyncRequest(full=True, limit=13))

    assert (named.counts.read, limited.counts.read) == (1, 13)
    assert len(data_of(store)) == 14


def test_a_place_of_an_earlier_version_of_the_hub_is_understood() -> None:
    """A run that was interrupted by the upgrade continues where it was."""
    assert Place.of("3") == Place.of('{"position":"3"}') == Place(position="3")
    assert Place.of(Place(position="x", pages=7, total=3).text) == Place(position="x", pages=7, total=3)


def test_an_ended_list_leaves_no_alert(store: Store, tmp_path: Path) -> None:
    with a_shop("rest", lambda _: {"items": []}) as url:
        report = a_sync(declared("rest", read={"paging": PAGE}), url, store, tmp_path)()

    assert (report.state, report.counts.read) == (RunState.DONE, 0)
    assert query(store, "SELECT kind FROM alert") == []


@pytest.mark.parametrize("habit", ["the last page again", "the first page again", "a cursor that stays at the end"])
def test_a_read_that_continues_after_a_crash_knows_the_pages_before(habit: str, tmp_path: Path) -> None:
    """Each page is read by another worker, which has nothing but the cursor."""
    paging, answer, shown = LISTS[habit]
    path = written(tmp_path, declared("rest", read={"paging": paging}))
    pages, after = [], None
    with a_shop("rest", answer) as url:
        for _ in range(10):
            page = source_of(path, url).page("", Range(range_no=0, axis=Axis.ID), after)
            pages.append(page.records)
            after = page.cursor
            if page.last:
                break

    assert (sum(pages), page.last) == (shown, True)


@pytest.mark.parametrize(
    ("reason", "is_end"), [("page 5 is greater than the 4 pages", True), ("too many calls", False)]
)
def test_errors_of_graphql_past_the_end_are_the_end_as_declared(
    reason: str, *, is_end: bool, store: Store, tmp_path: Path
) -> None:
    """Magento's GraphQL has no status of its own for them, and other errors look alike."""
    paging = PAGE | {"past_end": ["errors"], "past_end_if": "contains(errors[0].message, 'is greater than')"}

    def reply(asked: Asked, _: Any) -> Any:
        variables = asked["variables"]
        found = {"data": {"page": {"items": _BY_PAGE(variables)}}}
        return found if variables["page"] < 5 else {"errors": [{"message": reason}], "data": None}

    with serving(reply) as url:
        sync = a_sync(declared("graphql", read={"paging": paging}), url, store, tmp_path)
        if is_end:
            assert sync().counts == Counts(read=34, inserted=34)
        else:
            with pytest.raises(SystemRefused, match=reason):
                sync()

"""The header of RFC 8288, and the links that may be followed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.http.links import OtherServer, followed, next_link

PAGE = "https://shop.example/api/things?page=1&key=secret"


@pytest.mark.parametrize(
    "header",
    [
        '</b>; rel="next"',
        "</b>; rel=next",
        "</b>;rel=next",
        '</b> ; REL = "NEXT"',
        '</a>; rel="first", </b>; rel="last next"',
        '</b>; rel="last next"',
        '</b>; title="a, b"; rel="next"',
        '</b>; title="a; rel=prev"; rel="next"',
        r'</b>; title="a \"quote\", </c>; rel=next"; rel="next"',
        '</b>; title="a=b"; rel="next"',
        "</b>; title*=UTF-8''n%c3%a4chste; rel=next",
        '</b>; crossorigin; rel="next"',
        '</b>; rel="next"; rel="prev"',
        '</c>; rel="prev next-archive", </b>; rel="https://example.org/rels/page next"',
        ', ,</a>; rel=prev,, </b>; rel="next", ',
        '</c>; rel="next"; anchor="#chapter", </b>; rel="next"',
        "</b>; rel='next'",
        "</b>; rel=next;",
        "< /b >; rel=next",
    ],
)
def test_the_next_page_is_found(header: str) -> None:
    """Half of the records were missing, of a run that was done and balanced."""
    assert next_link(header) == "/b"


@pytest.mark.parametrize("target", ["/b?ids=1,2;3&rel=first", "https://h/b?a=<1", "?page=2", ""])
def test_the_target_is_what_stands_between_the_brackets(target: str) -> None:
    assert next_link(f'<{target}>; rel="next"') == target


@pytest.mark.parametrize(
    "header", ["", " ", ",", '</a>; rel="prev", </z>; rel="last"', "</a>", '</a>; rel="next-archive"']
)
def test_a_header_without_it_is_the_end(header: str) -> None:
    assert next_link(header) is None


@pytest.mark.parametrize(
    "header",
    ["https://h/b; rel=next", "</b; rel=next", '</b>; title="open; rel=next', "</b> rel=next", '</b>; rel="next" x'],
)
def test_what_cannot_be_read_is_an_error_and_never_the_end(header: str) -> None:
    with pytest.raises(ValueError, match="at character"):
        next_link(header)


@given(st.text(alphabet='<>;,="\\ \t/abnextrl', max_size=60))
def test_any_header_is_read_or_refused(header: str) -> None:
    """It is the other side's text: no header ends a run with an error of ours, or takes a second to read."""
    with contextlib.suppress(ValueError):
        next_link(header)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("https://shop.example/api/things?page=2", "/api/things?page=2"),
        ("http://shop.example/api/things?page=2", "/api/things?page=2"),
        ("http://SHOP.example:80/api/things?page=2", "/api/things?page=2"),
        ("https://shop.example:443/api/things?page=2", "/api/things?page=2"),
        ("http://shop.example:443/api/things?page=2", "/api/things?page=2"),
        ("//shop.example/api/things?page=2", "/api/things?page=2"),
        ("/other?page=2", "/other?page=2"),
        ("?page=2", "/api/things?page=2"),
        ("more?page=2", "/api/more?page=2"),
        ("../things/2", "/things/2"),
        (" ?page=2#end ", "/api/things?page=2"),
        ("#end", "/api/things"),
        ("https://me:pw@shop.example/b", "/b"),
    ],
)
def test_a_link_is_followed_below_the_pages_own_origin(link: str, path: str) -> None:
    """A proxy hides the scheme from the server behind it. What is requested has neither scheme nor host of the link."""
    assert followed(link, page=PAGE) == path


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("https://b\u00fccher.example/a", "https://xn--bcher-kva.example/b"),
        ("https://xn--bcher-kva.example/a", "https://B\u00dcCHER.example/b"),
        ("https://shop.example/a", "HTTPS://shop.example./b"),
        ("http://shop.example./a", "https://SHOP.example/b"),
        ("http://[::1]:8080/a", "https://[0:0:0:0:0:0:0:1]:8080/b"),
        ("https://[FD00::a]/a", "http://[fd00:0::A]:80/b"),
    ],
)
def test_another_spelling_of_the_same_host_is_the_same_server(page: str, link: str) -> None:
    """A server writes its own name as it is configured, and a declaration as a person knows it."""
    assert followed(link, page=page) == "/b"


@pytest.mark.parametrize(
    "link",
    [
        "https://sh\u043ep.example/b",
        "https://[::ffff:127.0.0.1]/b",
        "https://./b",
        "https://elsewhere.example/api/things?page=2",
        "https://shop.example:8443/b",
        "https://shop.example:80/b",
        "//elsewhere.example/b",
        "https://shop.example@elsewhere.example/b",
        "https://shop.example.elsewhere.example/b",
        "ftp://shop.example/b",
        "javascript:alert(1)",
        "data:,b",
    ],
)
def test_a_link_to_another_server_is_not_followed(link: str) -> None:
    """It would be shown our credentials."""
    with pytest.raises(OtherServer):
        followed(link, page=PAGE)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_of_our_own_may_come_with_either_scheme(scheme: str) -> None:
    assert followed(f"{scheme}://127.0.0.1:8080/b", page="http://127.0.0.1:8080/a") == "/b"


@pytest.mark.parametrize(
    "link",
    ["http://[", "http://[::g]/b", "http://%zz/b", "https://shop.example:port/b", "https://shop.example:99999/b"],
)
def test_what_is_not_a_url_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort|IPv6"):
        followed(link, page=PAGE)

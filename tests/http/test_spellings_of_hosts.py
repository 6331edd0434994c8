"""Where a host may lead, however it is spelled: in a connection, in a redirect, and in the link to a next page."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import AddressRefused, BadRequest, SystemRefused, SystemUnavailable
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.connection import Connection
from crossdock.http.ssrf_guard import AllowedNetworks
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import manifests
from tests.connectors.declarative.worlds import AT, BASE, HERE, ids_read, written
from tests.http.raw_server import ONE_SECOND, RawServer, answer, body_of

#: Each is this machine, as its resolver or that of a test has it.
THIS_MACHINE = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:FFFF:7f00:1]",
    "shop.example",
    "Shop.Example.",
    "b\u00fccher.example",
    "B\u00dcCHER.example.",
    "xn--bcher-kva.example",
    "\u65e5\u672c.example",
]
#: Never opened by `allow_private`.
METADATA = [
    "169.254.169.254",
    "169.254.169.254.",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "[fe80::1]",
]
NAMES = {"shop.example", "xn--bcher-kva.example", "xn--wgv71a.example"}


def resolve(host: str, port: int, **options: Any) -> Any:
    """The system's own resolver, which also knows the names of these tests, with a dot at the end or without."""
    return socket.getaddrinfo("127.0.0.1" if host.rstrip(".") in NAMES else host, port, **options)


def client(url: str, **rules: Any) -> HttpClient:
    config = ClientConfig(limits=ONE_SECOND, allowed_networks=AllowedNetworks(**rules), resolve=resolve)
    return HttpClient("acme", url, config=config)


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
@pytest.mark.parametrize("host", THIS_MACHINE)
def test_this_machine_is_reached_only_where_that_is_allowed(host: str, scheme: str) -> None:
    """The guard looks at the address of the socket, and no spelling has another one."""
    with RawServer(answer(b"[1]")) as server:
        url = f"{scheme}://{host}:{server.port}"
        with pytest.raises(AddressRefused, match="not a public address"):
            body_of(client(url))
        assert server.requests == []

        assert body_of(client(url, allow_private=True)) == b"[1]"


@pytest.mark.parametrize("host", METADATA)
def test_a_metadata_service_is_not_reached_by_any_spelling(host: str) -> None:
    with pytest.raises(AddressRefused):
        body_of(client(f"http://{host}:9", allow_private=True))


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]"])
def test_an_ipv6_address_is_called_as_it_is_written(host: str) -> None:
    if not _has_ipv6():
        pytest.skip("no IPv6 on this machine")
    with RawServer(answer(b"[1]"), address="::1") as server:
        with pytest.raises(AddressRefused, match="::1"):
            body_of(client(f"http://{host}:{server.port}"))
        assert body_of(client(f"http://{host}:{server.port}", allow_private=True)) == b"[1]"
    assert f"Host: {host}:{server.port}" in server.requests[0]


@pytest.mark.parametrize("host", ["[fd12:3456::1]", "[fc00::1]"])
def test_a_unique_local_address_is_refused_until_its_network_is_named(host: str) -> None:
    with pytest.raises(AddressRefused, match=r"(fc00|fd12:3456)::1 resolves"):
        body_of(client(f"http://{host}:9"))
    with pytest.raises(SystemUnavailable):
        body_of(client(f"http://{host}:9", allow_private=True))


@pytest.mark.parametrize(
    "host", ["[fe80::1%25eth0]", "127.0.0.1%2f", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021", "a b", ""]
)
def test_what_only_some_read_as_a_host_is_none(host: str) -> None:
    """A browser or a resolver may make an address of it."""
    with pytest.raises(BadRequest, match="not a URL"):
        client(f"http://{host}:9", allow_private=True)


@pytest.mark.parametrize("host", [*THIS_MACHINE, *METADATA])
def test_no_redirect_leads_there(host: str) -> None:
    with RawServer(answer(b"[1]")) as inside:
        location = f"HTTPS://{host}:{inside.port}/".encode().decode("latin-1")
        with RawServer(answer(b"", "302 Found", {"Location": location})) as server:
            with pytest.raises(SystemRefused, match="Redirects are not followed"):
                body_of(client(server.url, allow_private=True))
            assert (len(server.requests), inside.requests) == (1, [])


OWN = [
    ("shop.example", "shop.example"),
    ("shop.example", "SHOP.example."),
    ("shop.example.", "shop.example"),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "b\u00fccher.example"),
    ("[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"),
]


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
@pytest.mark.parametrize(("host", "link"), OWN)
def test_a_next_page_of_the_same_server_is_read_however_it_spells_itself(
    host: str, link: str, scheme: str, tmp_path: Path
) -> None:
    """A proxy that ends TLS has the server write http for https. It is asked as before, by the connection's own scheme."""
    with RawServer(lambda socket: socket.sendall(first(server, scheme, link)), answer(page(2))) as server:
        assert ids_read(source(f"http://{host}:{server.port}", tmp_path)) == ["1", "2"]
        assert [request.split()[1] for request in server.requests] == ["/things", "/things?page=2"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::1]", "169.254.169.254", "sh\u043ep.example"])
def test_a_next_page_of_another_server_is_not_asked_for(host: str, scheme: str, tmp_path: Path) -> None:
    """Also where both names lead to one address today: the credentials are for the name."""
    with RawServer(lambda socket: socket.sendall(first(server, scheme, host))) as server:
        with pytest.raises(SystemRefused, match="its next page is on another server"):
            ids_read(source(f"http://shop.example:{server.port}", tmp_path))
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["stripe", "hubspot", "declared"])
def test_the_scheme_of_a_setting_is_written_in_small_letters(kind: str) -> None:
    """One spelling is shown and compared; a connection that was made by hand may have another."""
    schema = {"properties": {"base_url": manifests()[kind].settings["properties"]["base_url"]}}
    assert [*errors_in(schema, {"base_url": "HTTPS://api.example"}, "/settings")]
    assert [*errors_in(schema, {"base_url": "https://api.example"}, "/settings")] == []


def page(number: int, following: str | None = None) -> bytes:
    item = {"id": number, "name": f"R-{number}", "size": 1, "at": AT}
    return json.dumps({"items": [item], "next": following}, ensure_ascii=False).encode()


def first(server: RawServer, scheme: str, host: str) -> bytes:
    """The first page, whose next one is by *scheme* on *host*."""
    return answer(page(1, f"{scheme}://{host}:{server.port}/things?page=2"))


def source(url: str, folder: Path) -> DeclaredSource:
    document = BASE | {"read": BASE["read"] | {"paging": {"kind": "link", "next": "next"}}}
    connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE)
    return DeclaredSource(files.read(written(folder, document)), connection, limits=ONE_SECOND, resolve=resolve)


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True

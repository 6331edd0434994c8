"""What a call costs this process, beside a plain session of `requests`."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from crossdock.connectors.commercetools import Commercetools
from crossdock.http.client import HttpClient
from crossdock.sync.source import Axis, Range
from tests.http.raw_server import RawServer, answer

RECORDS = [
    {
        "id": f"{number:08d}-aaaa-bbbb-cccc-{number:012d}",
        "version": 3,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastModifiedAt": f"2026-11-01T00:00:00.{number:03d}Z",
        "sku": f"CRUNCHY-ARMCHAIR-{number:06d}",
        "quantityOnStock": number,
        "availableQuantity": number,
        "supplyChannel": {"typeId": "channel", "id": "cccccccc-aaaa-bbbb-cccc-000000000001"},
        "custom": {"fields": {"note": "x" * 60}},
    }
    for number in range(500)
]
QUERY = {"where": 'id > "0"', "sort": ["id asc"], "limit": 500, "withTotal": "false"}


def _serve(pipe: object, body: bytes) -> None:
    with RawServer(answer(body, headers={"Connection": "keep-alive"})) as raw_server:
        pipe.send(raw_server.url)  # type: ignore[attr-defined]
        time.sleep(900)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a server in its own process, so that its CPU time does not count as ours."""
    body = json.dumps({"limit": 500, "offset": 0, "count": 500, "results": RECORDS}).encode()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, body), daemon=True)
    server.start()
    yield ours.recv()
    server.kill()
    server.join()


def cpu_ms(*those: Callable[[], object], calls: int = 200) -> list[float]:
    """Of one call of each, at its best of three rounds; they take turns, so that a busy minute meets all of them."""
    rounds: list[list[float]] = [[] for _ in those]
    for _ in range(3):
        for call, found in zip(those, rounds, strict=True):
            began = time.process_time()
            for _ in range(calls):
                call()
            found.append((time.process_time() - began) / calls * 1000)
    return [min(found) for found in rounds]


def test_a_page_costs_less_than_a_plain_session_that_guards_nothing(
    url: str, record_property: Callable[[str, object], None]
) -> None:
    """Deadline, size, addresses and retries included; the sync spends a third of its time in here."""
    client, source, session = HttpClient("acme", url), Commercetools(url, "demo"), requests.Session()
    session.trust_env = False
    everything = Range(range_no=0, axis=Axis.ID)

    plain, ours, page = cpu_ms(
        lambda: session.get(f"{url}/demo/inventory", params=QUERY).content,
        lambda: client.get("/demo/inventory", QUERY, lambda got: got.body),
        lambda: source.page("inventory", everything, None),
    )

    record_property("CPU ms a page: requests, client, connector", f"{plain:.2f}, {ours:.2f}, {page:.2f}")
    assert plain / ours > 1.3
    # On a busy machine the two were within two per cent of each other.
    assert page < 1.15 * plain

"""A page of commercetools is the last one only if the server had no more to give."""

from __future__ import annotations

import json

import pytest

from crossdock.connectors.commercetools import Api, Commercetools
from crossdock.sync.source import Axis, Range
from tests.http.raw_server import RawServer, answer


@pytest.mark.parametrize(("limit", "last"), [(None, True), (500, True), (2, False), (3, True)])
def test_a_page_is_short_by_the_limit_that_the_server_applied(limit: int | None, *, last: bool) -> None:
    """A proxy that allows two records on a page says so; what comes after them must not be lost."""
    results = [{"id": f"i-{number}", "version": 1, "lastModifiedAt": "2026-11-01T00:00:00.000Z"} for number in (1, 2)]
    page = {"offset": 0, "count": 2, "results": results} | ({"limit": limit} if limit else {})
    with RawServer(answer(json.dumps(page).encode())) as server:
        source = Commercetools(server.url, "shop", api=Api.REST)

        assert source.page("inventory", Range(range_no=0, axis=Axis.ID), None).last is last

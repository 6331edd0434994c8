"""The paths of requests to the hub and Airflow."""

from __future__ import annotations

import pytest
from requests import Request

from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of


@pytest.mark.parametrize(
    "name", ["../runs?limit=1#", "a/b", "a b", "50%", "%2e%2e", "é", "manual__2026-11-29T09:30:00+00:00"]
)
def test_an_id_stays_one_segment_as_it_is_sent(name: str) -> None:
    """Also after requests, which resolves dots and unquotes what needs no quotes."""
    sent = str(Request("GET", f"http://hub{path_of('integrations', name, 'health')}").prepare().path_url)

    assert sent.count("/") == 3
    assert sent.startswith("/integrations/")
    assert sent.endswith("/health")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_id_that_no_quoting_helps_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="Invalid ID"):
        path_of("integrations", name)

"""Cursors of rows in a hub without a Fernet key, where anybody can write one."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from crossdock.api.pagination import cursor_of_row, opened, place_of_row
from crossdock.app.airflow import systems
from crossdock.core.errors import BadRequest


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "cipher", lambda: None)


@pytest.mark.parametrize("version", [0, -7, 2**63 - 1, -(2**63)])
def test_a_place_is_read_as_it_was_written(version: int) -> None:
    place = ("ü/c.1\t\n", version, "updated")

    assert place_of_row(cursor_of_row(place)) == place


@pytest.mark.parametrize(
    "place",
    [
        "",
        "updated",
        "updated.1",
        "updated.x.a",
        "updated.9223372036854775808.a",
        "updated.\u0661.a",
        "updated.1.a\x00",
        "updated.1.\ud800",
    ],
)
def test_a_forged_place_is_refused(place: str) -> None:
    cursor = urlsafe_b64encode(place.encode(errors="surrogatepass")).decode()

    with pytest.raises(BadRequest, match="not one of this list"):
        place_of_row(cursor)


def test_what_is_not_base64_is_refused() -> None:
    with pytest.raises(BadRequest, match="not one of this list"):
        opened("a")

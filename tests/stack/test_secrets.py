"""Secrets are made once, kept closed, and never shown by accident."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from crossdock.client.errors import StackError
from crossdock.stack.secrets import airflow_login, load_secrets, secrets_file


def test_secrets_stay_the_same() -> None:
    """With other passwords the databases of yesterday could not be opened."""
    assert load_secrets() == load_secrets()


def test_only_the_owner_can_read_the_file() -> None:
    load_secrets()

    assert secrets_file().stat().st_mode & 0o777 == 0o600


def test_no_two_secrets_are_alike() -> None:
    values = list(asdict(load_secrets()).values())

    assert len(set(values)) == len(values)
    assert all(len(value) >= 24 for value in values)


def test_the_fernet_key_is_one() -> None:
    assert len(base64.urlsafe_b64decode(load_secrets().fernet_key)) == 32


def test_printing_the_secrets_shows_none() -> None:
    """Tracebacks and debug lines print whole objects."""
    secrets = load_secrets()

    assert [value for value in asdict(secrets).values() if value in repr(secrets)] == []


def test_a_new_secret_leaves_the_old_ones_alone() -> None:
    """A newer version may need one more; the databases still know the old ones."""
    before = asdict(load_secrets())
    secrets_file().write_text(json.dumps({**before, "vera_password": None}))

    after = asdict(load_secrets())

    assert after.pop("vera_password") != before.pop("vera_password")
    assert after == before


def test_a_broken_file_is_not_replaced(stack_home: Path) -> None:
    """New secrets over a broken file would lock the databases for ever."""
    load_secrets()
    secrets_file().write_text("{")

    with pytest.raises(StackError, match=r"secrets\.json"):
        load_secrets()
    assert (stack_home / "secrets.json").read_text() == "{"


def test_the_login_is_that_of_airflow() -> None:
    assert airflow_login() == ("admin", load_secrets().admin_password)
    assert airflow_login("vera") == ("vera", load_secrets().vera_password)

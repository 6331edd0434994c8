"""The shop that the sandbox serves is chosen before anything can read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossdock.client.errors import AnotherShop, StackError
from crossdock.stack import lifecycle, processes, starts
from crossdock.stack.home import home, write_json


class Stopped(StackError):
    """Instead of a start, which takes a minute."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments with which the sandbox would have started, when all else begins."""
    seen: list[list[str]] = []
    monkeypatch.setattr(lifecycle, "_start_missing", lambda *_: seen.append(starts.sandbox_arguments()))
    monkeypatch.setattr(lifecycle, "_start_supervisors", lambda: None)
    return seen


def test_the_first_start_serves_the_chosen_shop_and_later_ones_too(started: list[list[str]]) -> None:
    """Schedules fire as soon as Airflow runs: what they read must be the shop that was asked for."""
    shop = lifecycle.shop_of(Path("year.parquet"))

    lifecycle.up(progress=print, shop=shop)
    lifecycle.up(progress=print)

    assert started == [shop, shop]
    assert shop[1] == str(Path.cwd() / "year.parquet")


def test_a_start_that_fails_leaves_the_shop_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no shop would keep every later start from working."""
    write_json(home() / starts.SANDBOX_ARGUMENTS, ["--dataset", "before"])

    def fail(*_: object) -> None:
        raise Stopped("as if the file were no shop")

    monkeypatch.setattr(lifecycle, "_start_missing", fail)

    with pytest.raises(Stopped):
        lifecycle.up(progress=print, shop=["--dataset", "broken"])

    assert starts.sandbox_arguments() == ["--dataset", "before"]


def test_a_running_sandbox_keeps_its_shop(started: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have read the old one."""
    processes.save_record("sandbox", os.getpid(), port=None, log=processes.log_of("sandbox"))
    monkeypatch.setattr(lifecycle, "_silent", lambda *_: set())

    with pytest.raises(AnotherShop, match=r"\./hub down"):
        lifecycle.up(progress=print, shop=["--dataset", "another"])

    assert started == []
    assert starts.sandbox_arguments() == []

"""A delivery worker takes new code of a subscriber within seconds, and goes on with the old one while the new one is broken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from crossdock.app.airflow import code_watch
from crossdock.app.airflow.code_watch import ended_by_new_code
from crossdock.core import loaded_code
from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, deliver
from tests.events.worlds import STEADY, ExternalSystem, eventually, publish, stock

QUICK_S = 0.02


class Files:
    """The files of the loaded code, as they are on disk."""

    def __init__(self) -> None:
        self.stamps: dict[Path, loaded_code.Stamp] = {Path("subscribers.py"): (1, 1, 1), Path("model.py"): (1, 1, 1)}
        self.not_loaded: dict[Path, loaded_code.Stamp] = {}
        self.loaded: list[str | None] = []

    def write(self, name: str) -> None:
        size = len(self.loaded) + 2
        self.stamps = self.stamps | {Path(name): (size, size, size)}

    def loads(self) -> str | None:
        """Load them: as the test says, else well."""
        self.loaded.append(self.refusal)
        return self.refusal

    refusal: str | None = None


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    made = Files()
    monkeypatch.setattr(loaded_code, "stamps", lambda: made.stamps)
    monkeypatch.setattr(loaded_code, "stamps_at_loading", lambda: made.stamps)
    monkeypatch.setattr(loaded_code, "stamps_on_disk", lambda: made.stamps | made.not_loaded)
    return made


def watching(
    files: Files, stop: Callable[[], object], worker_no: int = 0, apart_s: float = 0.0
) -> AbstractContextManager[None]:
    return ended_by_new_code(worker_no, stop, loads=files.loads, every_s=QUICK_S, apart_s=apart_s)


def test_new_code_ends_a_worker_well(files: Files, store: Store, hub_dsn: str) -> None:
    """Not after a quarter of an hour, in which every event fails as the old code has it."""
    system, stop, reports = ExternalSystem(), threading.Event(), []
    publish(store, stock("A", 1, 1))

    def work() -> None:
        with watching(files, stop.set):
            report = deliver(
                lambda: Store(hub_dsn),
                PartitionAssignment(partitions=2),
                lifetime=timedelta(minutes=15),
                subscribers=system.subscribers(),
                polling=STEADY,
                stop=stop,
            )
        reports.append(report)

    worker = threading.Thread(target=work)
    worker.start()
    eventually(lambda: system.delivered, [("A", 1)])
    files.write("subscribers.py")
    worker.join(30)

    assert not worker.is_alive()
    assert [report.events for report in reports] == [{"external": 1}]


def test_code_that_cannot_be_loaded_ends_no_worker_until_it_is_corrected(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a change would stop the delivery of all events."""
    stop = threading.Event()
    files.refusal = "SyntaxError: invalid syntax (subscribers.py, line 9)"

    with caplog.at_level(logging.ERROR), watching(files, stop.set):
        files.write("subscribers.py")
        eventually(lambda: len(files.loaded), 1)
        assert not stop.wait(10 * QUICK_S)
        assert len(files.loaded) == 1, "it is loaded once for each change"

        files.refusal = None
        files.write("subscribers.py")
        assert stop.wait(30)

    assert "subscribers.py: cannot be loaded: SyntaxError: invalid syntax (subscribers.py, line 9)" in caplog.text


def test_a_new_file_that_the_change_needs_is_a_correction(files: Files) -> None:
    """It is loaded by nobody yet, so that the stamps of the loaded files say nothing of it."""
    stop = threading.Event()
    files.refusal = "ModuleNotFoundError: No module named 'crossdock.prices'"

    with watching(files, stop.set):
        files.write("subscribers.py")
        eventually(lambda: len(files.loaded), 1)
        files.refusal, files.not_loaded = None, {Path("prices.py"): (9, 9, 9)}

        assert stop.wait(30)


def test_a_change_that_is_taken_back_ends_no_worker(files: Files) -> None:
    stop, before = threading.Event(), files.stamps
    files.refusal = "it is broken"

    with watching(files, stop.set):
        files.write("model.py")
        eventually(lambda: len(files.loaded), 1)
        files.refusal, files.stamps = None, before

        assert not stop.wait(10 * QUICK_S)


def test_two_workers_do_not_end_together(files: Files) -> None:
    """While one starts anew, its neighbour has its partitions."""
    first, second = threading.Event(), threading.Event()

    with watching(files, first.set, 0, 60.0), watching(files, second.set, 1, 60.0):
        files.write("model.py")

        assert first.wait(30)
        assert not second.wait(10 * QUICK_S)


def test_the_code_of_the_hub_can_be_loaded() -> None:
    """By the very question that a worker asks."""
    assert code_watch.loads() is None


def test_why_code_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_watch, "_ENTRIES", ("crossdock.app.airflow.delivery_dag", "crossdock.app.airflow.nowhere"))

    assert code_watch.loads() == "ModuleNotFoundError: No module named 'crossdock.app.airflow.nowhere'"

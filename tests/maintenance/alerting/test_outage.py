"""While the hub's database does not answer, one message an hour goes over the last resort, and one when it is back."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from crossdock.app.last_resort import last_resort, parsed
from crossdock.core.errors import BadRequest, SystemUnavailable
from crossdock.maintenance.alerting import outage
from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.outage import DatabaseWatch

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Watched:
    """A watch whose clock the test sets, and what came over its last resort."""

    def __init__(self, memory: Path | None = None) -> None:
        self.now_s = 1_000.0
        self.got: list[AlertMessage] = []
        self.is_down = False
        self.memory = memory
        self.watch = self._new_watch()

    def _new_watch(self) -> DatabaseWatch:
        return DatabaseWatch("the hub", self._take, memory=self.memory, clock=lambda: self.now_s)

    def restart(self) -> None:
        """The process ends, and another one begins."""
        self.watch = self._new_watch()

    def _take(self, message: AlertMessage) -> None:
        if self.is_down:
            raise SystemUnavailable("last_resort", f"https://{SECRET}@host answered HTTP 503")
        self.got.append(message)

    def after(self, seconds: float, *, answers: bool) -> list[str]:
        """Let time pass; return the occasions of all messages so far."""
        self.now_s += seconds
        if answers:
            self.watch.answered()
        self.watch.look()
        return [message.occasion.value for message in self.got]


def test_an_outage_is_told_once_an_hour_and_its_end_once() -> None:
    watched = Watched()

    assert watched.after(20, answers=False) == [], "a busy moment is no outage"
    assert watched.after(20, answers=False) == ["opened"]
    assert watched.after(3000, answers=False) == ["opened"]
    assert watched.after(700, answers=False) == ["opened", "continues"]
    assert watched.after(5, answers=True) == ["opened", "continues", "closed"]
    assert watched.after(9000, answers=True) == ["opened", "continues", "closed"]
    assert len({message.message_id for message in watched.got}) == 3
    assert len({message.thread_id for message in watched.got}) == 1
    assert watched.got[0].causes[0].kind == "hub_database_down"
    assert [bool(message.causes[0].next_step) for message in watched.got] == [True, True, False]
    assert [bool(message.causes[0].command) for message in watched.got] == [True, True, False]


def test_a_process_that_is_restarted_in_an_outage_tells_it_neither_anew_nor_forgets_its_end(tmp_path: Path) -> None:
    """A supervisor that starts it again each minute would wake a person each minute."""
    watched = Watched(tmp_path / "told")
    watched.after(40, answers=False)
    for _ in range(3):
        watched.restart()
        assert watched.after(0, answers=False) == ["opened"], "nobody has answered yet: it is not over"
        assert watched.after(60, answers=False) == ["opened"]
    assert watched.after(3600, answers=False) == ["opened", "continues"]
    watched.restart()
    assert watched.after(1, answers=True) == ["opened", "continues", "closed"]
    watched.restart()
    assert watched.after(100, answers=True) == ["opened", "continues", "closed"]
    assert len({message.causes[0].since for message in watched.got}) == 1


@pytest.mark.parametrize("text", ["", "{", '{"since": 1}'])
def test_a_memory_that_cannot_be_read_or_written_keeps_nothing_from_being_told(tmp_path: Path, text: str) -> None:
    broken, missing = tmp_path / "told", tmp_path / "no_folder" / "told"
    broken.write_text(text)
    for place in (broken, missing):
        watched = Watched(place)
        assert watched.after(40, answers=False) == ["opened"]
        assert watched.after(1, answers=True) == ["opened", "closed"]


def test_a_database_that_takes_no_writes_is_told_as_one_that_does_not_answer() -> None:
    """Its volume is full: it answers each question, and every webhook gets 503. No alert can be stored."""
    watched = Watched()

    for _ in range(4):
        watched.watch.refused("No space left on device")
        watched.after(15, answers=False)
    told = [message.title for message in watched.got]
    watched.after(5, answers=True)

    assert len(told) == 1
    assert "the hub's database takes no writes (No space left on device)" in told[0]
    assert watched.got[-1].occasion.value == "closed"


def test_a_last_resort_that_fails_is_tried_again_with_the_same_message() -> None:
    watched = Watched()
    watched.is_down = True
    watched.after(40, answers=False)
    watched.is_down = False

    assert watched.after(10, answers=False) == [], "not at once"
    assert watched.after(10, answers=False) == ["opened"]
    watched.is_down = True
    watched.after(1, answers=True)
    watched.is_down = False
    assert watched.after(20, answers=True) == ["opened", "closed"]


def test_nobody_is_told_of_the_end_of_what_nobody_was_told_of() -> None:
    watched = Watched()
    watched.is_down = True
    watched.after(40, answers=False)
    watched.is_down = False

    assert watched.after(20, answers=True) == []


def test_a_machine_whose_time_is_set_has_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It woke up, or its clock was wrong. Set back, it must not hide an outage of the next hour."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=1)

    got: list[AlertMessage] = []
    watch = DatabaseWatch("the hub", got.append)
    watch.answered()
    monkeypatch.setattr(outage, "datetime", Ahead)
    watch.look()

    assert got == []


def test_a_message_tells_since_when_the_database_does_not_answer() -> None:
    began, watched = datetime.now(UTC), Watched()
    watched.after(40, answers=False)

    cause = watched.got[0].causes[0]
    assert began <= cause.since + timedelta(seconds=40) <= datetime.now(UTC)


def test_the_log_tells_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched = Watched()
    watched.is_down = True
    watched.after(40, answers=False)

    assert re.search("has not answered since [0-9:]{8} UTC", caplog.text)
    assert "SystemUnavailable" in caplog.text
    assert SECRET not in caplog.text


def test_without_a_last_resort_the_log_tells(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [0.0]
    watch = DatabaseWatch("the hub", last_resort(""), clock=lambda: now_s[0])
    now_s[0] += 60
    watch.look()

    assert "has not answered" in caplog.text


def test_the_setting_is_read_as_a_webhook_or_a_mail_server() -> None:
    webhook, nobody = parsed(f"https://{SECRET}@alerts.example.com:8443/in?team=1")
    mail, recipients = parsed("smtps://ops:p%40ss@mail.example.com:465?to=ada@shop.example&to=bob@shop.example")

    assert (webhook.conn_type, webhook.host, webhook.password, webhook.login, nobody) == (
        "signed_webhook",
        "https://alerts.example.com:8443/in?team=1",
        SECRET,
        None,
        [],
    )
    assert (mail.conn_type, mail.host, mail.login, mail.password) == (
        "smtp_relay",
        "smtps://mail.example.com:465",
        "ops",
        "p@ss",
    )
    assert recipients == ["ada@shop.example", "bob@shop.example"]


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{SECRET}@host",
        f"https://{SECRET}@host:port/",
        SECRET,
        f"https:///{SECRET}",
        f"https://whsec_ab/{SECRET}@host/",
        f"https://host/{SECRET}",
    ],
)
def test_a_wrong_setting_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadRequest) as error:
        last_resort(url)

    assert SECRET not in str(error.value)
    assert "HUB_ALERT_LAST_RESORT" in str(error.value)

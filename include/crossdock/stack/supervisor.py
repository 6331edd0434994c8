"""
Replaces the processes of the stack that have ended or are silent: `python -m crossdock.stack.supervisor ROLE`.

There are two of it. The supervisor watches the whole stack and the guard; the guard watches the supervisor. So either may
be killed or frozen. `up` starts both when all else is healthy, `down` ends them first.

What needs a database that does not answer is not replaced before that answers again: it would only end again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crossdock.core.log import logger
from crossdock.observability import restarts
from crossdock.stack import heartbeats, ports, processes, starts, turns
from crossdock.stack.conditions import (
    LOOK_EVERY_S,
    OVERLOAD,
    SILENT_LOOKS,
    START_S,
    Condition,
    Look,
    Sign,
    Watched,
    after_look,
    condition_of,
    started_anew,
    wait_s,
    what_is_wrong,
)
from crossdock.stack.heartbeats import Asker, Heartbeats, Question
from crossdock.stack.home import home, read_json, write_json
from crossdock.stack.mail_systems import PORTS as MAIL_PORTS
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets, load_secrets

log = logger("crossdock.stack.supervisor")

#: A longer pause between two looks says that the supervisor itself was away.
_SLEPT_AFTER_LOOKS = 3
#: Processes → the databases without which they end, or can give no sign of life.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("postgres-metadata", "postgres-hub"),
    "scheduler": ("postgres-metadata",),
    "dag-processor": ("postgres-metadata",),
    "triggerer": ("postgres-metadata",),
    "alert-sender": ("postgres-hub",),
}


@dataclass(frozen=True)
class Duties:
    """What a supervisor watches, and how."""

    #: In the order in which they are started; what others need comes first.
    names: Sequence[str]
    #: What gives signs of life, each with the database that has to answer before it is asked; None where it needs none.
    questions: Sequence[tuple[str | None, Question]]
    start: Callable[[str], None]
    #: Ends a process with its descendants, and keeps its record.
    end: Callable[[str], None]
    needs: Mapping[str, Sequence[str]]
    #: Whether what others need is ready for them, beyond being alive.
    is_ready: Callable[[str], bool] = lambda _: True


class Supervisor:
    """One of the two. A round of it looks at everything, and replaces what is wrong."""

    def __init__(
        self,
        role: str,
        duties: Duties,
        *,
        clock: Callable[[], float] = time.monotonic,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._role, self._duties, self._clock, self._look_every_s = role, duties, clock, look_every_s
        self._asker = Asker()
        self._watched: dict[str, Watched] = {}
        #: As of the last look; None where a command has deleted it.
        self._records: dict[str, ProcessRecord | None] = {}
        self._restarted: dict[str, list[float]] = {}
        self._looked_at: float | None = None
        self._reported: Mapping[str, tuple[str, str | None]] = {}

    def run(self, over: threading.Event) -> None:
        """Do a round at each time to look, until it is *over*, the stack is stopping, or another has this role."""
        rounds = 0
        while not over.is_set() and not turns.is_stopping() and (rounds < _SLEPT_AFTER_LOOKS or self._has_role()):
            began = self._clock()
            try:
                self.round()
            except Exception:  # A full disk, a file that is gone: the next round may do better.
                log.exception("This look at the stack failed")
            rounds += 1
            over.wait(max(self._look_every_s / 10, self._look_every_s - (self._clock() - began)))

    def round(self) -> None:
        """Look once, and replace what is wrong."""
        give_sign(self._role)
        self.look()
        self._report()
        self.repair()

    def conditions(self) -> dict[str, Condition]:
        """Judge each process by the looks so far."""
        return {name: condition_of(name, watched) for name, watched in self._watched.items()}

    def watched(self) -> Mapping[str, Watched]:
        """Read what is known of each process by the looks so far."""
        return self._watched

    def look(self) -> None:
        """Look at each process once."""
        now = self._clock()
        slept = self._looked_at is not None and now - self._looked_at > _SLEPT_AFTER_LOOKS * self._look_every_s
        self._looked_at = now
        records = processes.records()
        # Before the questions: then what one that has ended has left behind is known, and no sign of its successor.
        living = {name for name, record in records.items() if processes.is_ours(record)}
        needed = {need for needs in self._duties.needs.values() for need in needs}
        first = [name for name in self._duties.names if name in needed]
        signs = self._ask(lambda database: database is None)
        for name in first:
            self._note(name, records.get(name), living, signs, slept=slept)
        signs |= self._ask(lambda database: database is not None and self._can_serve(database))
        for name in self._duties.names:
            if name not in first:
                self._note(name, records.get(name), living, signs, slept=slept)

    def repair(self) -> None:
        """Replace what is wrong, unless a command has its turn now: then that knows what it does."""
        wrong = [name for name, condition in self.conditions().items() if self._is_due(name, condition)]
        if not wrong:
            return
        for name in wrong:
            # Its partner may be frozen in the middle of its turn.
            if name in starts.SUPERVISORS and self._watched[name].is_silent:
                self._duties.end(name)
        with turns.if_free() as has_turn:
            if not has_turn:
                log.info("%s: to be replaced after the command that is at work", ", ".join(wrong))
                return
            now = processes.records()
            for name in wrong:
                if turns.is_stopping():
                    return
                if now.get(name) == self._records.get(name):
                    # Each may take many seconds: the partner must not take that for silence.
                    give_sign(self._role)
                    self._replace(name)

    def close(self) -> None:
        self._asker.close()

    def _ask(self, is_asked: Callable[[str | None], bool]) -> dict[str, Sign]:
        chosen = {str(index): ask for index, (database, ask) in enumerate(self._duties.questions) if is_asked(database)}
        return self._asker.ask(chosen)

    def _note(
        self, name: str, record: ProcessRecord | None, living: set[str], signs: Mapping[str, Sign], *, slept: bool
    ) -> None:
        before = self._watched.get(name)
        if before is None:
            before = Watched(has_started=record is not None and processes.age_s(record) > START_S)
        elif record is not None and record != self._records.get(name):
            before = started_anew(before)
        self._records[name] = record
        sign = signs.get(name)
        is_new = sign is not None and sign.text != before.sign
        away = next((need for need in self._duties.needs.get(name, ()) if not self._can_serve(need)), None)
        look = Look(name in living, sign, None if is_new and name in living else away, is_overloaded=is_overloaded())
        self._watched[name] = after_look(before, look, slept=slept)

    def _can_serve(self, name: str) -> bool:
        watched = self._watched.get(name)
        return watched is not None and watched.is_well and self._duties.is_ready(name)

    def _is_due(self, name: str, condition: Condition) -> bool:
        if condition.state not in {"ended", "silent"} or condition.waits_for is not None:
            return False
        return wait_s(self._restarted.get(name, ()), self._clock()) == 0.0

    def _replace(self, name: str) -> None:
        why = what_is_wrong(condition_of(name, self._watched[name])) or "ended"
        log.warning("%s %s: starting it anew", name, why)
        self._restarted[name] = [*self._restarted.get(name, []), self._clock()][-restarts.KEPT :]
        try:
            self._duties.end(name)
            self._duties.start(name)
        except Exception:  # E.g. its program is gone: the others are replaced nevertheless, and this one later.
            log.exception("%s could not be started", name)
        note_restart(name, why)

    def _report(self) -> None:
        """Tell `status` and `doctor`, and the log, what has changed."""
        now: dict[str, tuple[str, str | None]] = {
            name: (each.state, each.waits_for) for name, each in self.conditions().items()
        }
        if now == self._reported:
            return
        for name, condition in self.conditions().items():
            if now[name] != self._reported.get(name, ("running", None)):
                log.info("%s %s", name, what_is_wrong(condition) or "is well")
        self._reported = now
        write_json(
            starts.conditions_file(self._role),
            {
                name: {"state": each.state, "looks": each.looks, "waits_for": each.waits_for}
                for name, each in self.conditions().items()
            },
        )

    def _has_role(self) -> bool:
        record = processes.records().get(self._role)
        return record is not None and record.pid == os.getpid()


def duties_of(role: str, secrets: Secrets) -> Duties:
    """Say what the supervisor and the guard each do."""
    watched = {starts.SUPERVISOR: [*starts.NAMES, starts.GUARD], starts.GUARD: [starts.SUPERVISOR]}[role]
    return _duties(watched, secrets)


def duties_of_both(secrets: Secrets) -> Duties:
    """Say what `up` looks at."""
    return _duties([*starts.NAMES, *starts.SUPERVISORS], secrets)


def _duties(names: Sequence[str], secrets: Secrets) -> Duties:
    def start(name: str) -> None:
        starts.start(name, ports.saved(), secrets)

    def end(name: str) -> None:
        starts.end(name, ports.saved(), secrets)

    watches_stack = set(names) >= set(starts.NAMES)
    # Once: to find where a server's data are takes processes of their own.
    servers = starts.servers(ports.saved(), secrets) if watches_stack else {}

    def is_ready(name: str) -> bool:
        return servers[name].is_ready()

    signs: list[tuple[str | None, Question]] = [(None, sign_of(role)) for role in starts.SUPERVISORS if role in names]
    questions = [*signs, *(questions_of(ports.saved(), secrets) if watches_stack else ())]
    return Duties(names, questions, start, end, NEEDS if watches_stack else {}, is_ready)


def questions_of(numbers: Mapping[str, int], secrets: Secrets) -> list[tuple[str | None, Question]]:
    """List what has to be asked for the signs of life of the whole stack; see `Duties`."""

    def answer(name: str, ask: Callable[[], Sign | None]) -> Question:
        return lambda: {name: sign} if (sign := ask()) else {}

    def web(name: str, server: str, path: str) -> tuple[None, Question]:
        return None, answer(name, lambda: heartbeats.ask_web_server(numbers[server], path))

    def postgres(name: str, server: str) -> tuple[None, Question]:
        return None, answer(name, lambda: heartbeats.ask_postgres(numbers[server]))

    return [
        postgres("postgres-metadata", "metadata"),
        postgres("postgres-hub", "hub-db"),
        web("sandbox", "sandbox", "/_sandbox"),
        *(web(name, servers[0], "/_sandbox") for name, servers in MAIL_PORTS.items()),
        web("api-server", "airflow", "/api/v2/version"),
        ("postgres-metadata", Heartbeats(starts.metadata_dsn(numbers, secrets)).of_jobs),
        ("postgres-hub", Heartbeats(starts.hub_dsn(numbers, secrets)).of_alert_sender),
    ]


def is_overloaded() -> bool:
    """Whether the machine has had more than `OVERLOAD` times the work that it can do, in the last minute."""
    return os.getloadavg()[0] > OVERLOAD * (os.cpu_count() or 1)


def give_sign(role: str) -> None:
    """Show the partner that this supervisor is at work."""
    with suppress(OSError):
        _sign_file(role).touch(mode=0o600)


def sign_of(role: str) -> Question:
    """Build what reads the sign of the supervisor of *role*."""

    def read() -> Mapping[str, Sign]:
        with suppress(OSError):
            given_at = _sign_file(role).stat().st_mtime
            return {role: Sign(str(given_at), is_fresh=abs(time.time() - given_at) < SILENT_LOOKS * LOOK_EVERY_S)}
        return {}

    return read


def note_restart(name: str, why: str) -> None:
    """Add a restart to those that `status` shows and alarms count."""
    file = restarts.file_in(home())
    known = restarts.read(file)
    known[name] = known.get(name, restarts.Restarts()).with_one(restarts.Restart(datetime.now(UTC), why))
    with suppress(OSError):
        write_json(file, restarts.as_json(known))


def reported_conditions() -> dict[str, Condition]:
    """Read what the living supervisors have found, by process; empty where none lives."""
    living = processes.alive()
    found: dict[str, Condition] = {}
    for role in starts.SUPERVISORS:
        if role in living:
            for name, each in (read_json(starts.conditions_file(role)) or {}).items():
                found[name] = Condition(name, each["state"], each["looks"], each["waits_for"])
    return found


def _sign_file(role: str) -> Path:
    return home() / f"{role}.alive"


def main(role: str) -> None:
    """Watch until SIGTERM, or until the stack stops."""
    # Otherwise what it starts without a mark of its own would count as part of it.
    os.environ.pop(processes.MARKER, None)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    log.info("The %s is at work", role)
    supervisor = Supervisor(role, duties_of(role, load_secrets()))
    supervisor.run(over)
    log.info("The %s ends", role)
    supervisor.close()
    # A question to a frozen server would be waited for.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    main(sys.argv[1])

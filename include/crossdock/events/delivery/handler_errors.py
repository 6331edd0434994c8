"""
Say where a subscriber's own code failed, for a dead letter and for the log of the worker.

The message of an error that is not ours may quote a row's values, and reasons are in alerts and lists that everybody may read.
So it is kept nowhere. What is kept is code: the kind of the error, the file, the line, and a name that the line itself has.
"""

from __future__ import annotations

import linecache
import sysconfig
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import crossdock
from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.events.model import Event

log = logger(__name__)

_PACKAGE = Path(crossdock.__file__).parent
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
#: One mistake fails a thousand events alike: the same place is logged again after so long.
_AGAIN_AFTER_S = 60.0


class WithoutMessage(Exception):
    """Stands for an error whose message may quote a record's values. It has the same traceback."""


def place_of(error: BaseException) -> str:
    """Name the kind of *error*, what its line misses, its function, file and line."""
    kind = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return f"{kind}, no traceback"
    frame = next((frame for frame in reversed(frames) if _is_own(frame.filename)), frames[-1])
    missing = _missing(error, frame)
    what = f"{kind} {missing}" if missing else kind
    return f"{what} in {frame.name} ({_short(frame.filename)}, line {frame.lineno})"


def _missing(error: BaseException, frame: traceback.FrameSummary) -> str | None:
    """Find the key or name that is missing, if the line of *frame* has it: then it is code, and no value of a record."""
    name: object = None
    with suppress(Exception):  # A subscriber's class may compute it, and fail.
        name = error.args[0] if isinstance(error, KeyError) and error.args else getattr(error, "name", None)
    if not isinstance(name, str) or not name:
        return None
    first, last = frame.lineno or 0, frame.end_lineno or frame.lineno or 0
    source = "".join(linecache.getline(frame.filename, number) for number in range(first, last + 1))
    is_code = f"'{name}'" in source or f'"{name}"' in source or (name.isidentifier() and f".{name}" in source)
    return f"'{name}'" if is_code else None


def _is_own(file: str) -> bool:
    return Path(file).is_relative_to(_PACKAGE) or not file.startswith((*_LIBRARIES, "<frozen"))


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(_PACKAGE.parent)) if path.is_relative_to(_PACKAGE) else path.name


class TracebackLog:
    """Logs the traceback of a failure, once a minute for each place."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def add(self, subscriber: str, event: Event, error: BaseException) -> None:
        """
        Log the traceback of *error*, unless it is one of ours, whose message says all, or was logged a moment ago.

        It never raises: an error here would keep the failure from being recorded, and block the partition.
        """
        if isinstance(error, HubError):
            return
        try:
            self._add(subscriber, event, error)
        except Exception as failure:  # noqa: BLE001  the error is whatever a subscriber has made
            found = (subscriber, event.id, type(error).__name__, type(failure).__name__)
            # Its own traceback may quote the message that is kept nowhere.
            log.error("%s could not process event %s: %s. Its traceback cannot be logged: %s", *found)  # noqa: TRY400

    def _add(self, subscriber: str, event: Event, error: BaseException) -> None:
        place = place_of(error)
        with self._lock:
            now = time.monotonic()
            if now - self._logged.get((subscriber, place), float("-inf")) < _AGAIN_AFTER_S:
                return
            self._logged[subscriber, place] = now
        log.error(
            "%s could not process event %s (%s): %s. Logged once in %.0f s for all events that fail there",
            subscriber,
            event.id,
            event.type,
            place,
            _AGAIN_AFTER_S,
            exc_info=_without_message(error, place),
        )


def _without_message(error: BaseException, place: str) -> BaseException:
    """Build an error with the traceback of *error* and of those that caused it, and with the message of none."""
    shown = last = _stand_in(error, place)
    # An error can be its own cause, directly or through others.
    seen = {id(error)}
    while (cause := _cause(error)) is not None and id(cause) not in seen:
        seen.add(id(cause))
        last.__cause__ = following = _stand_in(cause, place_of(cause))
        last, error = following, cause
    return shown


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _stand_in(error: BaseException, place: str) -> BaseException:
    shown = WithoutMessage(f"{place}; its message may quote a record, and is kept nowhere")
    return shown.with_traceback(error.__traceback__)


#: Of this process.
tracebacks = TracebackLog()

"""
Faults by script: each route has a list of entries, and each request takes the next one.

`["ok", {"status": 429, "retry_after": 2}, {"truncate": 0.6}]` answers one request normally, refuses the next and cuts
the body of the third. After the last entry all requests are answered normally again; with `repeat` the last entry
stays. This module reads and checks scripts. `response_faults.py`, `transport.py` and the system itself apply them.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Checks the value of a fault: None if it is right, else what was expected.
Check = Callable[[Any], str | None]

#: The route whose script is for all routes that have none of their own.
ANY_ROUTE = "*"


class FaultRefusedError(ValueError):
    """The script has an entry that is not a fault; the message names it and the known ones."""


@dataclass(frozen=True)
class Fault:
    """One entry of a script."""

    kind: str = "ok"
    value: Any = True
    #: How long to wait before anything else happens.
    latency_ms: float = 0
    #: Seconds, or "date:+2" for an HTTP date that many seconds from now; goes with `status`.
    retry_after: float | str | None = None
    #: How long a `timeout` holds a client that does not disconnect.
    hold_s: float = 60
    #: The entry as it was written, for the log; None for plain "ok".
    entry: Any = None

    @property
    def slow(self) -> bool:
        """True if sending the response takes long on purpose."""
        return self.kind in ("drip", "drip_headers")


OK = Fault()


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_share(value: Any) -> str | None:
    return None if is_number(value) and 0 <= value <= 1 else "a number from 0 to 1"


def check_true(value: Any) -> str | None:
    return None if value is True else "true"


def _check_positive(value: Any) -> str | None:
    return None if is_number(value) and value > 0 else "a number above 0"


def _check_status(value: Any) -> str | None:
    return None if isinstance(value, int) and 400 <= value <= 599 else "a status from 400 to 599"  # noqa: PLR2004


def _check_text(value: Any) -> str | None:
    return None if isinstance(value, str) else "text"


def _check_moment(value: Any) -> str | None:
    return None if value in ("before", "after") else '"before" or "after"'


def _check_reset(value: Any) -> str | None:
    return None if value is True or value in ("before", "after") else 'true, "before" or "after"'


def _check_delay(value: Any) -> str | None:
    return None if is_number(value) and value >= 0 else "a number of at least 0"


def _check_retry_after(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith("date:"):
        try:
            float(value.removeprefix("date:"))
        except ValueError:
            return 'seconds, or "date:+2"'
        return None
    return None if is_number(value) else 'seconds, or "date:+2"'


def _check_huge(value: Any) -> str | None:
    return None if value is True or is_number(value) else "true, or the number itself"


#: What every system can do wrong. A system adds kinds of its own (`SimulatedSystem.fault_kinds`).
_KINDS: dict[str, Check] = {
    "ok": check_true,
    "status": _check_status,
    "timeout": _check_moment,
    "truncate": check_share,
    "truncate_json": check_share,
    "not_json": _check_text,
    "wrong_type": check_true,
    "drip": _check_positive,
    "drip_headers": _check_positive,
    "nan": check_true,
    "huge_number": _check_huge,
    "reset": _check_reset,
    "bad_gateway": _check_moment,
    "redirect": _check_text,
    "gzip_bomb_mb": _check_positive,
}
_MODIFIERS: dict[str, Check] = {
    "latency_ms": _check_delay,
    "retry_after": _check_retry_after,
    "hold_s": _check_delay,
}


@dataclass
class Script:
    remaining: deque[Fault]
    repeat: bool = False

    def take(self) -> Fault:
        """Take the next fault; a repeated script keeps its last one."""
        if not self.remaining:
            return OK
        if self.repeat and len(self.remaining) == 1:
            return self.remaining[0]
        return self.remaining.popleft()


@dataclass
class Faults:
    """The scripts that are running, by route. Thread-safe."""

    #: The routes that scripts can be put on.
    routes: tuple[str, ...] = (ANY_ROUTE,)
    #: The kinds that the system adds, each with the check of its value.
    kinds: Mapping[str, Check] = field(default_factory=dict)
    _scripts: dict[str, Script] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, route: str, script: list[Any], *, repeat: bool = False) -> None:
        """
        Run *script* on *route* from its next request on; it replaces the script that runs there.

        Raises:
            FaultRefusedError: the route or an entry is unknown; nothing was changed.

        """
        if route not in self.routes:
            raise FaultRefusedError(f"Unknown route {route!r}. Known routes: {', '.join(self.routes)}.")
        faults = deque(self.read(entry) for entry in script)
        with self._lock:
            self._scripts[route] = Script(faults, repeat)

    def put_document(self, document: Mapping[str, Any]) -> None:
        """
        Run the script in `{"route": …, "script": […], "repeat": …}`.

        Raises:
            FaultRefusedError: the document is not valid; nothing was changed.

        """
        unknown = sorted(document.keys() - {"route", "script", "repeat"})
        if unknown:
            raise FaultRefusedError(f"Unknown key {unknown[0]!r}. Known keys: route, script, repeat.")
        script, repeat = document.get("script"), document.get("repeat", False)
        if not isinstance(script, list) or not isinstance(repeat, bool):
            raise FaultRefusedError("'script' must be a list, and 'repeat' true or false.")
        self.put(str(document.get("route")), script, repeat=repeat)

    def clear(self, route: str | None = None) -> None:
        """End the script of *route*, or all scripts."""
        with self._lock:
            if route is None:
                self._scripts.clear()
            self._scripts.pop(str(route), None)

    def take(self, route: str) -> Fault:
        """Take the fault for the next request on *route*, from its own script or else from that of "*"."""
        with self._lock:
            for name in (route, ANY_ROUTE):
                script = self._scripts.get(name)
                if script is not None and script.remaining:
                    return script.take()
            return OK

    def as_document(self) -> dict[str, Any]:
        """List the entries still to come, by route."""
        with self._lock:
            return {
                route: {"script": [fault.entry or "ok" for fault in script.remaining], "repeat": script.repeat}
                for route, script in self._scripts.items()
                if script.remaining
            }

    def read(self, entry: Any) -> Fault:
        """
        Read one entry of a script.

        Raises:
            FaultRefusedError: it does not describe a fault.

        """
        if entry == "ok":
            return OK
        if not isinstance(entry, dict) or not entry:
            raise FaultRefusedError(f'{entry!r} is not a fault. Use "ok" or an object with one of {self._known()}.')
        for name, value in entry.items():
            expected = self._check_of(name)(value)
            if expected:
                raise FaultRefusedError(f"The fault {name!r} takes {expected}, not {value!r}.")
        kinds = [name for name in entry if name not in _MODIFIERS]
        if len(kinds) > 1:
            raise FaultRefusedError(f"An entry does one thing; {' and '.join(map(repr, kinds))} are two.")
        kind = kinds[0] if kinds else "ok"
        modifiers = {name: entry[name] for name in entry if name in _MODIFIERS}
        return Fault(kind, entry.get(kind, True), entry=entry, **modifiers)

    def _check_of(self, name: str) -> Check:
        check = _KINDS.get(name) or self.kinds.get(name) or _MODIFIERS.get(name)
        if check is None:
            raise FaultRefusedError(f"Unknown fault {name!r}. Known faults: {self._known()}.")
        return check

    def _known(self) -> str:
        return ", ".join((*_KINDS, *self.kinds)) + "; combined with: " + ", ".join(_MODIFIERS)

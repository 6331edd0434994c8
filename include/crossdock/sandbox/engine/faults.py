"""
Faults by script: for each route a list, of which every request takes the next entry.

`["ok", {"status": 429, "retry_after": 2}, {"truncate": 0.6}]` lets one request pass, refuses the next and cuts
the body of the third; after the last entry everything passes again, or with `repeat` the last one stays.
Here is what a script may say; `tamper.py` and `wire.py` do it.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ROUTES = ("oauth", "inventory", "product-projections", "products", "orders", "customers", "*")


#: What `life.live` counts.
LIFE = ("stock_moves", "price_changes", "new_orders", "order_changes")


class FaultRefusedError(ValueError):
    """The script says something that is no fault; the message names it and what is known."""


@dataclass(frozen=True)
class Fault:
    """One entry of a script."""

    kind: str = "ok"
    value: Any = True
    #: Waited before anything else happens.
    latency_ms: float = 0
    #: Seconds, or "date:+2" for an HTTP date that many seconds from now; goes with `status`.
    retry_after: float | str | None = None
    #: How long a `timeout` holds a client that does not leave.
    hold_s: float = 60
    #: The entry as it was written, for the log; None for plain "ok".
    told: Any = None

    @property
    def slow(self) -> bool:
        """Whether sending the answer takes long on purpose."""
        return self.kind in ("drip", "drip_headers")


OK = Fault()


def _is_share(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value <= 1 else "a number from 0 to 1"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value: Any) -> str | None:
    return None if _is_number(value) and value > 0 else "a number above 0"


def _is_status(value: Any) -> str | None:
    return None if isinstance(value, int) and 400 <= value <= 599 else "a status from 400 to 599"  # noqa: PLR2004


def _is_true(value: Any) -> str | None:
    return None if value is True else "true"


def _is_text(value: Any) -> str | None:
    return None if isinstance(value, str) else "text"


def _is_moment(value: Any) -> str | None:
    return None if value in ("before", "after") else '"before" or "after"'


def _is_delay(value: Any) -> str | None:
    return None if _is_number(value) and value >= 0 else "a number of at least 0"


def _is_pause(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith("date:"):
        try:
            float(value.removeprefix("date:"))
        except ValueError:
            return 'seconds, or "date:+2"'
        return None
    return None if _is_number(value) else 'seconds, or "date:+2"'


def _is_life(value: Any) -> str | None:
    counts = {name: value[name] for name in value if name != "only_good"} if isinstance(value, dict) else {"": None}
    right = counts.keys() <= set(LIFE) and all(type(count) is int and count >= 0 for count in counts.values())
    return None if right else f"an object of whole numbers: {', '.join(LIFE)}"


def _is_lateness(value: Any) -> str | None:
    right = isinstance(value, dict) and value.keys() == {"seconds"} and _is_number(value["seconds"])
    return None if right else '{"seconds": 120}'


def _is_huge(value: Any) -> str | None:
    return None if value is True or _is_number(value) else "true, or the number itself"


_KINDS: dict[str, Callable[[Any], str | None]] = {
    "ok": _is_true,
    "status": _is_status,
    "timeout": _is_moment,
    "truncate": _is_share,
    "truncate_json": _is_share,
    "not_json": _is_text,
    "wrong_type": _is_true,
    "drip": _is_positive,
    "drip_headers": _is_positive,
    "duplicate_page": _is_true,
    "empty": _is_true,
    "shrink": _is_share,
    "mutate_during": _is_life,
    "late_update": _is_lateness,
    "nan": _is_true,
    "huge_number": _is_huge,
    "reset": _is_true,
    "redirect": _is_text,
    "gzip_bomb_mb": _is_positive,
}
_MODIFIERS: dict[str, Callable[[Any], str | None]] = {
    "latency_ms": _is_delay,
    "retry_after": _is_pause,
    "hold_s": _is_delay,
}


def fault_of(told: Any) -> Fault:
    """
    The fault that one entry of a script describes.

    Raises:
        FaultRefusedError: it describes none.

    """
    if told == "ok":
        return OK
    if not isinstance(told, dict) or not told:
        raise FaultRefusedError(f'{told!r} is no fault: expected "ok" or an object with one of {_known()}.')
    for name, value in told.items():
        expected = _check(name)(value)
        if expected:
            raise FaultRefusedError(f"The fault {name!r} takes {expected}, not {value!r}.")
    kinds = [name for name in told if name in _KINDS]
    if len(kinds) > 1:
        raise FaultRefusedError(f"One entry does one thing; {' and '.join(map(repr, kinds))} are two.")
    kind = kinds[0] if kinds else "ok"
    modifiers = {name: told[name] for name in told if name in _MODIFIERS}
    return Fault(kind, told.get(kind, True), told=told, **modifiers)


def _check(name: str) -> Callable[[Any], str | None]:
    check = _KINDS.get(name) or _MODIFIERS.get(name)
    if check is None:
        raise FaultRefusedError(f"There is no fault {name!r}; the known ones are {_known()}.")
    return check


def _known() -> str:
    return ", ".join(_KINDS) + "; to go with them: " + ", ".join(_MODIFIERS)


@dataclass
class Script:
    rest: deque[Fault]
    repeat: bool = False

    def take(self) -> Fault:
        if not self.rest:
            return OK
        if self.repeat and len(self.rest) == 1:
            return self.rest[0]
        return self.rest.popleft()


@dataclass
class Faults:
    """The scripts that are running, by route. Safe for threads."""

    _scripts: dict[str, Script] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, route: str, script: list[Any], *, repeat: bool = False) -> None:
        """
        Runs *script* on *route* from its next request on, in place of any that runs there.

        Raises:
            FaultRefusedError: nothing has changed.

        """
        if route not in ROUTES:
            raise FaultRefusedError(f"There is no route {route!r}; the known ones are {', '.join(ROUTES)}.")
        faults = deque(fault_of(told) for told in script)
        with self._lock:
            self._scripts[route] = Script(faults, repeat)

    def put_document(self, document: Mapping[str, Any]) -> None:
        """
        The same, from `{"route": …, "script": […], "repeat": …}`.

        Raises:
            FaultRefusedError: nothing has changed.

        """
        unknown = sorted(document.keys() - {"route", "script", "repeat"})
        if unknown:
            raise FaultRefusedError(f"There is no key {unknown[0]!r}; the known ones are route, script, repeat.")
        script, repeat = document.get("script"), document.get("repeat", False)
        if not isinstance(script, list) or not isinstance(repeat, bool):
            raise FaultRefusedError("'script' takes a list, and 'repeat' true or false.")
        self.put(str(document.get("route")), script, repeat=repeat)

    def clear(self, route: str | None = None) -> None:
        """Ends the script of *route*, or all."""
        with self._lock:
            if route is None:
                self._scripts.clear()
            self._scripts.pop(str(route), None)

    def take(self, route: str) -> Fault:
        """What the next request on *route* meets: by its own script, or else by that of "*"."""
        with self._lock:
            for name in (route, "*"):
                script = self._scripts.get(name)
                if script is not None and script.rest:
                    return script.take()
            return OK

    def as_document(self) -> dict[str, Any]:
        """What is still to come, by route."""
        with self._lock:
            return {
                route: {"script": [fault.told or "ok" for fault in script.rest], "repeat": script.repeat}
                for route, script in self._scripts.items()
                if script.rest
            }

"""The faults that only this platform can apply."""

from typing import Any

from crossdock.sandbox.engine.faults import Check


def _check_status(value: Any) -> str | None:
    return None if value in (409, 422) else "409 or 422"


#: `at_work`: the request has its effect, but its answer says that one with the key is still at work.
FAULT_KINDS: dict[str, Check] = {"at_work": _check_status}

"""
Idempotency keys as the vendor's version 1 API treats them.

The first answer that came of processing is kept with its key for a day, refusals and errors of the server included, and
comes again for the same request. A request that was refused before it was processed keeps nothing.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from crossdock.sandbox.engine.messages import Response, problem_response
from crossdock.sandbox.stripe.problems import StripeProblem

_REPLAYED = "Idempotent-Replayed"


@dataclass
class _Kept:
    #: What identifies the request: its path and its parameters.
    request: Any
    #: None while the first request is at work.
    response: Response | None = None


class IdempotencyKeys:
    """The keys that the vendor remembers."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def forget(self) -> int:
        """Forget all keys, as the vendor does after a day; return how many there were."""
        with self._lock:
            count = len(self._kept)
            self._kept.clear()
            return count

    def answer(self, key: str | None, request: Any, process: Callable[[], Response]) -> Response:
        """
        Answer a request that writes: from its key, or by *process*.

        Raises:
            StripeProblem: the key is at work, or belongs to another request.

        """
        if key is None:
            return _answered(process)[0]
        if found := self._claim(key, request):
            return found
        response, is_kept = _answered(process)
        with self._lock:
            if is_kept:
                self._kept[key].response = response
            else:
                del self._kept[key]
        return response

    def _claim(self, key: str, request: Any) -> Response | None:
        """Take the key; return its answer if it has one."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                self._kept[key] = _Kept(request)
                return None
        if kept.request != request:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            raise StripeProblem(400, "idempotency_error", message)
        if kept.response is None:
            message = "There is currently another in-progress request using this Idempotency-Key."
            raise StripeProblem(409, "idempotency_error", message, code="idempotency_key_in_use")
        return replace(kept.response, headers={**kept.response.headers, _REPLAYED: "true"})


def _answered(process: Callable[[], Response]) -> tuple[Response, bool]:
    try:
        return process(), True
    except StripeProblem as problem:
        return problem_response(problem), problem.kept

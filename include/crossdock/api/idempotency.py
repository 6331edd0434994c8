"""
POST requests with an effect carry an Idempotency-Key, and have one effect however often they are sent.

Routes take `OneEffect` and hand it what they do. Only an answer of an effect is kept: a refused request had none, and may be sent
again with the same key when the reason is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel

from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.core.failpoints import failpoint
from crossdock.db import idempotency
from crossdock.db.database import Store, Work
from crossdock.db.idempotency import Answer, RequestKey
from crossdock.integrations.attempts import model as attempts

Headers = Mapping[str, str]

#: The answers of a route that takes a key, for its `responses`.
KEYED: dict[int | str, dict[str, Any]] = {
    409: {"model": ProblemDocument, "description": "A conflict, or the first request with this key is still running."},
    422: {
        "model": ProblemDocument,
        "description": "The content is not valid, or the key was used for another request.",
    },
}

_Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="A new one for each request, such as a UUID. Send the same one to repeat a request that got no answer: "
        "it has no second effect, and the first answer comes again for 24 hours.",
    ),
]


class Keep(Protocol):
    """Keeps the answer in the transaction of the effect."""

    def __call__(self, work: Work, document: BaseModel, headers: Headers = ...) -> None: ...


class IdempotentRequest:
    """A request with its key, and the hub's database."""

    def __init__(self, request: Request, store: Store, key: str) -> None:
        route = request.scope["route"]
        self._store, self._status = store, route.status_code or 200
        self._key = RequestKey.of(
            key,
            caller=request.state.caller.name,
            route=f"{request.method} {route.path}",
            request=f"{request.url.path}?{request.url.query}\n".encode() + request.state.body,
        )

    @property
    def effect_key(self) -> str:
        """A key for the effect at another system, of 64 characters: the same when the caller sends the request again."""
        return self._key.key_hash.hex()

    def once(self, effect: Callable[[], BaseModel], headers: Callable[[Any], Headers] = lambda _: {}) -> Response:
        """
        Carry out *effect* and keep its answer in one transaction, or answer as the first time.

        The transactions of the use case become parts of this one. Not for what calls another system, or takes seconds.

        Raises:
            StillRunning, KeyReused: See `db.idempotency`.

        """
        with self._store.transaction() as work:
            idempotency.lock_for_transaction(work, self._key)
            answer = idempotency.find(work, self._key)
            if answer is None:
                document = effect()
                answer = self._answer(document, headers(document))
                idempotency.store(work, self._key, answer)
                failpoint("idempotency.before_commit")
        failpoint("idempotency.after_commit")
        return _response(answer)

    def once_outside(self, effect: Callable[[Keep], None]) -> Response:
        """
        Carry out *effect*, which calls another system, with no transaction open; it keeps its answer in its last one.

        Raises:
            StillRunning, KeyReused: See `db.idempotency`; also if the effect was refused, and its key remembers for what.

        """
        kept: list[Answer] = []

        def keep(work: Work, document: BaseModel, headers: Headers | None = None) -> None:
            kept[:] = [self._answer(document, headers or {})]
            idempotency.store(work, self._key, kept[0])
            failpoint("idempotency.before_commit")

        with self._store.question() as session:
            idempotency.lock_for_session(session, self._key)
        try:
            with self._store.transaction() as work:
                answer = idempotency.find(work, self._key)
            if answer is None:
                self._carry_out(effect, keep)
                failpoint("idempotency.after_commit")
                (answer,) = kept
        finally:
            with self._store.question() as session:
                idempotency.unlock_session(session, self._key)
        return _response(answer)

    def _carry_out(self, effect: Callable[[Keep], None], keep: Keep) -> None:
        try:
            effect(keep)
        except attempts.KeyReused as error:
            # The key of the effect is ours; the caller knows another.
            raise idempotency.KeyReused(self._key.name) from error

    def _answer(self, document: BaseModel, headers: Headers) -> Answer:
        return Answer(self._status, headers, document.model_dump_json().encode())


async def _request_of(request: Request, store: OpenStore, key: _Key) -> IdempotentRequest:
    return IdempotentRequest(request, store, key)


OneEffect = Annotated[IdempotentRequest, Depends(_request_of)]


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, headers=dict(answer.headers), media_type="application/json")

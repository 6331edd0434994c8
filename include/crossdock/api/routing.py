"""Routes that check the caller before they read a body, refuse unknown parameters, and parse JSON strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from crossdock.api.access import guard_of
from crossdock.api.bulkhead import ROUTES, WEBHOOKS, begun, in_compartment
from crossdock.api.problems import Problem
from crossdock.api.query_parameters import names_of, refuse_unknown
from crossdock.core.card_data import refuse_card_data

#: Deeper than any document of ours. Deeper nesting only serves to exhaust a parser.
_DEEPEST = 64


class GuardedRoute(APIRoute):
    """
    A route whose guard runs before its body is read.

    FastAPI would parse the body first, so that a stranger could send one and learn the expected form from the answer.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, in_compartment(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        guard, known = guard_of(self), names_of(self.dependant)

        async def handle_guarded(request: Request) -> Response:
            if guard is not None:  # else the app refuses to start
                await guard(request)
            refuse_unknown(request.query_params, known)
            strict = StrictRequest(request.scope, request.receive)
            # Parse here, because FastAPI turns any error of reading into a parse error.
            strict.state.body = await strict.body()
            if strict.state.body:
                with suppress(json.JSONDecodeError):
                    await strict.json()
            with begun(strict, ROUTES) as work:
                await work.admit()
                return await handle(strict)

        return handle_guarded


class RawRoute(APIRoute):
    """
    A route of webhooks, which reads its body itself, as bytes: what a sender signed must not be decoded before it is verified.

    It takes a thread of the webhooks' compartment once it has its body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_webhook(request: Request) -> Response:
            with begun(request, WEBHOOKS):
                return await handle(request)

        return handle_webhook


#: What every router of the API is made with.
Router = partial(APIRouter, route_class=GuardedRoute)


def guarded(app: FastAPI) -> FastAPI:
    """
    Refuse to start *app* unless each of its routes has a guard, which runs before the body is read.

    Raises:
        RuntimeError: A route has no guard: anybody who reaches the server could call it.
        TypeError: A router is not a `Router`: its routes would parse a stranger's body. Or a dependency is a `def`.

    """
    for route in app.routes:
        path = getattr(route, "path", route)
        if guard_of(route) is None:
            raise RuntimeError(f"The route {path} has no guard: add guard(Role.…) to it")
        if not isinstance(route, GuardedRoute | RawRoute):
            raise TypeError(f"The route {path} parses its body before its guard runs: make its router with Router(…)")
        for call in calls_in_shared_threads(route):
            raise TypeError(f"{call} of the route {path} would wait for a thread of Airflow's: make it `async def`")
    return app


def calls_in_shared_threads(route: APIRoute) -> Iterator[str]:
    """Name what FastAPI would run in the pool of threads that Airflow's routes share."""
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        if not (dependant.is_coroutine_callable or dependant.is_async_gen_callable):
            yield getattr(dependant.call, "__qualname__", str(dependant.call))


class StrictRequest(Request):
    """A request with strict JSON: no NaN, no duplicate name, no deep nesting, no NUL in a text, no card data."""

    async def json(self) -> Any:
        """
        Parse the body.

        Raises:
            json.JSONDecodeError: The body is not JSON; FastAPI turns this into a validation error.
            Problem: 422, for JSON that no table of ours can store.
            CardDataRefused: It has card data.

        """
        return strict_json(await self.body())


def strict_json(body: bytes) -> Any:
    """
    Parse *body*.

    Raises:
        json.JSONDecodeError: It is not JSON.
        Problem: 422, for JSON that no table of ours can store.
        CardDataRefused: It has card data.

    """
    try:
        document = json.loads(body.decode(), parse_constant=_refuse, object_pairs_hook=_unique, parse_float=_finite)
    except RecursionError as error:
        raise _unprocessable(f"it nests deeper than {_DEEPEST} levels") from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            raise
        raise json.JSONDecodeError(str(error), "", 0) from error
    _refuse_deep(document, _DEEPEST)
    refuse_card_data(document)
    return document


def _unprocessable(what: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unprocessable", f"The body cannot be stored: {what}")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError("a number is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("an object has a duplicate name")
    return document


def _refuse_deep(value: Any, levels: int) -> None:
    if levels == 0:
        raise _unprocessable(f"it nests deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise _unprocessable("a text contains NUL or half a surrogate pair")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _refuse_deep(name, levels)
            _refuse_deep(inner, levels - 1)
    elif isinstance(value, list):
        for inner in value:
            _refuse_deep(inner, levels - 1)

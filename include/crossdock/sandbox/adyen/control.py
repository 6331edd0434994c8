"""The control routes of this platform, beside those of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from crossdock.sandbox.adyen.webhooks import Settings
from crossdock.sandbox.engine.faults import is_number
from crossdock.sandbox.engine.problems import invalid_input

if TYPE_CHECKING:  # the platform is built from this module
    from crossdock.sandbox.adyen.platform import FakeAdyen
    from crossdock.sandbox.engine.control import RouteKey
    from crossdock.sandbox.engine.messages import Request

Json = dict[str, Any]


def routes(platform: FakeAdyen) -> dict[RouteKey, Callable[[Request], Json]]:
    """List the routes; each raises a Problem that says what is expected."""
    return {key: partial(act, platform) for key, act in _ROUTES.items()}


def _ledger(platform: FakeAdyen, _request: Request) -> Json:
    return platform.state.as_document()


def _show_webhooks(platform: FakeAdyen, _request: Request) -> Json:
    return platform.outbox.as_document()


def _put_webhooks(platform: FakeAdyen, request: Request) -> Json:
    """Change the settings: `{"url": …, "hold": true, "delay_s": 2, "lose": 1}`."""
    document = _known(request, *(field.name for field in fields(Settings)))
    url = document.get("url")
    if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://"))):
        raise invalid_input("'url' must be an http or https URL.")
    if not all(is_number(document.get(name, 0)) and document.get(name, 0) >= 0 for name in ("delay_s", "lose")):
        raise invalid_input("'delay_s' and 'lose' must be numbers of at least 0.")
    if not isinstance(document.get("hold", False), bool):
        raise invalid_input("'hold' must be true or false.")
    for name, value in document.items():
        setattr(platform.outbox.settings, name, value)
    return platform.outbox.as_document()


def _release_webhooks(platform: FakeAdyen, request: Request) -> Json:
    """Send what is held: `{"newest_first": true, "together": true, "again": true}`, each of them optional."""
    document = _known(request, "newest_first", "together", "again") if request.body else {}
    if not all(isinstance(value, bool) for value in document.values()):
        raise invalid_input("'newest_first', 'together' and 'again' must be true or false.")
    return {"items": platform.outbox.release(**document)}


def _finish(platform: FakeAdyen, request: Request) -> Json:
    """End a payment that waits: `{"payment": …, "success": true}`."""
    document = _known(request, "payment", "success")
    success = document.get("success", True)
    if not isinstance(success, bool):
        raise invalid_input("'success' must be true or false.")
    return {"state": platform.state.finish(str(document.get("payment")), success=success).state}


def _fail(platform: FakeAdyen, request: Request) -> Json:
    """Take back a capture or a refund: `{"operation": …}`."""
    operation = platform.state.fail_later(str(_known(request, "operation").get("operation")))
    return {"payment": operation.payment.psp_reference}


def _dispute(platform: FakeAdyen, request: Request) -> Json:
    """Report a stage of a dispute: `{"payment": …, "stage": "CHARGEBACK", "dispute": …}`; a new one without `dispute`."""
    document = _known(request, "payment", "stage", "dispute")
    stage = str(document.get("stage", "CHARGEBACK"))
    return {"dispute": platform.state.dispute(str(document.get("payment")), stage, document.get("dispute"))}


def _known(request: Request, *names: str) -> Json:
    document = request.json()
    if unknown := sorted(document.keys() - set(names)):
        raise invalid_input(f"Unknown field '{unknown[0]}'. Known fields: {', '.join(names)}.")
    return document


_ROUTES: dict[RouteKey, Callable[[FakeAdyen, Request], Json]] = {
    ("GET", ("ledger",)): _ledger,
    ("GET", ("webhooks",)): _show_webhooks,
    ("PUT", ("webhooks",)): _put_webhooks,
    ("POST", ("webhooks",)): _release_webhooks,
    ("POST", ("outcomes",)): _finish,
    ("POST", ("failures",)): _fail,
    ("POST", ("disputes",)): _dispute,
}

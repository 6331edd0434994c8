"""
The hub at a glance, for `./hub status`: from the hub's API, or from its database where the API does not answer.

Asking the API costs a third of what loading the database's queries does.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from crossdock.client.hub import HubApi
from crossdock.core.errors import HubError
from crossdock.stack import lifecycle, needs, ports

#: The fact `hub` where all is well.
ANSWERS = "answers"
#: The facts, in the order in which they are shown. Each is None where nobody knows it.
_NAMES = ("hub", "last_run", "in_quarantine", "dead_letters", "outages", "alerts", "alert_messages")
#: A frozen api-server answers never, and the database can be asked directly.
_PATIENCE_S = 5.0
#: The kind of alert that says that an integration is down.
_OUTAGE = "breaker_open"


def facts(stack: lifecycle.StackStatus) -> dict[str, Any]:
    """Tell what is known of the hub, by the names in `_NAMES`; `hub` says why, where nothing is."""
    unknown: dict[str, Any] = dict.fromkeys(_NAMES)
    alive = {process.name for process in stack.processes if process.state == "running"}
    if not alive.issuperset(needs.DATABASE):
        why = "its database does not run" if alive else "the stack is stopped"
        return {**unknown, "hub": f"nothing is known: {why}"}
    running = lifecycle.Stack(ports.saved())
    found = None
    if alive.issuperset(needs.API):
        with suppress(HubError):
            found = HubApi(running.api(timeout_s=_PATIENCE_S), timeout_s=_PATIENCE_S).get("/overview").document
    try:
        found = found or _of_database(running.hub_dsn)
    except HubError as error:
        return {**unknown, "hub": f"nothing is known: {error}"}
    return {**unknown, **_in_words(found)}


def _of_database(dsn: str) -> dict[str, Any]:
    """Ask the database itself; the answer is as the API gives it."""
    import msgspec  # noqa: PLC0415  these take longer to load than the API takes to answer

    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.maintenance.overview import overview  # noqa: PLC0415

    with Store(dsn, session="-c statement_timeout=10s") as store:
        found = overview(store)
    document: dict[str, Any] = msgspec.to_builtins(found)
    return document


def _in_words(found: dict[str, Any]) -> dict[str, Any]:
    latest, refused = found["latest_run"], found["writes_refused"]
    return {
        "hub": f"its database takes no writes: {refused}" if refused else ANSWERS,
        "last_run": f"{latest['run_id']} {latest['state']}" if latest else "none yet: ./hub sync inventory --full",
        "in_quarantine": found["in_quarantine"],
        "dead_letters": found["dead_letters"],
        "outages": [
            f"{outage['integration']}: {outage['reason'] or 'too many calls failed'}"
            for outage in found["outages"]
            # Once it lasts, there is an alert of it that says more.
            if not any(
                alert["kind"] == _OUTAGE and alert["subject"] == outage["integration"] for alert in found["alerts"]
            )
        ],
        "alerts": [_sentence(alert) for alert in found["alerts"]],
        "alert_messages": _messages(found),
    }


def _sentence(alert: dict[str, Any]) -> str:
    return f"{alert['line']} (since {_minute(alert['opened_at'])})"


def _messages(found: dict[str, Any]) -> str:
    """Say whether somebody gets the alerts."""
    if not found["alerts_are_sent"]:
        return "nobody sends them: the process alert-sender is not at work (./hub doctor)"
    if not found["alert_routes"]:
        return "no route: nobody gets an alert. Add one with ./hub alerts routes add"
    since = found["waiting_since"]
    if not since:
        return "none wait"
    return f"{found['waiting_messages']} wait, the oldest since {_minute(since)} (./hub alerts messages)"


def _minute(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%Y-%m-%d %H:%M}"

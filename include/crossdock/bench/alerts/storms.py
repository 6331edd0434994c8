"""Very many failures at once: what comes of ten thousand of one cause, and of thirty causes."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from crossdock.bench.alerts.causes import poison, refuse_webhooks
from crossdock.bench.alerts.outcome import Storm
from crossdock.bench.alerts.receivers import Mailbox, TimedReceiver
from crossdock.bench.alerts.simulated import simulated
from crossdock.bench.alerts.world import World, secret_of
from crossdock.events.webhooks_in.service import connection_of
from crossdock.maintenance.alerting.plan import COLLECT

_FAILURES, _CAUSES, _REFUSED = 10_000, 30, 10
#: So many integrations' webhooks at a time, so that all are refused within the minute.
_AT_ONCE = 8
_SLOWEST_S = 900.0
#: After the last failure: the longest way of a message, and half a minute more.
_LAST_MESSAGE_S = 90.0

_LETTERS = b"SELECT count(*) FROM dead_letter WHERE subject LIKE 'inventory/bench-%%'"


def failures_of_one_cause(world: World, receiver: TimedReceiver, mailbox: Mailbox) -> Storm:
    """Append very many events that a subscriber cannot process, and count the messages about it."""
    world.say(f"{_FAILURES:,} events fail")
    before_s, until_s = time.time(), time.monotonic() + _SLOWEST_S
    poison(world, _FAILURES)
    while world.ask(_LETTERS)[0][0] < 2 * _FAILURES and time.monotonic() < until_s:
        time.sleep(1)
    failed = world.ask(_LETTERS)[0][0]
    time.sleep(_LAST_MESSAGE_S)
    hooks = sum(each.kind == "dead_letters" and each.at >= before_s for each in receiver.received())
    mails = sum(at >= before_s and "(dead_letters)" in mail["text"] for at, mail in mailbox.mails)
    # An event that failed within the hour before may have brought the message already.
    return Storm(
        what=f"{failed:,} failures of two subscribers of {_FAILURES:,} events",
        at_once=hooks,
        by_default=mails,
        at_once_most=2,
        by_default_most=2,
    )


def causes_in_a_minute(world: World, receiver: TimedReceiver, mailbox: Mailbox) -> Storm:
    """Let the webhooks of many integrations be refused at once, and count the messages about it."""
    world.say(f"the webhooks of {_CAUSES} integrations are refused")
    names = [f"bench_storm_{number}" for number in range(_CAUSES)]
    key, api = f"sk_test_{secrets.token_hex(12)}", world.api()
    with simulated("stripe", {"SANDBOX_STRIPE_KEY": key}) as stripe:
        for name in names:
            world.add_integration(name, "stripe", {"base_url": stripe.url}, {"secret_key": key})
            api.put_connection(
                {
                    "connection_id": connection_of(name),
                    "conn_type": "generic",
                    "password": secret_of(secrets.token_bytes(24)),
                    "extra": json.dumps({"scheme": "standard"}),
                }
            )
    before_s = time.time()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: refuse_webhooks(world, name, times=_REFUSED), names))
    took_s = time.time() - before_s
    world.say(f"    within {took_s:.0f} s")
    time.sleep(_LAST_MESSAGE_S)
    hooks = [each for each in receiver.received() if each.at >= before_s and each.subject in names and each.is_opened]
    mails = [mail for at, mail in mailbox.mails if at >= before_s and any(_names(mail, name) for name in names)]
    in_mails = {name for name in names if any(_names(mail, name) for mail in mails)}
    return Storm(
        what=f"{len({each.subject for each in hooks})} causes within {took_s:.0f} s ({len(in_mails)} of them in mails)",
        at_once=len(hooks),
        by_default=len(mails),
        at_once_most=_CAUSES,
        # What comes while half a minute is waited for is one message; what comes after it another one.
        by_default_most=1 + math.ceil(took_s / COLLECT.total_seconds()),
    )


def _names(mail: dict[str, str], integration: str) -> bool:
    return f": {integration} (webhooks_refused)" in mail["text"]


STORMS: Sequence[Callable[[World, TimedReceiver, Mailbox], Storm]] = (failures_of_one_cause, causes_in_a_minute)

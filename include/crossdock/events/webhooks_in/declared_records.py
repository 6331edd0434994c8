"""The webhooks of a sender whose connection says which records they name: of which dataset, and where the key is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from crossdock.core.errors import BadRequest
from crossdock.events.webhooks_in.checks import text_at
from crossdock.events.webhooks_in.content import values_at
from crossdock.events.webhooks_in.ports import Delivery, FetchKeys, Webhook
from crossdock.events.webhooks_in.rules import RecordRule, WebhookRules

#: Where senders whose schemes are known name the type of a message, if the connection does not say it.
_TYPE_HEADERS = {"github": "x-github-event", "shopify": "x-shopify-topic"}
_TYPE_PATHS = {"paddle": "event_type", "azure_event_grid": "eventType", "slack": "event.type"}
#: Where a CloudEvent has its type, and most others.
_USUAL_PATH = "type"
#: Longer than any key that an index holds.
_LONGEST_NUMBER = 256


def declared_rules(rules: WebhookRules) -> tuple[RecordRule, ...]:
    """List the rules of a connection: its `records`, or the one of `dataset` and `key_path`."""
    if rules.dataset is not None and rules.key_path is not None:
        return (*rules.records, RecordRule(dataset=rules.dataset, key_path=rules.key_path, by_id=rules.by_id))
    return rules.records


def unknown_dataset(rules: WebhookRules, datasets: Collection[str]) -> str | None:
    """Find a dataset that the integration does not have."""
    return next((rule.dataset for rule in declared_rules(rules) if rule.dataset not in datasets), None)


def webhook_of_rules(rules: WebhookRules) -> Webhook:
    """Declare the webhooks of a sender as its connection describes them."""
    declared = declared_rules(rules)
    meanings = {_name(number): _fetch(rule) for number, rule in enumerate(declared)}
    return Webhook(types_of=partial(_types_of, rules, declared), meanings=meanings, takes_lists_apart=True)


def _name(number: int) -> str:
    return f"\0{number}"  # No type of a message has a NUL.


def _types_of(rules: WebhookRules, declared: Sequence[RecordRule], delivery: Delivery) -> Sequence[str]:
    """Name the rule of a message, and its type. A message that has no key of ours is about something else: a ping, a test."""
    message_type = _type_of(rules, delivery)
    for number, rule in enumerate(declared):
        if (not rule.types or message_type in rule.types) and _is_about(rule, delivery):
            return [_name(number)]
    return [message_type if message_type.isprintable() else ""]


def _type_of(rules: WebhookRules, delivery: Delivery) -> str:
    header = rules.type_header or _TYPE_HEADERS.get(rules.scheme, "")
    path = rules.type_path or _TYPE_PATHS.get(rules.scheme, _USUAL_PATH)
    of_header = delivery.headers.get(header.lower(), "") if header else ""
    if found := of_header or text_at(delivery.document, path) or text_at(delivery.envelope, path):
        return found
    # Event Grid's own schema has another name for it than its CloudEvents.
    return text_at(delivery.document, _USUAL_PATH) if rules.scheme == "azure_event_grid" else ""


def _is_about(rule: RecordRule, delivery: Delivery) -> bool:
    """Check whether the message can be meant: its type is named by the rule, or it has a key."""
    return bool(rule.types) or any(value is not None for value in values_at(delivery.document, rule.key_path))


def _fetch(rule: RecordRule) -> FetchKeys:
    def keys(delivery: Delivery) -> Sequence[str]:
        found = [
            _key(value, rule.key_path) for value in values_at(delivery.document, rule.key_path) if value is not None
        ]
        if not found:
            raise BadRequest(f"The body has no key at {rule.key_path!r}")
        return list(dict.fromkeys(found))

    return FetchKeys(rule.dataset, keys, by_id=rule.by_id)


def _key(value: Any, path: str) -> str:
    """Write a key as text: a whole number is its digits, exact beyond 2^53. Others have several spellings."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NUMBER and value.isprintable():
        return value
    raise BadRequest(
        f"The body has no key of 1 to {_LONGEST_NUMBER} printable characters, or whole number, at {path!r}"
    )

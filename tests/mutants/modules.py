"""The files that hold promises, and the tests that must notice when one of them changes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """What is mutated together, under one name."""

    files: tuple[str, ...]
    #: Files or single tests; the likeliest to notice comes first.
    tests: tuple[str, ...]


def _module(files: tuple[str, ...], tests: tuple[str, ...]) -> Module:
    return Module(
        files=tuple(f"include/crossdock/{file}" for file in files), tests=tuple(f"tests/{test}" for test in tests)
    )


MODULES = {
    "accounting": _module(
        ("sync/batches.py", "sync/load.py"),
        ("sync/test_batches.py", "sync/test_inventory.py"),
    ),
    "watermark": _module(
        ("sync/watermarks.py", "sync/window.py"),
        ("sync/test_watermarks.py", "sync/test_model.py", "sync/test_shards.py", "sync/test_inventory.py"),
    ),
    "lease": _module(("db/leases.py",), ("db/test_leases.py",)),
    "upsert-guard": _module(
        ("sync/upsert.py",), ("sync/test_batches.py", "sync/test_products_and_orders.py", "sync/test_inventory.py")
    ),
    "outbox": _module(("events/store.py",), ("events/test_store.py", "events/delivery/test_delivery.py")),
    "reader": _module(
        ("events/delivery/consumer_leases.py", "events/delivery/partition.py"),
        (
            "events/delivery/test_consumer_leases.py",
            "events/delivery/test_delivery.py",
            "events/delivery/test_slow_effects.py",
            "events/delivery/test_outages.py",
            "events/test_store.py",
        ),
    ),
    "inbox": _module(
        ("events/delivery/inbox.py",),
        ("events/delivery/test_inbox.py", "events/delivery/test_delivery.py", "events/replay/test_replays.py"),
    ),
    "dead-letters": _module(
        ("events/delivery/failures.py", "events/delivery/retry_repository.py", "events/dead_letters/repository.py"),
        (
            "events/dead_letters/test_repository.py",
            "events/dead_letters/test_service.py",
            "events/delivery/test_delivery.py",
            "events/delivery/test_outages.py",
        ),
    ),
    "signatures": _module(
        (
            "events/webhooks_in/signatures.py",
            "events/webhooks_in/checks.py",
            "events/webhooks_in/schemes/adyen.py",
            "events/webhooks_in/schemes/aws_sns.py",
            "events/webhooks_in/schemes/azure_event_grid.py",
            "events/webhooks_in/schemes/google_pubsub.py",
            "events/webhooks_in/schemes/hmac_header.py",
            "events/webhooks_in/schemes/openid.py",
            "events/webhooks_in/schemes/sendgrid.py",
            "events/webhooks_in/schemes/standard.py",
            "events/webhooks_in/schemes/token.py",
            "events/webhooks_in/schemes/twilio.py",
        ),
        (
            "events/webhooks_in/test_schemes.py",
            "events/webhooks_in/test_adyen_signatures.py",
            "events/webhooks_in/test_sendgrid_signatures.py",
            "events/webhooks_in/test_webhooks.py",
        ),
    ),
    "retries": _module(("http/retries.py",), ("http/test_retries.py", "http/test_send.py")),
    "breaker": _module(
        ("http/breaker.py", "http/shared_breaker.py"), ("http/test_breaker.py", "http/test_shared_breaker.py")
    ),
    "limiter": _module(("http/shared_rate_limit.py",), ("http/test_shared_rate_limit.py",)),
    "tokens": _module(("http/oauth.py", "http/shared_token.py"), ("http/test_oauth.py", "http/test_shared_token.py")),
    "ssrf-guard": _module(("http/ssrf_guard.py",), ("http/test_ssrf_guard.py",)),
    "roles": _module(
        ("api/access.py",),
        (
            "api/test_caller.py",
            "api/test_access.py::test_an_app_with_an_unguarded_route_does_not_start",
            "api/test_access.py::test_an_app_with_a_router_that_is_not_ours_does_not_start",
            "api/test_access.py::test_fastapis_own_pages_would_not_start_either",
        ),
    ),
    "audit": _module(
        ("observability/audit.py",), ("observability/test_audit.py", "events/dead_letters/test_service.py")
    ),
    "money": _module(("core/money.py",), ("core/test_money.py",)),
}

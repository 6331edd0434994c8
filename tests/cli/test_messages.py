"""
What a person reads who asks for what is not there, or in a way that cannot be: each error says what is wrong, and most what to do.

Each line is a command against the hub that is served, and words of its answer: they are part of the interface.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Hub

FAILED, WRONG_USE = 1, 2
ORDER, PAYMENT = "ord_" + "0" * 32, "pay_" + "0" * 32
DAYS = ("--from", "2026-11-01", "--to", "2026-11-02")

#: Nothing of that name or number is there.
NOT_THERE = [
    (["run", "show", "nope"], "There is no run 'nope'. Recent runs: ./hub runs"),
    (["quarantine", "show", "4711"], "There is no quarantine item 4711"),
    (["quarantine", "replay", "4711"], "There is no quarantine item 4711"),
    (["quarantine", "discard", "4711", "--reason", "x"], "There is no quarantine item 4711"),
    (["dead-letters", "show", "4711"], "There is no dead letter 4711"),
    (["dead-letters", "replay", "--all"], "No dead letter matches. To list them: ./hub dead-letters list"),
    (["dead-letters", "stop", "4711"], "There is no replay 4711. To list them: ./hub events status"),
    (["attempts", "resolve", "4711", "done", "--reason", "x"], "There is no attempt 4711"),
    (["alerts", "ack", "4711"], "No alert 4711 is open"),
    (["alerts", "unmute", "4711"], "No mute 4711"),
    (["alerts", "test", "nope"], "There is no route 'nope' of alerts"),
    (["mail", "show", "4711"], "There is no mail 4711"),
    (["order", "show", ORDER], f"There is no order '{ORDER}'. To list them: ./hub order list"),
    (["order", "show", "WEB-NOPE"], "No order has the ID or the reference 'WEB-NOPE'. To list them: ./hub order list"),
    (["order", "compensate", "WEB-NOPE", "--reason", "x"], "No order has the ID or the reference 'WEB-NOPE'"),
    (["dead-letters", "list", "--subscriber", "nope"], "There is no subscriber 'nope'. Subscribers: availability"),
    (["payments", "show", PAYMENT], f"There is no payment '{PAYMENT}'"),
    (["decisions", "decide", "4711", "done", "--reason", "x"], "There is no decision 4711"),
    (["warehouses", "set", "nope", "--priority", "1"], "There is no warehouse 'nope'"),
    (["events", "replay", "--to", "nope"], "There is no subscriber 'nope'. Subscribers: availability"),
    (["trace", "sku", "nope"], "Nothing happened to sku 'nope'"),
    (["show", "inventory", "nope"], "The hub has no"),
]
#: Refused by the command itself or by the hub, whatever the hub has.
REFUSED = [
    (
        ["sync", "inventory", "--full", "--key", "A"],
        "--full reads everything: it cannot be combined with --since, --until",
    ),
    (
        ["sync", "inventory", "--key", "A", "--since", "2026-11-21"],
        "--key names records: it cannot be combined with --since or --until",
    ),
    (["sync", "inventory", "--key", ""], "--key is empty"),
    (
        ["sync", "inventory", "--since", "2026-11-22", "--until", "2026-11-21"],
        "--since 2026-11-22 00:00:00+00:00 must be before --until 2026-11-21",
    ),
    (["backfill", "orders", "--from", "2026-11-02", "--to", "2031-01-01"], "The last day 2031-01-01 is in the future"),
    (["backfill", "orders", "--from", "2000-01-01", "--to", "2026-11-02"], "Use several backfills"),
    (["backfill", "orders", *DAYS, "--only", "some"], "'some' is not one of 'missing', 'failed', 'all'"),
    (["events", "show", "x"], "event_id: must be the ID of an event, such as 1-4711"),
    (["payments", "show", "4711"], "payment_id: must be the ID of a payment: pay_ and 32 hexadecimal digits"),
    (
        ["payments", "authorise", "a", "1", "eur", "--method", "x"],
        "/currency: must be a currency of ISO 4217, such as EUR",
    ),
    (["integration", "show", "Shop"], "must have 2 to 63 lowercase letters, digits or _"),
    (["dead-letters", "list", "--state", "open"], "There is no state 'open'. States: dead, retrying"),
    (["alerts", "list", "--state", "new"], "'new' is no state. Use one of: open"),
    (["alerts", "messages", "--state", "new"], "'new' is no state. Use one of: waiting"),
    (["alerts", "routes", "add", "x", "--integration", "y", "--quiet", "18:00-08:00"], "Quiet hours need both --quiet"),
    (["mail", "list", "--state", "new"], "'new' is no state. Use one of: open, sending"),
    (["attempts", "resolve", "1", "well", "--reason", "x"], "'well' is no outcome. Use one of: done, refused, failed"),
    (["order", "resolve", "x", "--outcome", "well", "--reason", "x"], "--outcome is one of done, refused, failed"),
    (["payments", "resolve", "x", "--leg", "1"], "Give --outcome (done, refused, failed) and --reason with --leg"),
    (["payments", "finish", "x", "--detail", "x"], "--detail is NAME=VALUE, such as redirectResult="),
    (["payments", "capture", "x", "--key", "a b"], "Invalid key 'a b'. A key has 1 to 255 visible ASCII characters"),
    (["integration", "change", "commercetools"], "Nothing to change. Use --name NAME or --set FIELD=VALUE"),
    (["integration", "add", "x_y", "--kind", "declared", "--set", "x"], "Invalid setting 'x'. Write it as NAME=VALUE"),
    (["trace", "product", "x"], "The first word is one of sku, customer. Of an order: ./hub order trace"),
    (["test", "--quick", "--deep"], "--quick, --deep and --mutants exclude each other"),
    (["quarantine", "fix", "1", "--set", "x"], "--set 'x' is not FIELD=VALUE, as in: --set quantityOnStock=5"),
    (["alerts", "ack", "1", "--until", "2026-01-01"], "2026-01-01T00:00:00.000Z is past. Name a time to come"),
    (
        ["payments", "authorise", "a", "1", "EUR", "--method", "x", "--method", "y"],
        "--method has two tokens for every gateway. Give one",
    ),
    (
        ["payments", "authorise", "a", "1", "EUR", "--method", "stripe=x", "--method", "stripe=y"],
        "--method has two tokens for stripe. Give one",
    ),
    (["bench", "sync", "--ids", "odd"], "IDs are random or ascending, not 'odd'"),
    (["login"], "Which hub? Use ./hub login https://airflow.example.com"),
    (["bench", "sync", "--entity", "nope"], "There is no benchmark of 'nope'. Use one of:"),
    (["bench", "faults", "nope"], "There is no such fault. Use some of:"),
    (["profile", "sync", "--step", "nope"], "Unknown step 'nope'"),
]


@pytest.mark.parametrize(
    ("words", "said"), NOT_THERE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_is_not_there_is_named(hub: Hub, words: list[str], said: str) -> None:
    ended = hub(*words)

    assert said in ended.text
    assert ended.code == FAILED


@pytest.mark.parametrize(
    ("words", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_cannot_be_is_refused_with_what_can(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    if words == ["login"]:
        monkeypatch.setenv("HUB_URL", "")
        monkeypatch.setenv("HUB_USER", "")
        monkeypatch.setenv("HUB_PASSWORD", "")

    ended = hub(*words)

    assert said in ended.text
    assert ended.code == WRONG_USE


def test_an_order_that_is_not_json_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text("{")

    ended = hub("order", "place", str(tmp_path / "order.json"))

    assert "order.json is not JSON" in ended.text
    assert ended.code == WRONG_USE


def test_credentials_that_are_no_object_are_refused_with_what_is_expected(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("[]")
    words = (
        "integration",
        "add",
        "erp",
        "--kind",
        "commercetools",
        "--set",
        "base_url=http://127.0.0.1:9",
        "--set",
        "project=my-shop",
    )

    ended = hub(*words, "--credentials", str(tmp_path / "credentials.json"))

    assert "credentials.json is not a JSON object. Expected one JSON object, such as" in ended.text
    assert ended.code == WRONG_USE


def test_an_order_that_is_no_file_is_a_sentence(hub: Hub, tmp_path: Path) -> None:
    """It was a stack trace."""
    ended = hub("order", "place", str(tmp_path / "nothing.json"))

    assert f"Cannot read the order from {tmp_path / 'nothing.json'}: No such file or directory" in ended.text
    assert ended.code == WRONG_USE


def test_a_route_of_alerts_may_not_have_a_window_that_is_none(hub: Hub) -> None:
    words = ("alerts", "routes", "add", "x", "--integration", "y", "--quiet", "late", "--zone", "Europe/Berlin")

    assert "'late' is no window of quiet hours (expected something like 22:00-07:00" in hub(*words).text


def test_an_error_is_a_document_for_a_program(hub: Hub) -> None:
    """With what to do beside the message, not within it."""
    error = json.loads(hub("run", "show", "nope", "--json").out)["error"]

    assert (error["message"], error["hint"], error["exit_code"]) == (
        "There is no run 'nope'",
        "Recent runs: ./hub runs",
        FAILED,
    )

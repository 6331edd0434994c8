"""Runs, events, orders, decisions, integrations, alerts and the audit trail: what each shows to whom, and what a person does there."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from uuid import uuid4

import pytest
from markupsafe import escape

from crossdock.commerce.payments import service as payments
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.core.ids import RUN_NOTE
from crossdock.db.database import Store
from tests.api.conftest import Hub
from tests.api.test_decisions import of_a_workflow, waiting
from tests.api.test_orders import place
from tests.commerce.payments.gateways import connected
from tests.events.worlds import publish, stock
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry
from tests.web.conftest import Visitor
from tests.web.hostile import ATTRIBUTE, SCRIPT
from tests.web.test_quarantine import rejected, text_of

#: Three systems in the registry.
SHOP = """
INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by, tested_at, test_passed)
SELECT id, kind, name, '{}', id, 'airflow:admin', 'airflow:admin', now() - since, true
  FROM (VALUES ('shop_eu', 'commercetools', 'Shop EU', interval '2 days'),
               ('stripe_eu', 'stripe', 'Stripe EU', interval '3 hours'),
               ('hubspot', 'hubspot', 'HubSpot', interval '20 minutes')) AS systems (id, kind, name, since) RETURNING 1
"""
ALERT = """
INSERT INTO alert (kind, subject, message, records, closed_at)
VALUES ('dead_letters', 'stock', %s, 3, CASE WHEN %s THEN now() END) RETURNING alert_id
"""
OPEN_ALERT = "INSERT INTO alert (kind, subject, message) VALUES (%s, %s, %s) RETURNING 1"
#: Of the first event.
DEAD_LETTER = """
INSERT INTO dead_letter (subscriber, state, attempts, next_attempt_at, cause, reason, epoch, xid, position, event_id,
                         source, type, subject, time, partition_key, partition, correlation_id, schema_version, data)
SELECT 'mail', 'dead', 1, now(), 'Refused', 'no mailbox ' || partition_key, epoch, xid, position, event_id,
       source, type, subject, time, partition_key, 0, correlation_id, schema_version, data
  FROM event ORDER BY position LIMIT 1 RETURNING dead_letter_id
"""


class TestTheOverview:
    def test_an_outage_is_its_first_line(self, hub_store: Store, vera: Visitor) -> None:
        """Before an order that waits, which is critical, too, and newer; and before all that is a warning."""
        rejected(hub_store, "a")
        query(hub_store, OPEN_ALERT, "breaker_open", "shop_eu", "Shop EU is down")
        query(hub_store, OPEN_ALERT, "payment_unknown", "stripe", "Nobody knows what became of a payment")
        query(hub_store, OPEN_ALERT, "stream_stale", "shop_eu.orders", "No sync has ended well")
        page = text_of(vera.get("/overview")).partition("Kind What About")[2]

        found = [page.index(text) for text in ("is down", "became of a payment", "Quarantine ", "has ended well")]
        assert found == sorted(found)

    def test_it_counts_as_many_open_alerts_as_their_page(self, hub_store: Store, vera: Visitor) -> None:
        """One of rejected records is no line of its own beside them, and open all the same."""
        rejected(hub_store, "a")
        query(hub_store, OPEN_ALERT, "rows_rejected", "commercetools.inventory", "1 record is in quarantine")
        query(hub_store, OPEN_ALERT, "stream_stale", "shop_eu.orders", "No sync has ended well")
        page = vera.get("/overview")

        assert "Open alerts 2 " in text_of(page)
        assert "1 record is in quarantine" not in page
        assert "/hub/pages/alerts?state=open" in page
        assert "Open2" in text_of(vera.get("/alerts?state=open")).replace(" ", "")


class TestRuns:
    def test_the_outcomes_add_up_and_lead_to_their_rows(self, hub_store: Store, vera: Visitor) -> None:
        Triage(hub_store).sync(entry(id="a", sku="A"), entry(id="b", sku="B"), entry(id="c", quantityOnStock=3))
        ((run_id,),) = query(hub_store, "SELECT run_id FROM sync_run")
        page = vera.get(f"/runs/{run_id}")

        assert "3 read adds up 2 inserted" in text_of(page)
        assert f"/hub/pages/runs/{run_id}/rows?outcome=rejected" in page
        rows = text_of(vera.get(f"/runs/{run_id}/rows?outcome=rejected"))
        assert "available_is_not_above_stock" in rows
        assert "Inserted B" not in rows

    def test_it_is_compared_with_the_run_before(self, hub_store: Store, vera: Visitor) -> None:
        Triage(hub_store).sync(entry(id="a"))
        Triage(hub_store).sync(*(entry(id=name, sku=name) for name in "bcd"))
        ((run_id,),) = query(hub_store, "SELECT run_id FROM sync_run ORDER BY started_at DESC LIMIT 1")

        assert "Read 1 3 +2" in text_of(vera.get(f"/runs/{run_id}"))

    def test_it_is_compared_with_one_of_its_own_kind_that_has_ended(self, hub_store: Store, vera: Visitor) -> None:
        for names in ("a", "bc", "def", "ghij"):
            Triage(hub_store).sync(*(entry(id=name, sku=name) for name in names))
        first, full, running, last = (
            run_id for (run_id,) in query(hub_store, "SELECT run_id FROM sync_run ORDER BY started_at")
        )
        query(hub_store, "UPDATE sync_run SET mode = 'full' WHERE run_id = %s RETURNING 1", full)
        query(
            hub_store,
            "UPDATE sync_run SET state = 'running', finished_at = NULL WHERE run_id = %s RETURNING 1",
            running,
        )
        page = vera.get(f"/runs/{last}")

        assert "Read 1 4 +3" in text_of(page)
        assert f"/hub/pages/runs/{first}" in page

    def test_a_filter_that_nobody_chose_is_sent_empty_and_means_all(self, hub_store: Store, vera: Visitor) -> None:
        Triage(hub_store).sync(entry(id="a"))

        assert "commercetools.inventory Done" in text_of(vera.get("/runs?stream=&state="))
        assert "No run" in text_of(vera.get("/runs?stream=&state=failed"))

    def test_the_tab_of_a_dag_run_shows_its_run(self, hub_store: Store, vera: Visitor) -> None:
        Triage(hub_store).sync(entry(id="a"))
        query(
            hub_store,
            "UPDATE sync_run SET dag_id = 'sync_x', dag_run_id = 'manual__2026-12-01T00:00:00+00:00' RETURNING 1",
        )
        page = vera.get("/dag-run?dag_id=sync_x&run_id=manual__2026-12-01T00%3A00%3A00%2B00%3A00")

        assert "What became of each row" in page
        assert "/dags/sync_x/runs/manual__2026-12-01T00%3A00%3A00%2B00%3A00" in page
        assert "The hub has no run of this DAG run" in vera.get("/dag-run?dag_id=other&run_id=manual__1")

    def test_a_run_that_is_tried_again_says_why_and_when(self, pages: Hub, hub_store: Store, vera: Visitor) -> None:
        """Over REST, too. A shard has its own tasks only; and nothing is said of a run that has ended."""
        Triage(hub_store).sync(entry(id="a"))
        ((run_id,),) = query(
            hub_store,
            "UPDATE sync_run SET state = 'running', finished_at = NULL, dag_id = 'sync_x', dag_run_id = 'manual__5', shard = '1/2' "
            "RETURNING run_id",
        )
        waits = {"retry_reason": "shop_eu does not answer", "retry_delay_override": 90, "max_tries": 3}
        waits |= {"state": "up_for_retry", "end_date": "2026-11-21 09:30:00"}
        for index in (0, 1):
            _task(
                pages.metadata, "sync_x", "manual__5", "shard.extract", map_index=index, try_number=1 + index, **waits
            )
        # As many of another stage as are read of one run.
        for index in range(1, 21):
            _task(pages.metadata, "sync_x", "manual__5", "a.first", map_index=index, try_number=1, **waits)
        page = text_of(unescape(vera.get(f"/runs/{run_id}")))
        retries = pages.call("GET", f"/v1/runs/{run_id}", "vera").json()["retries"]
        with closing(sqlite3.connect(pages.metadata)) as airflow, airflow:
            airflow.execute("DELETE FROM task_instance WHERE task_id = 'a.first'")
        of_all = text_of(unescape(vera.get("/dag-run?dag_id=sync_x&run_id=manual__5")))
        query(hub_store, "UPDATE sync_run SET state = 'done', finished_at = now() RETURNING 1")

        assert "shard.extract 0 failed on try 1 of 4: shop_eu does not answer. Airflow tries it again at" in page
        assert "shard.extract 1 failed" not in page
        assert [(each["map_index"], each["tries"], each["most_tries"], each["next_try_at"]) for each in retries] == [
            (0, 1, 4, "2026-11-21T09:31:30Z")
        ]
        assert "shard.extract 0 failed on try 1" in of_all
        assert "is tried again" not in text_of(vera.get(f"/runs/{run_id}"))
        assert pages.call("GET", f"/v1/runs/{run_id}", "vera").json()["retries"] == []

    def test_why_the_try_before_failed_is_said_while_the_next_one_runs(self, pages: Hub, vera: Visitor) -> None:
        """Airflow keeps it with that try. A task that was cleared has had its tries, too, and is none that is tried again."""
        same = {"dag_id": "sync_x", "run_id": "manual__6", "map_index": -1}
        for task_id, reason in (("extract", "shop_eu does not answer"), ("load", None)):
            _task(pages.metadata, **same, task_id=task_id, state="running", try_number=2, max_tries=3)
            with closing(sqlite3.connect(pages.metadata)) as airflow, airflow:
                _insert(airflow, "task_instance_history", **same, task_id=task_id, try_number=1, retry_reason=reason)
        page = text_of(unescape(vera.get("/dag-run?dag_id=sync_x&run_id=manual__6")))

        assert "extract failed on try 1 of 4: shop_eu does not answer. The next try has begun" in page
        assert "load failed" not in page

    def test_a_failed_dag_run_says_which_task_failed_and_why(self, pages: Hub, hub_store: Store, vera: Visitor) -> None:
        """Also one that never began to read, of which the ledger has nothing."""
        reason = "extract failed: shop_eu refused the token. To enter its credentials again: ./hub integration rotate shop_eu"
        _fail_task(pages.metadata, "sync_shop_eu_orders", "manual__1", "extract", reason)
        _fail_task(pages.metadata, "sync_shop_eu_orders", "manual__2", "load", None)
        page = text_of(unescape(vera.get("/dag-run?dag_id=sync_shop_eu_orders&run_id=manual__1")))
        killed = text_of(unescape(vera.get("/dag-run?dag_id=sync_shop_eu_orders&run_id=manual__2")))
        Triage(hub_store).sync(entry(id="a"))
        query(
            hub_store,
            "UPDATE sync_run SET state = 'failed', dag_id = 'sync_shop_eu_orders', dag_run_id = 'manual__1' RETURNING 1",
        )
        ((run_id,),) = query(hub_store, "SELECT run_id FROM sync_run")
        over_rest = pages.call("GET", f"/v1/runs/{run_id}", "vera").json()["failed_tasks"]

        assert over_rest == [{"task_id": "extract", "map_index": None, "tries": 2, "reason": reason}]
        assert "extract failed after 2 tries: shop_eu refused the token." in page
        assert "./hub integration rotate shop_eu" in page
        assert "load failed after 2 tries: its process was gone before it could say why" in killed
        assert "extract failed after 2 tries: shop_eu refused the token." in text_of(
            unescape(vera.get(f"/runs/{run_id}"))
        )


class TestEvents:
    def test_pages_go_back_in_time_and_neither_repeat_nor_leave_out(self, hub_store: Store, vera: Visitor) -> None:
        publish(hub_store, *(stock(f"SKU-{number:03}", 1, 5) for number in range(120)))
        found, path = [], "/events?type=&key="
        while path:
            html = vera.get(path)
            found += re.findall(r">SKU-(\d{3})<", html)
            following = re.search(r'href="/hub/pages([^"]+)" rel="next"', html)
            path = following[1].replace("&amp;", "&") if following else ""

        assert found == [f"{number:03}" for number in reversed(range(120))]

    def test_one_shows_its_data(self, hub_store: Store, vera: Visitor) -> None:
        publish(hub_store, stock("SKU-1", 1, 5))

        assert "available_quantity" in vera.get("/events/1-1")
        assert "SKU-1" in vera.get("/events?key=SKU-1")
        assert "No event" in vera.get("/events?key=SKU-2")


class TestOrders:
    def test_the_customer_is_shown_to_operators_of_one_order_alone(
        self, pages: Hub, hub_store: Store, vera: Visitor, otto: Visitor
    ) -> None:
        order_id = place(pages).json()["order_id"]

        assert "ada@example.com" not in otto.get("/orders") + vera.get(f"/orders/{order_id}")
        assert "ada@example.com" in otto.get(f"/orders/{order_id}")
        revealed = query(hub_store, "SELECT actor FROM audit_entry WHERE subject = %s", f"journey/order/{order_id}")
        assert revealed == [("airflow:otto",)]

    def test_the_page_says_of_each_entry_what_the_command_does(self, pages: Hub, vera: Visitor) -> None:
        """Amounts, reasons, and each state that its stock had: from one place."""
        order_id, _ = waiting(pages)
        journey = pages.call("GET", f"/v1/journeys/order/{order_id}", "vera").json()
        page = unescape(vera.get(f"/orders/{order_id}"))
        said = {entry["text"] for entry in journey["entries"] if entry["text"]}

        assert [text for text in said if text not in page] == []
        assert any("total_minor" in text for text in said)
        assert all(f"{entry['name']}</b>" in page for entry in journey["entries"] if entry["kind"] == "stock")

    def test_one_is_found_by_its_reference(self, pages: Hub, vera: Visitor) -> None:
        place(pages, reference="web-10042")

        assert "web-10042" in text_of(vera.get("/order-search?key=web-10042"))
        assert "The hub has no order" in vera.get("/order-search?key=web-4711")

    def test_one_is_found_by_a_number_with_a_slash(self, pages: Hub, hub_store: Store, vera: Visitor) -> None:
        """As platforms number them."""
        place(pages)
        query(hub_store, "UPDATE placed_order SET reference = 'web/10042' RETURNING 1")

        assert "web/10042" in text_of(vera.get("/order-search?key=web/10042"))
        assert vera.status == 200

    def test_the_customer_on_each_page_of_a_journey_is_recorded(
        self, pages: Hub, hub_store: Store, otto: Visitor
    ) -> None:
        """The head of the page has the address although the entries of the page have none."""
        order_id = place(pages).json()["order_id"]
        page = otto.get(f"/orders/{order_id}?cursor=99999999999999999-z")

        assert "ada@example.com" in page
        revealed = query(
            hub_store, "SELECT detail->'fields' FROM audit_entry WHERE subject = %s", f"journey/order/{order_id}"
        )
        assert [sorted(fields) for (fields,) in revealed] == [["customer_name", "email"]]

    def test_one_is_cancelled_with_a_reason(self, pages: Hub, hub_store: Store, otto: Visitor) -> None:
        order_id = place(pages).json()["order_id"]
        otto.post(f"/orders/{order_id}", "/cancel", reason="Ada called")

        assert otto.status == 303
        assert query(hub_store, "SELECT cancelled_by FROM execution") == [("airflow:otto",)]

    def test_what_it_waits_for_is_settled(self, pages: Hub, hub_store: Store, otto: Visitor) -> None:
        order_id, _ = waiting(pages)
        assert "It waits for a person" in text_of(otto.get(f"/orders/{order_id}"))
        otto.post(f"/orders/{order_id}", "/resolve", outcome="failed", reason="looked it up")

        assert query(hub_store, "SELECT waits_for FROM execution") == [(None,)]

    def test_a_viewer_is_offered_nothing(self, pages: Hub, vera: Visitor) -> None:
        order_id = place(pages).json()["order_id"]

        assert "<form" not in vera.get(f"/orders/{order_id}")


class TestDecisions:
    def test_a_payments_call_that_was_done_is_decided_with_its_reference(
        self, hub_store: Store, otto: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with connected(hub_store, monkeypatch) as gateways:
            gateways.fault("alpha", *[{"reset": "after"}] * 2)
            payment = gateways.authorise()
        refused = otto.post("/decisions", "/decide", choice="done", reason="seen there")
        assert otto.status == 400
        assert "reference" in refused
        page = otto.post("/decisions", "/decide", choice="done", reason="seen there", ref="pay_alpha_authorise_1")

        assert "done , decided by airflow:otto" in text_of(page)
        assert payments.show(hub_store, payment.payment_id).state is PaymentState.AUTHORISED

    def test_another_decision_has_no_field_for_a_reference(self, pages: Hub, otto: Visitor) -> None:
        waiting(pages)

        assert 'name="ref"' not in otto.get("/decisions")

    @pytest.mark.parametrize("text", [SCRIPT, ATTRIBUTE])
    def test_one_shows_its_values_as_text_and_nobody_whom_they_are_about(
        self, pages: Hub, otto: Visitor, text: str
    ) -> None:
        of_a_workflow(pages, sku=text, new=2500, to="ada@example.com")
        html = otto.get("/decisions")

        assert text not in html
        assert f'<dt>sku</dt><dd class="mono">{escape(text)}</dd><dt>new</dt><dd class="mono">2500</dd>' in html
        assert '<dt>to</dt><dd class="mono">***</dd>' in html

    def test_one_is_made_once_by_who_may(self, pages: Hub, hub_store: Store, vera: Visitor, otto: Visitor) -> None:
        order_id, _ = waiting(pages)
        assert "Only operators and administrators may decide this" in text_of(vera.get("/decisions"))
        page = otto.post(f"/decisions?about={order_id}", "/decide", choice="failed", reason="looked it up")

        assert "failed , decided by airflow:otto" in text_of(page)
        assert query(hub_store, "SELECT choice, decided_by FROM decision") == [("failed", "airflow:otto")]
        assert "Nothing is waiting for a decision" in otto.get("/decisions")

    def test_who_may_not_is_refused_although_the_route_admits_them(self, pages: Hub, hub_store: Store) -> None:
        """A business user may decide some; each decision says who."""
        waiting(pages)
        uma, otto = Visitor(pages, "uma"), Visitor(pages, "otto")
        html = otto.get("/decisions")
        fields = {"session_token": token_in(uma.get("/decisions")), "choice": "failed", "reason": "x"}
        ((decision_id,),) = query(hub_store, "SELECT decision_id FROM decision")
        assert f"/decisions/{decision_id}/decide" in html
        url = f"/decisions/{decision_id}/decide"
        page = uma.send("POST", url, data=fields, headers={"Origin": pages.url})

        assert page.status_code == 403
        assert query(hub_store, "SELECT choice FROM decision") == [(None,)]


def token_in(html: str) -> str:
    found = re.search(r'name="session_token" value="(\w+)"', html)
    return found[1] if found else ""


class TestIntegrations:
    def test_one_is_paused_and_resumed(self, hub_store: Store, otto: Visitor) -> None:
        query(hub_store, SHOP)
        assert "Paused" in text_of(otto.post("/integrations/shop_eu", "/pause"))
        assert query(hub_store, "SELECT state FROM integration WHERE integration_id = 'shop_eu'") == [("paused",)]
        assert "Active" in text_of(otto.post("/integrations/shop_eu", "/resume"))

    def test_each_has_a_card(self, hub_store: Store, vera: Visitor) -> None:
        query(hub_store, SHOP)

        assert "Stripe EU Answers" in text_of(vera.get("/integrations"))

    def test_settings_are_written_as_people_write_them(self, hub_store: Store, vera: Visitor) -> None:
        query(hub_store, SHOP)
        query(
            hub_store, "UPDATE integration SET settings = %s::jsonb RETURNING 1", '{"of": {"name": "Möbel & <Söhne>"}}'
        )
        html = vera.get("/integrations/shop_eu")

        assert "Möbel &amp; &lt;Söhne&gt;" in html


class TestAlerts:
    def test_one_is_acknowledged(self, hub_store: Store, otto: Visitor, vera: Visitor) -> None:
        query(hub_store, ALERT, "3 events are dead", False)
        assert "Acknowledge" not in text_of(vera.get("/alerts")).replace("To acknowledge", "")
        page = otto.post("/alerts", "/acknowledge")

        assert "airflow:otto" in page
        assert "/hub/pages/dead-letters" in page

    def test_closed_ones_have_a_list_of_their_own(self, hub_store: Store, vera: Visitor) -> None:
        query(hub_store, ALERT, "3 events were dead", True)

        assert "No open alert" in vera.get("/alerts")
        assert "3 events were dead" in vera.get("/alerts?state=closed")


class TestTheAuditTrail:
    def test_a_reason_is_shown_to_operators_alone(self, pages: Hub, otto: Visitor, vera: Visitor) -> None:
        order_id = place(pages).json()["order_id"]
        otto.post(f"/orders/{order_id}", "/cancel", reason="Ada called")

        assert "Ada called" in otto.get("/audit?act=execution")
        assert "Ada called" not in vera.get("/audit?act=execution")
        assert "execution.cancel" in vera.get("/audit?actor=airflow%3Aotto&act=&subject=")


@pytest.mark.parametrize("text", [SCRIPT, ATTRIBUTE])
def test_no_text_from_outside_runs_in_a_page(pages: Hub, hub_store: Store, otto: Visitor, text: str) -> None:
    """In every field that another system or a person may have written."""
    order_id, _ = waiting(pages)
    query(hub_store, SHOP)
    query(hub_store, ALERT, text, False)
    publish(hub_store, stock(f"SKU{text}", 1, 5, note=text))
    query(
        hub_store,
        "UPDATE placed_order SET reference = %s, email = %s, customer_name = %s, reason = %s RETURNING 1",
        *[text] * 4,
    )
    query(hub_store, "UPDATE decision SET question = %s RETURNING 1", text)
    query(hub_store, "UPDATE execution_step SET message = %s RETURNING 1", text)
    query(
        hub_store,
        "UPDATE integration SET name = %s, settings = jsonb_build_object('note', %s::text) RETURNING 1",
        text,
        text,
    )
    paths = [
        "/overview",
        "/orders",
        f"/orders/{order_id}",
        "/decisions",
        "/integrations",
        "/integrations/shop_eu",
        "/alerts",
    ]
    event_ids = [
        f"/events/{epoch}-{position}" for epoch, position in query(hub_store, "SELECT epoch, position FROM event")
    ]

    for path in [*paths, "/events", *event_ids, "/audit"]:
        html = otto.get(path)
        assert otto.status == 200, f"{path}: {html}"
        assert text not in html, path


def test_a_document_has_no_empty_line_between_its_lines(hub_store: Store, otto: Visitor) -> None:
    publish(hub_store, stock("SKU-1", 1, 5))
    query(hub_store, DEAD_LETTER)
    for path in ("/events/1-1", "/dead-letters/1"):
        text = re.search(r'<pre class="document"[^>]*>(.*?)</pre>', otto.get(path), re.DOTALL)

        assert text
        assert "sku" in text[1]
        assert "\n\n" not in text[1]


class TestDeadLetters:
    def test_data_is_fixed_once_for_what_was_seen_and_read_strictly(self, hub_store: Store, otto: Visitor) -> None:
        publish(hub_store, stock("SKU-1", 1, 5))
        ((letter,), *_) = query(hub_store, DEAD_LETTER)
        page = f"/dead-letters/{letter}"
        html = otto.get(page)
        shown = re.search(r'name="shown" value="(\w+)"', html)
        text = re.search(r"<textarea[^>]*>(.*?)</textarea>", html, re.DOTALL)
        assert shown
        assert text
        data = json.loads(unescape(text[1]))
        otto.post(page, "/fix", data='{"a": NaN}')
        assert otto.status == 400
        otto.post(page, "/fix", data=json.dumps({**data, "available_quantity": 4}))
        assert otto.status == 303
        otto.post(page, "/fix", data=json.dumps({**data, "available_quantity": 3}), shown=shown[1])

        assert otto.status == 409
        ((edited,),) = query(hub_store, "SELECT edited_data FROM dead_letter")
        assert edited["available_quantity"] == 4


def _fail_task(metadata: Path, dag_id: str, run_id: str, task_id: str, reason: str | None) -> None:
    """Record in Airflow's metadata that a task failed, and what it left."""
    _task(metadata, dag_id, run_id, task_id, state="failed", try_number=2)
    with closing(sqlite3.connect(metadata)) as airflow, airflow:
        if reason:
            value = json.dumps(reason)
            _insert(airflow, "xcom", dag_id=dag_id, run_id=run_id, task_id=task_id, key=RUN_NOTE, value=value)


def _task(metadata: Path, dag_id: str, run_id: str, task_id: str, **values: object) -> None:
    with closing(sqlite3.connect(metadata)) as airflow, airflow:
        _insert(airflow, "task_instance", dag_id=dag_id, run_id=run_id, task_id=task_id, **values)


def _insert(airflow: sqlite3.Connection, table: str, **values: object) -> None:
    """Insert a row; what must have a value and has none given gets one that means nothing."""
    for _, name, kind, is_needed, default, _ in airflow.execute(f"PRAGMA table_info({table})").fetchall():
        if is_needed and default is None and name not in values:
            values[name] = uuid4().hex if kind.startswith("CHAR") else -1 if name == "map_index" else 0
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" for _ in values)
    airflow.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

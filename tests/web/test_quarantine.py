"""A person at the quarantine's pages: finds the cause, sees what a replay would do, fixes one or all, replays and discards."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any, ClassVar

import pytest
import requests
from psycopg.types.json import Jsonb

from crossdock.app.replays import EXECUTORS
from crossdock.db.database import Store
from crossdock.events.replay import service as replay_service
from tests.events.worlds import SUBSCRIBERS
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry
from tests.web.conftest import Visitor
from tests.web.hostile import ATTRIBUTE, SCRIPT

CAUSE = "/quarantine?stream=commercetools.inventory&cause=available_is_not_above_stock"


def rejected(store: Store, *ids: str, **changes: Any) -> None:
    """Records of which more is available than there is."""
    Triage(store).sync(
        *(entry(id=record_id, sku=f"SKU-{record_id}", quantityOnStock=3, **changes) for record_id in ids)
    )


def deliver(store: Store) -> None:
    """Carry out the open replay, as a delivery worker does."""
    ((replay_id,),) = query(store, "SELECT max(replay_id) FROM event_replay")
    replay_service.run_replay(store, replay_id, subscribers=SUBSCRIBERS, executors=EXECUTORS)


def states(store: Store) -> list[str]:
    return [state for (state,) in query(store, "SELECT DISTINCT state FROM quarantine_item ORDER BY 1")]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


class TestTheList:
    def test_it_shows_each_cause_with_its_records(self, hub_store: Store, vera: Visitor) -> None:
        rejected(hub_store, "a", "b")
        Triage(hub_store).sync(entry(id="c", sku=""))
        page = text_of(vera.get("/quarantine"))

        assert "available_is_not_above_stock 2" in page
        assert "sku_is_present 1" in page
        assert "SKU-a" in page, "the most frequent cause is open"
        assert "SKU-a" not in text_of(vera.get("/quarantine?stream=commercetools.inventory&cause=sku_is_present"))

    def test_the_link_of_a_message_opens_the_most_frequent_cause_of_its_stream(
        self, hub_store: Store, otto: Visitor
    ) -> None:
        rejected(hub_store, "a", "b")
        Triage(hub_store).sync(entry(id="c", sku=""))
        page = otto.get("/quarantine?stream=commercetools.inventory")

        assert "Replay all 2" in text_of(page)

    def test_an_empty_one_says_what_would_be_there(self, hub_store: Store, vera: Visitor) -> None:  # noqa: ARG002  an empty hub
        assert "Nothing is in quarantine" in vera.get("/quarantine")

    def test_a_viewer_sees_no_action(self, hub_store: Store, vera: Visitor) -> None:
        rejected(hub_store, "a")

        assert "Replay all" not in vera.get(CAUSE)

    def test_pages_neither_repeat_nor_leave_out(self, hub_store: Store, vera: Visitor) -> None:
        rejected(hub_store, *(f"{number:03}" for number in range(120)))
        found, path = [], CAUSE
        while path:
            html = vera.get(path)
            found += re.findall(r'class="row"[^>]*>SKU-(\d+)<', html)
            following = re.search(r'href="/hub/pages([^"]+)" rel="next"', html)
            path = following[1].replace("&amp;", "&") if following else ""

        assert found == [f"{number:03}" for number in range(120)]


class TestOneRecord:
    def test_the_failing_rule_is_marked_as_received_and_as_mapped(self, hub_store: Store, vera: Visitor) -> None:
        rejected(hub_store, "a")
        html = vera.get("/quarantine/1")

        assert re.findall(r"<mark>\s*&#34;(\w+)", html) == ["quantityOnStock", "availableQuantity"]
        assert re.findall(r'class="marked"><td[^>]*>(\w+)<', html) == ["quantity_on_stock", "available_quantity"]

    def test_a_check_says_whether_it_would_pass_and_saves_nothing(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        token = re.search(r'name="session_token" value="(\w+)"', otto.get("/quarantine/1"))
        assert token

        def verdict(record: str) -> str:
            sent = {"session_token": token[1], "record": record}
            url = f"{otto.hub.url}/hub/pages/quarantine/1/check"
            own = {"Origin": otto.hub.url}
            return text_of(otto.send("POST", url, data=sent, headers=own).text)

        assert "passes every rule" in verdict(entry(id="a", sku="SKU-a").decode())
        assert "available_is_not_above_stock" in verdict(entry(id="a", sku="SKU-a", quantityOnStock=1).decode())
        assert "is not JSON" in verdict("{")
        assert "has another id" in verdict(entry(id="b").decode())
        assert "`" not in verdict(entry(id="b").decode()), "a person reads code as code"
        assert query(hub_store, "SELECT edited FROM quarantine_item") == [(None,)]

    def test_it_is_fixed_and_replayed(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        fixed = entry(id="a", sku="SKU-a", quantityOnStock=9).decode()
        page = otto.post("/quarantine/1", "/fix", record=fixed, then="replay")
        assert otto.status == 303
        assert "Begun by airflow:otto" in text_of(page)
        deliver(hub_store)

        assert "Replayed and closed" in otto.get("/replays/1")
        assert query(hub_store, "SELECT quantity_on_stock FROM inventory") == [(9,)]
        done = text_of(otto.get("/quarantine/1"))
        assert "airflow:otto fixed quantityOnStock: 3 → 9" in done
        assert "airflow:otto replayed Replay 1" in done

    def test_an_edit_of_what_somebody_else_has_edited_is_refused(self, hub_store: Store, otto: Visitor) -> None:
        """Two tabs show the same record; the second one would undo what the first one saved."""
        rejected(hub_store, "a")
        shown = re.search(r'name="shown" value="(\w+)"', otto.get("/quarantine/1"))
        assert shown
        otto.post("/quarantine/1", "/fix", record=entry(id="a", sku="SKU-a", quantityOnStock=9).decode())
        assert otto.status == 303
        late = entry(id="a", sku="SKU-a", quantityOnStock=8).decode()
        page = otto.post("/quarantine/1", "/fix", record=late, shown=shown[1])

        assert otto.status == 409
        assert "It was edited after you opened the page" in page
        ((edited,),) = query(hub_store, "SELECT edited FROM quarantine_item")
        assert json.loads(edited)["quantityOnStock"] == 9

    @pytest.mark.parametrize(
        "record",
        [
            "{",
            '{"id": NaN}',
            '{"id": 1, "id": 2}',
            '{"id": "\\u0000"}',
            "[" * 100 + "]" * 100,
            "[" * 100_000,
            '{"a": 1e999}',
        ],
    )
    def test_what_the_api_would_not_read_is_refused(self, hub_store: Store, otto: Visitor, record: str) -> None:
        rejected(hub_store, "a", "b")
        otto.post("/quarantine/1", "/fix", record=record)
        assert otto.status == 400
        for fields in ({"record": record, "item_id": "1"}, {"record": entry(id="a").decode(), "item_id": "x"}):
            otto.post(CAUSE, "/quarantine-previews", **fields)
            assert otto.status == 400, fields
        otto.post(CAUSE, "/quarantine-previews", record=entry(id="a").decode(), item_id="9" * 30)
        assert otto.status == 400

    def test_card_data_is_refused_and_an_order_number_is_not(self, hub_store: Store, otto: Visitor) -> None:
        """As over REST: whether a long number is a card's, its field says."""
        rejected(hub_store, "a")
        number = "4111111111111111"
        otto.post("/quarantine/1", "/fix", record=entry(id="a", sku="SKU-a", custom={"orderNumber": number}).decode())
        assert otto.status == 303
        otto.post("/quarantine/1", "/fix", record=entry(id="a", sku="SKU-a", custom={"note": number}).decode())
        assert otto.status == 400

    def test_an_edit_that_is_shown_is_recorded(self, hub_store: Store, otto: Visitor) -> None:
        """The record as received may lack what the edit has."""
        rejected(hub_store, "a")
        query(
            hub_store,
            "UPDATE quarantine_item SET dataset = 'customers', raw = %s, edited = %s RETURNING 1",
            b'{"id": "a", "version": 1}',
            b'{"id": "a", "version": 1, "email": "ada@example.com"}',
        )
        assert "ada@example.com" in otto.get("/quarantine/1")
        revealed = query(hub_store, "SELECT detail->'fields' FROM audit_entry WHERE act = 'personal_data.reveal'")

        assert revealed == [(["email"],)]

    def test_it_is_discarded_with_a_reason(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        assert "Write why" in otto.post("/quarantine/1", "/discard")
        otto.post("/quarantine/1", "/discard", reason="a test article")

        assert states(hub_store) == ["discarded"]
        acts = query(
            hub_store, "SELECT actor, act, detail->>'reason' FROM audit_entry WHERE act <> 'personal_data.reveal'"
        )
        assert acts == [("airflow:otto", "quarantine.discard", "a test article")]


class TestAllOfACause:
    def test_a_preview_changes_nothing_and_says_what_would_happen(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a", "b")
        page = text_of(otto.post(CAUSE, "/quarantine-previews"))

        assert "Would load 0, still bad 2." in page
        assert states(hub_store) == ["open"]
        assert query(hub_store, "SELECT count(*) FROM event_replay") == [(0,)]

    def test_one_edit_is_made_to_all_like_it_and_replayed(self, hub_store: Store, otto: Visitor) -> None:
        """What helps one helps the others, but for those that are wrong in another way."""
        rejected(hub_store, "a", "b")
        rejected(hub_store, "c", availableQuantity=30)
        fixed = entry(id="a", sku="SKU-a", quantityOnStock=12).decode()
        preview = send_change(otto, fixed)
        assert "Would load 2, still bad 1." in text_of(preview)
        assert query(hub_store, "SELECT DISTINCT edited FROM quarantine_item") == [(None,)]

        send_previewed(otto, preview)
        deliver(hub_store)

        assert sorted(query(hub_store, "SELECT sku, quantity_on_stock FROM inventory")) == [
            ("SKU-a", 12),
            ("SKU-b", 12),
        ]
        assert states(hub_store) == ["open", "replayed"]
        assert "Ended, some failed again" in otto.get("/replays/1")
        fixes = query(
            hub_store, "SELECT count(*) FROM audit_entry WHERE act = 'quarantine.fix' AND actor = 'airflow:otto'"
        )
        assert fixes == [(3,)]

    def test_other_streams_with_the_same_cause_stay(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a", "b")
        query(hub_store, "UPDATE quarantine_item SET integration = 'shop_eu' WHERE record_id = 'b' RETURNING 1")
        otto.post(CAUSE, "/quarantine-discards", reason="no longer sold")

        assert query(hub_store, "SELECT record_id, state FROM quarantine_item ORDER BY 1") == [
            ("a", "discarded"),
            ("b", "open"),
        ]


def send_change(visitor: Visitor, record: str) -> str:
    """Press the button that previews the change of the first record for all."""
    fields = hidden_of(visitor.get("/quarantine/1"))
    return sent(visitor, "/quarantine-previews", {**fields, "record": record})


def send_previewed(visitor: Visitor, preview: str) -> str:
    return sent(visitor, "/quarantine-replays", hidden_of(preview))


def hidden_of(html: str) -> dict[str, str]:
    return {
        name: unescape(value) for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html)
    }


def sent(visitor: Visitor, action: str, fields: dict[str, str], **headers: str) -> str:
    own = {"Origin": visitor.hub.url, **headers}
    return visitor.send("POST", f"{visitor.hub.url}/hub/pages{action}", data=fields, headers=own).text


class TestAForeignForm:
    """A browser sends the session's cookie with the form of any site."""

    FIELDS: ClassVar = {"stream": "commercetools.inventory", "cause": "available_is_not_above_stock", "reason": "x"}

    def refused(self, visitor: Visitor, **options: Any) -> str:
        url = f"{visitor.hub.url}/hub/pages/quarantine-discards"
        cookies = {"_token": visitor.hub.token(visitor.name)}
        answer = requests.post(url, cookies=cookies, timeout=60, **options)
        assert answer.status_code == 403, answer.text
        return text_of(answer.text)

    def test_without_the_token_of_the_session_it_is_refused(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        own = {"Origin": otto.hub.url}
        for token in ({}, {"session_token": ""}, {"session_token": "0" * 64}):
            page = self.refused(otto, data={**self.FIELDS, **token}, headers=own)
            assert "Nothing was changed. Open the page again" in page
        assert states(hub_store) == ["open"]

    def test_the_token_of_another_session_is_refused(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        of_admin = hidden_of(Visitor(otto.hub, "admin").get(CAUSE))["session_token"]

        self.refused(otto, data={**self.FIELDS, "session_token": of_admin}, headers={"Origin": otto.hub.url})
        assert states(hub_store) == ["open"]

    def test_the_token_of_a_person_outlives_the_cookie_of_the_session(self, hub_store: Store, otto: Visitor) -> None:
        """Auth managers exchange the cookie for a new one while a person types; what was typed must not be lost."""
        rejected(hub_store, "a")
        fields = {**hidden_of(otto.get(CAUSE)), "reason": "x"}
        answer = requests.post(
            f"{otto.hub.url}/auth/token", json={"username": "otto", "password": "ottootto"}, timeout=60
        )
        renewed = answer.json()["access_token"]
        assert renewed != otto.hub.token("otto")
        url, own = f"{otto.hub.url}/hub/pages/quarantine-discards", {"Origin": otto.hub.url}
        sent = requests.post(
            url, data=fields, cookies={"_token": renewed}, headers=own, timeout=60, allow_redirects=False
        )

        assert sent.status_code == 303
        assert states(hub_store) == ["discarded"]

    @pytest.mark.parametrize(
        "headers",
        [{}, {"Origin": "null"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "own"}],
    )
    def test_from_another_site_it_is_refused_with_the_right_token_too(
        self, hub_store: Store, otto: Visitor, headers: dict[str, str]
    ) -> None:
        rejected(hub_store, "a")
        fields = {**hidden_of(otto.get(CAUSE)), **self.FIELDS}
        shown = {name: otto.hub.url if value == "own" else value for name, value in headers.items()}

        self.refused(otto, data=fields, headers=shown)
        assert states(hub_store) == ["open"]

    def test_the_same_form_from_our_own_page_is_accepted(self, hub_store: Store, otto: Visitor) -> None:
        """Else the tests above would prove nothing."""
        rejected(hub_store, "a")
        otto.post(CAUSE, "/quarantine-discards", reason="x")

        assert states(hub_store) == ["discarded"]

    def test_card_data_in_a_form_is_refused(self, hub_store: Store, otto: Visitor) -> None:
        rejected(hub_store, "a")
        page = otto.post("/quarantine/1", "/discard", reason="card 4111 1111 1111 1111 was charged")

        assert otto.status == 400
        assert "4111" not in page
        assert states(hub_store) == ["open"]


class TestEscaping:
    @pytest.mark.parametrize("text", [SCRIPT, ATTRIBUTE])
    def test_no_text_of_a_record_runs_in_a_page(self, hub_store: Store, otto: Visitor, text: str) -> None:
        Triage(hub_store).sync(
            entry(id=f"a{text}", sku=f"b{text}", quantityOnStock=3, supplyChannel={"typeId": text, "id": text})
        )
        query(
            hub_store,
            "UPDATE quarantine_item SET failures = jsonb_set(failures, '{0,message}', %s) RETURNING 1",
            jsonb(text),
        )
        query(hub_store, "UPDATE sync_run SET error = %s RETURNING 1", text)
        ((run_id,),) = query(hub_store, "SELECT run_id FROM sync_run")

        for path in ("/overview", "/quarantine", "/quarantine/1", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/rows"):
            html = otto.get(path)
            assert otto.status == 200
            assert text not in html, path
            assert 'onerror="' not in html


def jsonb(value: Any) -> Any:
    return Jsonb(value)

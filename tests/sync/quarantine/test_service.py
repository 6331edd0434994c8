"""What a person does with a record that was not accepted: fix it, replay it, or discard it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, ItemsView
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from crossdock.core.errors import BadRequest, Conflict, LeaseHeld, NotFound
from crossdock.db import leases
from crossdock.db.database import Store, StoreRefused, StoreUnavailable
from crossdock.sync import batches, ledger
from crossdock.sync.model import Mode, RunState, SyncRequest
from crossdock.sync.quarantine import replay as quarantine_replay
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.quarantine.repository import Item
from crossdock.sync.stream import LEASE_LIFE
from crossdock.sync.validate_rows import validate_rows
from tests.shop import query
from tests.streams import INVENTORY, stream_of
from tests.sync.quarantine.selected import selected
from tests.sync.records import entry, page

ANNA = "anna@example.test"


@dataclass
class Triage:
    """A hub with records in it and in quarantine, and a person at its quarantine_service."""

    store: Store
    batch_no: int = field(default=0)

    def sync(self, *raws: bytes) -> None:
        """The records as a sync brings them."""
        key = leases.LeaseKey("commercetools", "inventory")
        content = validate_rows(INVENTORY, [page(*raws)])
        with self.store.transaction() as work:
            run = ledger.start(work, key, SyncRequest(limit=1), mode=Mode.DELTA)
            leases.take(work, key, run.run_id, LEASE_LIFE)
            batches.add(work, run.run_id, 0, records=len(raws))
            (batch,) = batches.of_run(work, run.run_id)
            batches.load(work, INVENTORY.dataset, ledger.get(work, run.run_id), batch, content)
            ledger.finish(work, run.run_id, RunState.PARTIAL if content.rejected else RunState.DONE)
            leases.release(work, key, run.run_id)

    def items(self, state: str | None = "open") -> list[Item]:
        with self.store.transaction() as work:
            return quarantine_repository.find(work, state=state)

    def edit(self, item: Item, **changes: Any) -> list[str]:
        return [
            failure.rule
            for failure in quarantine_service.edit_fields(
                self.store, item.item_id, changes, streams=stream_of, actor=ANNA
            )
        ]

    def replay(self, *items: Item) -> Any:
        (report,) = quarantine_service.replay_all(self.store, items or self.items(), streams=stream_of, actor=ANNA)
        return report

    def states(self) -> list[str]:
        return [item.state for item in self.items(state=None)]

    def acts(self) -> list[str]:
        return [act for (act,) in query(self.store, "SELECT act FROM audit_entry ORDER BY entry_id")]

    def stock(self) -> dict[str, tuple[int, int]]:
        rows = query(self.store, "SELECT id, version, quantity_on_stock FROM inventory")
        return {record_id: (version, quantity) for record_id, version, quantity in rows}


@pytest.fixture
def anna(store: Store) -> Triage:
    return Triage(store)


def test_an_edited_record_goes_into_the_hub_and_its_item_is_closed(anna: Triage) -> None:
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a"))
    (item,) = anna.items()

    assert anna.edit(item, quantityOnStock=5) == []
    report = anna.replay()

    assert (report.state, report.counts.read, report.counts.inserted) == (RunState.DONE, 1, 1)
    assert anna.stock() == {"a": (3, 5)}
    assert anna.states() == ["replayed"]
    assert query(anna.store, "SELECT count(*) FROM event") == [(1,)]


def test_what_is_closed_is_neither_edited_nor_selected_and_says_so(anna: Triage) -> None:
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a"))
    (item,) = anna.items()
    quarantine_service.discard(anna.store, item.item_id, "no longer sold", actor=ANNA)

    with pytest.raises(Conflict, match=f"Quarantine item {item.item_id} is discarded; only open items can be edited"):
        anna.edit(item, quantityOnStock=5)
    with pytest.raises(Conflict, match=f"item {item.item_id} is discarded; only open items can be selected"):
        quarantine_service.choose(anna.store, [item.item_id], cause=None, everything=False)
    with pytest.raises(NotFound, match="No quarantine item is open"):
        quarantine_replay.request(anna.store, [], cause=None, everything=True, actor=ANNA)


def test_what_was_edited_stays_beside_what_came(anna: Triage) -> None:
    """A person may need to know what the source had sent."""
    raw = entry(sku="", id="a")
    anna.sync(raw)
    anna.edit(anna.items()[0], sku="SIDEBOARD")
    anna.replay()

    (item,) = anna.items(state=None)
    assert item.raw == raw
    assert json.loads(item.edited or b"")["sku"] == "SIDEBOARD"
    assert (item.closed_by or "").startswith(ANNA)


def test_a_record_that_the_database_refuses_stays_open_and_the_others_are_replayed(anna: Triage) -> None:
    """One that no table can hold would fail each replay of its slice."""
    anna.sync(entry(id="bad", sku=""), entry(id="good", sku=""))
    for item in anna.items():
        anna.edit(item, sku=f"SKU-{item.record_id}")
    with anna.store.transaction() as work:
        work.execute(b"ALTER TABLE inventory ADD CHECK (id <> 'bad')")

    anna.replay(*anna.items())

    (kept,) = anna.items()
    assert (kept.record_id, kept.cause) == ("bad", "record_cannot_be_stored")
    assert list(anna.stock()) == ["good"]


def test_a_record_that_still_fails_stays_open_with_its_new_reason(anna: Triage) -> None:
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a"))
    (item,) = anna.items()

    assert anna.edit(item, quantityOnStock=5, sku="") == ["sku_is_present"]
    report = anna.replay()

    assert (report.state, report.counts.rejected) == (RunState.PARTIAL, 1)
    assert [(item.cause, item.state) for item in anna.items()] == [("sku_is_present", "open")]
    assert anna.stock() == {}


@pytest.mark.parametrize(
    "raw",
    [b"null", b"4711", entry(id=None), entry(id="a", version=True), entry(id="a", quantityOnStock=float("nan"))],
    ids=["null", "number", "no id", "no version", "NaN"],
)
def test_a_record_that_cannot_even_be_read_stays_the_one_item_it_is(anna: Triage, raw: bytes) -> None:
    """Replayed as it came, in company: it is neither lost as done nor kept a second time."""
    anna.sync(raw, entry(id="b", custom=float("inf")), entry(id="c", sku="\x00"))

    anna.replay()

    assert anna.states() == ["open", "open", "open"]


def test_an_item_that_got_its_id_by_an_edit_and_fails_again_stays_one_item(anna: Triage) -> None:
    """It was identified by a digest. By the record's own ID it would be closed and quarantined a second time."""
    anna.sync(entry(id=None, sku="", quantityOnStock=-2, availableQuantity=-1))
    (item,) = anna.items()
    with anna.store.transaction() as work:
        quarantine_repository.save_edit(work, item.item_id, b" " + entry(id="new", sku="") + b" ")

    report = anna.replay()

    assert (report.counts.rejected, anna.states()) == (1, ["open"])
    assert anna.acts() == ["quarantine.replay: failed again"]


def test_one_item_of_many_is_replayed_alone(anna: Triage) -> None:
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""))
    for item in anna.items():
        anna.edit(item, sku="SIDEBOARD")

    anna.replay(*selected(anna.store, [anna.items()[0].item_id], cause=None, everything=False))

    assert anna.states() == ["replayed", "open"]


def test_items_are_replayed_by_cause(anna: Triage) -> None:
    """A thousand records with one cause are one decision."""
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""), entry(id="c", quantityOnStock=-2, availableQuantity=-1))
    for item in anna.items():
        anna.edit(item, sku="SIDEBOARD", quantityOnStock=12)

    anna.replay(*selected(anna.store, [], cause="sku_is_present", everything=False))

    assert anna.states() == ["replayed", "replayed", "open"]


def test_all_open_items_are_replayed_at_once_and_each_has_its_own_verdict(anna: Triage) -> None:
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""))
    anna.edit(anna.items()[0], sku="SIDEBOARD")

    report = anna.replay(*selected(anna.store, [], cause=None, everything=True))

    assert (report.counts.inserted, report.counts.rejected) == (1, 1)
    assert anna.states() == ["replayed", "open"]
    assert anna.acts() == ["quarantine.fix", "quarantine.replay: replayed", "quarantine.replay: failed again"]


@pytest.mark.parametrize(
    ("ids", "cause", "everything"), [([], None, False), ([1], "x", False), ([1], None, True), ([], "x", True)]
)
def test_a_choice_is_made_in_one_way(anna: Triage, ids: list[int], cause: str | None, everything: bool) -> None:
    with pytest.raises(BadRequest, match="in exactly one way"):
        selected(anna.store, ids, cause=cause, everything=everything)


def test_a_closed_item_is_neither_selected_nor_edited_nor_discarded(anna: Triage) -> None:
    anna.sync(entry(id="a", sku=""))
    (item,) = anna.items()
    quarantine_service.discard(anna.store, item.item_id, "a test entry", actor=ANNA)

    with pytest.raises(Conflict, match="discarded"):
        selected(anna.store, [item.item_id], cause=None, everything=False)
    with pytest.raises(Conflict, match="discarded"):
        anna.edit(item, sku="SIDEBOARD")
    with pytest.raises(Conflict, match="discarded"):
        quarantine_service.discard(anna.store, item.item_id, "again", actor=ANNA)
    with pytest.raises(NotFound, match="There is no quarantine item 4711"):
        quarantine_service.discard(anna.store, 4_711, "no such", actor=ANNA)


def test_an_item_that_was_closed_or_edited_after_it_was_selected_is_not_replayed(anna: Triage) -> None:
    """What one person discards must not come into the hub by another's older list."""
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""))
    for item in anna.items():
        anna.edit(item, sku="SIDEBOARD")
    first, second = anna.items()
    quarantine_service.discard(anna.store, first.item_id, "a test entry", actor="ben")
    quarantine_service.edit_fields(anna.store, second.item_id, {"sku": "SHELF"}, streams=stream_of, actor="ben")

    for outdated in (first, second):
        with pytest.raises(BadRequest, match="changed in the meantime"):
            anna.replay(outdated)

    assert anna.stock() == {}
    assert anna.states() == ["discarded", "open"]


class Meanwhile(dict[str, Any]):
    """Changes that are read while somebody else makes their own."""

    def __init__(self, others: Callable[[], object], **changes: Any) -> None:
        super().__init__(changes)
        self._others = others

    def items(self) -> ItemsView[str, Any]:
        self._others()
        return super().items()


def test_of_two_edits_at_the_same_moment_the_second_is_refused(anna: Triage) -> None:
    """It would undo what the first one saved, and nobody would notice."""
    anna.sync(entry(id="a", sku=""))
    (item,) = anna.items()
    of_ben = Meanwhile(lambda: anna.edit(item, sku="SIDEBOARD"), quantityOnStock=9)

    with pytest.raises(Conflict, match="at the same moment"):
        quarantine_service.edit_fields(anna.store, item.item_id, of_ben, streams=stream_of, actor="ben")
    assert json.loads(anna.items()[0].edited or b"")["sku"] == "SIDEBOARD"


def test_an_edit_is_compared_with_what_nobody_can_change_any_more(anna: Triage) -> None:
    """Between a look and the save of another transaction there would be room for somebody else's edit."""
    anna.sync(entry(id="a", sku=""))
    (item,) = anna.items()
    seen = []

    def is_locked(now: Item) -> None:
        with anna.store.another().transaction() as work, pytest.raises(psycopg.errors.LockNotAvailable):
            work.execute("SELECT FROM quarantine_item WHERE item_id = %s FOR UPDATE NOWAIT", [now.item_id])
        seen.append(now.item_id)

    edited = entry(id="a", sku="SHELF")
    with suppress(StoreUnavailable, StoreRefused):
        quarantine_service.edit(
            anna.store, item.item_id, edited, streams=stream_of, actor=ANNA, refuse_changed=is_locked
        )
    assert seen == [item.item_id]


@pytest.mark.parametrize(
    "edited",
    [entry(id="b"), entry(id="a", version=4), entry(id=None), b"[]", b"4711", b"{", b"\xff"],
    ids=["id", "version", "no id", "list", "number", "cut", "no text"],
)
def test_a_record_is_edited_and_not_replaced_by_another(anna: Triage, edited: bytes) -> None:
    """It would overwrite a record that no person has checked."""
    anna.sync(entry(id="a", sku=""))

    with pytest.raises(BadRequest, match="The edited record"):
        quarantine_service.edit(anna.store, anna.items()[0].item_id, edited, streams=stream_of, actor=ANNA)

    assert (anna.items()[0].edited, anna.acts()) == (None, [])


def test_an_item_that_is_not_a_record_cannot_be_edited(anna: Triage) -> None:
    anna.sync(b"4711")

    with pytest.raises(BadRequest, match="Discard"):
        quarantine_service.edit(anna.store, anna.items()[0].item_id, entry(id="a"), streams=stream_of, actor=ANNA)
    with pytest.raises(BadRequest, match="not an object"):
        anna.edit(anna.items()[0], sku="SIDEBOARD")


def test_a_field_is_named_by_its_path(anna: Triage) -> None:
    anna.sync(entry(id="a", supplyChannel={}))
    (item,) = anna.items()

    assert anna.edit(item, **{"supplyChannel.id": "munich"}) == []
    with pytest.raises(BadRequest, match="'sku' is not an object"):
        anna.edit(item, **{"sku.name": "x"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantityOnStok": 5}, "Did you mean quantityOnStock"),
        ({"zzz": 5}, r'Fields: id \(received "a"\), .*quantityOnStock \(received -2\), .*createdBy, custom'),
        ({"supplyChannel.typeIdd": "x"}, r"Did you mean supplyChannel\.typeId\?"),
    ],
)
def test_a_field_that_the_record_type_does_not_know_is_refused_with_the_nearest(
    anna: Triage, changes: dict[str, Any], said: str
) -> None:
    """A slip of the pen would look like a fix, and stay in the record forever."""
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a"))
    (item,) = anna.items()

    with pytest.raises(BadRequest, match=said):
        anna.edit(item, **changes)
    with pytest.raises(BadRequest, match=r"not a field of commercetools.inventory records"):
        quarantine_service.edit(
            anna.store, item.item_id, entry(id="a", quantityOnStok=5), streams=stream_of, actor=ANNA
        )

    assert (anna.items()[0].edited, anna.acts()) == (None, [])


def test_a_field_that_came_or_that_the_platform_promises_is_known(anna: Triage) -> None:
    """The source's contract has more fields than the hub reads, and a source may send more than that."""
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a", shelf="b7"))
    (item,) = anna.items()

    edits = {"shelf": "b8", "minCartQuantity": 2, "custom": {"fields": {"a": 1}}, "quantityOnStock": 5}

    assert anna.edit(item, **edits, supplyChannel={"typeId": "channel", "id": "berlin"}) == []


def test_a_record_edited_back_to_its_original_has_no_edit(anna: Triage) -> None:
    """What one set by mistake can be taken back."""
    anna.sync(entry(quantityOnStock=-2, availableQuantity=-1, id="a"))
    (item,) = anna.items()
    anna.edit(item, quantityOnStock=5)

    assert anna.edit(item, quantityOnStock=-2) != []

    assert anna.items()[0].edited is None


def test_items_of_a_cause_are_discarded_together_each_with_its_reason(anna: Triage) -> None:
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""), entry(id="c", quantityOnStock=-2, availableQuantity=-1))
    chosen = [item.item_id for item in selected(anna.store, [], cause="sku_is_present", everything=False)]
    quarantine_service.discard(anna.store, chosen[0], "seen alone", actor="ben")

    found = quarantine_service.discard_all(anna.store, chosen, "no longer sold", actor=ANNA)

    assert (found.chosen, found.closed) == (2, (chosen[1],))
    assert anna.states() == ["discarded", "discarded", "open"]
    entries = query(anna.store, "SELECT actor, subject, detail->>'reason' FROM audit_entry ORDER BY entry_id")
    assert entries == [
        ("ben", f"quarantine/{chosen[0]}", "seen alone"),
        (ANNA, f"quarantine/{chosen[1]}", "no longer sold"),
    ]
    with pytest.raises(BadRequest, match="reason why"):
        quarantine_service.discard_all(anna.store, chosen, " ", actor=ANNA)


def test_a_newer_version_of_the_source_wins_over_what_was_edited(anna: Triage) -> None:
    """E13: the person fixed what is no longer so; the edit stays on the item."""
    anna.sync(entry(id="a", version=3, sku=""))
    anna.edit(anna.items()[0], sku="SIDEBOARD", quantityOnStock=11)
    chosen = anna.items()
    anna.sync(entry(id="a", version=4, quantityOnStock=40))

    assert anna.states() == ["superseded"]
    with pytest.raises(BadRequest):
        anna.replay(*chosen)
    assert anna.stock() == {"a": (4, 40)}
    (item,) = anna.items(state=None)
    assert json.loads(item.edited or b"")["quantityOnStock"] == 11


def test_of_two_versions_that_are_both_edited_the_newer_stays(anna: Triage) -> None:
    anna.sync(entry(id="a", version=3, sku=""))
    anna.sync(entry(id="a", version=5, sku="", quantityOnStock=50))
    for item in anna.items():
        anna.edit(item, sku="SIDEBOARD")

    report = anna.replay()

    assert (report.counts.read, report.counts.inserted, report.counts.stale) == (2, 1, 1)
    assert anna.stock() == {"a": (5, 50)}
    assert anna.states() == ["replayed", "replayed"]


def test_a_replayed_version_that_the_source_still_sends_is_known(anna: Triage) -> None:
    """The next sync neither undoes the person's work nor requires it again."""
    raw = entry(id="a", sku="")
    anna.sync(raw)
    anna.edit(anna.items()[0], sku="SIDEBOARD")
    anna.replay()

    anna.sync(raw)

    assert anna.items() == []
    assert query(anna.store, "SELECT sku FROM inventory") == [("SIDEBOARD",)]


def test_discarding_keeps_the_record_and_the_reason(anna: Triage) -> None:
    anna.sync(entry(id="a", sku=""))
    (item,) = anna.items()

    quarantine_service.discard(anna.store, item.item_id, "a test entry", actor=ANNA)

    assert anna.states() == ["discarded"]
    assert query(anna.store, "SELECT actor, act, subject, detail->>'reason' FROM audit_entry") == [
        (ANNA, "quarantine.discard", f"quarantine/{item.item_id}", "a test entry")
    ]


def test_every_act_has_one_audit_entry(anna: Triage) -> None:
    """I14: as many entries as changes a person made, in their order."""
    anna.sync(entry(id="a", sku=""), entry(id="b", sku=""))
    first, second = anna.items()
    anna.edit(first, sku="SIDEBOARD")
    anna.replay(anna.items()[0])
    quarantine_service.discard(anna.store, second.item_id, "a test entry", actor=ANNA)

    assert anna.acts() == ["quarantine.fix", "quarantine.replay: replayed", "quarantine.discard"]
    assert query(anna.store, "SELECT DISTINCT actor FROM audit_entry") == [(ANNA,)]


def test_a_replay_by_two_people_at_once_has_one_effect(anna: Triage, hub_dsn: str) -> None:
    anna.sync(entry(id="a", sku=""))
    anna.edit(anna.items()[0], sku="SIDEBOARD")
    chosen = anna.items()
    together = threading.Barrier(2)
    outcomes: list[str] = []

    def replay() -> None:
        with Store(hub_dsn) as own:
            query(own, "SELECT 1")
            together.wait(10)
            try:
                quarantine_service.replay_all(own, chosen, streams=stream_of, actor=ANNA)
                outcomes.append("replayed")
            except (BadRequest, Conflict, LeaseHeld):
                outcomes.append("refused")

    people = [threading.Thread(target=replay) for _ in range(2)]
    for person in people:
        person.start()
    for person in people:
        person.join(30)

    assert sorted(outcomes) == ["refused", "replayed"]
    assert query(anna.store, "SELECT count(*) FROM event") == [(1,)]
    assert anna.acts() == ["quarantine.fix", "quarantine.replay: replayed"]
    assert query(anna.store, "SELECT count(*) FROM sync_run WHERE mode = 'replay'") == [(1,)]


def test_a_replay_whose_row_is_in_use_changes_nothing_and_can_be_tried_again(anna: Triage, hub_dsn: str) -> None:
    """Left open for the next sync, the person's work would be lost: the source does not have it."""
    anna.sync(entry(id="a", version=2))
    anna.sync(entry(id="a", version=3, sku=""))
    anna.edit(anna.items()[0], sku="SIDEBOARD")

    with psycopg.connect(hub_dsn) as other:
        other.execute("SELECT FROM hub.inventory FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="again"):
            anna.replay()

    assert anna.states() == ["open"]
    assert anna.acts() == ["quarantine.fix"]
    assert anna.replay().counts.updated == 1


def test_unprintable_characters_are_made_visible() -> None:
    assert quarantine_service.readable(b'{"sku":"a\\u0000\\ud83d","n":NaN,"list":["\\ud800"]}') == {
        "sku": "a\\u0000\\ud83d",
        "n": "NaN",
        "list": ["\\ud800"],
    }


def test_an_edit_survives_that_its_bad_version_is_read_again(anna: Triage) -> None:
    """Syncs run every few minutes: a person who edits ten records before a replay would lose nine edits."""
    raw = entry(id="a", sku="")
    anna.sync(raw)
    anna.edit(anna.items()[0], sku="SIDEBOARD")

    anna.sync(raw)
    anna.replay()

    assert query(anna.store, "SELECT sku FROM inventory") == [("SIDEBOARD",)]
    assert anna.states() == ["replayed"]


def test_an_item_closes_when_its_very_version_is_loaded_after_all(anna: Triage) -> None:
    """A rule was relaxed, and the next sync accepts the same version: nothing is left for a person to do."""
    anna.sync(entry(id="a", version=3, sku=""), entry(id="b", version=3, sku=""))

    anna.sync(entry(id="a", version=3), entry(id="b", version=2))

    assert [(item.record_id, item.state) for item in anna.items(state=None)] == [("a", "superseded"), ("b", "open")]


def test_the_audit_trail_says_what_an_edit_changed(anna: Triage) -> None:
    """Each from what it was at the time: two edits of one field are two entries that differ."""
    anna.sync(entry(quantityOnStock=-377))
    (item,) = anna.items()
    for quantity in (-3, 5):
        anna.edit(item, quantityOnStock=quantity)

    details = query(anna.store, "SELECT detail FROM audit_entry WHERE act = 'quarantine.fix' ORDER BY entry_id")
    assert [detail for (detail,) in details] == [
        {"stream": "commercetools.inventory", "changed": {"quantityOnStock": {"from": before, "to": after}}}
        for before, after in ((-377, -3), (-3, 5))
    ]


def test_of_a_field_that_the_hub_does_not_map_the_trail_has_no_value(anna: Triage) -> None:
    """The shop's own fields may name a person. The trail is kept for ever, and viewers may read it."""
    anna.sync(entry(quantityOnStock=-377, custom={"fields": {"keeper": "Ada Lovelace"}}))
    anna.edit(anna.items()[0], quantityOnStock=5, custom={"fields": {"keeper": "Grace Hopper"}})

    ((detail,),) = query(anna.store, "SELECT detail FROM audit_entry WHERE act = 'quarantine.fix'")
    assert detail["changed"] == {
        "custom.fields.keeper": {"from": "***", "to": "***"},
        "quantityOnStock": {"from": -377, "to": 5},
    }


def test_an_edit_of_text_that_no_database_holds_is_recorded(anna: Triage) -> None:
    anna.sync(entry(sku="CHEST").replace(b"CHEST", b"CHEST\\u0000\\ud800"))
    anna.edit(anna.items()[0], sku="CHEST")

    ((detail,),) = query(anna.store, "SELECT detail FROM audit_entry WHERE act = 'quarantine.fix'")
    assert detail["changed"] == {"sku": {"from": "CHEST\\u0000\\ud800", "to": "CHEST"}}

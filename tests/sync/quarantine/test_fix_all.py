"""One edit for all records of a cause: what it would do, what it changes, and what it leaves alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.sync.quarantine import fix_all
from tests.streams import stream_of
from tests.sync.quarantine.test_service import ANNA, Triage
from tests.sync.records import entry


@pytest.fixture
def anna(store: Store) -> Triage:
    return Triage(store)


def ids(anna: Triage) -> list[int]:
    return [item.item_id for item in anna.items()]


class TestWhatAnEditSets:
    @pytest.mark.parametrize(
        ("before", "after", "changes"),
        [
            ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
            ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a.c": 3}),
            ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
            ({"a": 1}, {"a": 1, "new": {"x": 1}}, {"new": {"x": 1}}),
            ({"a": {"b": 1}}, {"a": None}, {"a": None}),
            ({"a": 1}, {"a": 1}, {}),
            ({"a": True}, {"a": 1}, {"a": 1}),
            ({"a": Decimal("1.0")}, {"a": 1}, {"a": 1}),
        ],
    )
    def test_it_is_each_field_with_its_new_value(self, before: Any, after: Any, changes: Any) -> None:
        assert fix_all.changes_between(before, after) == changes

    def test_a_removed_field_cannot_be_said_of_others(self) -> None:
        with pytest.raises(BadRequest, match=r"removes a\.b"):
            fix_all.changes_between({"a": {"b": 1}}, {"a": {}})

    def test_nor_a_new_name_with_a_dot(self) -> None:
        with pytest.raises(BadRequest, match="dot in its name"):
            fix_all.changes_between({"a": 1}, {"a": 1, "b.c": 2})


class TestThePreview:
    def test_it_counts_and_saves_nothing(self, anna: Triage) -> None:
        anna.sync(*(entry(id=name, sku=name, quantityOnStock=-3) for name in "ab"), entry(id="c", sku=""))
        found = fix_all.preview(anna.store, ids(anna), {"quantityOnStock": 20}, streams=stream_of)

        assert (found.chosen, found.checked, found.would_load) == (3, 3, 2)
        assert found.still_bad == (("sku_is_present", 1),)
        assert {item.edited for item in anna.items()} == {None}

    def test_a_record_in_which_the_field_cannot_be_set_counts_as_bad(self, anna: Triage) -> None:
        anna.sync(entry(id="a", sku="", quantityOnStock=-3), entry(id="b", sku={"x": 2}, quantityOnStock=-3))
        found = fix_all.preview(anna.store, ids(anna), {"sku.x": 1}, streams=stream_of)

        assert dict(found.still_bad)[fix_all.CANNOT_BE_SET] == 1

    def test_what_no_record_takes_is_refused(self, anna: Triage) -> None:
        """As the edit would be: a preview that only counts would leave a misspelt field to be found then."""
        anna.sync(entry(id="a", sku=""))
        with pytest.raises(BadRequest, match="Did you mean quantityOnStock"):
            fix_all.preview(anna.store, ids(anna), {"quantityOnStok": 1}, streams=stream_of)

    def test_it_validates_what_was_edited_before(self, anna: Triage) -> None:
        anna.sync(entry(id="a", quantityOnStock=-3))
        anna.edit(anna.items()[0], quantityOnStock=20)

        assert fix_all.preview(anna.store, ids(anna), {}, streams=stream_of).would_load == 1


class TestTheEditOfAll:
    def test_each_is_edited_and_audited(self, anna: Triage) -> None:
        anna.sync(*(entry(id=name, sku=name, quantityOnStock=-3) for name in "abc"))
        edited = fix_all.edit_all(anna.store, ids(anna), {"quantityOnStock": 20}, streams=stream_of, actor=ANNA)

        assert edited == [item.item_id for item in anna.items()]
        assert all(b'"quantityOnStock":20' in (item.edited or b"") for item in anna.items())
        assert anna.acts() == ["quarantine.fix"] * 3

    def test_one_that_was_closed_meanwhile_stays(self, anna: Triage) -> None:
        anna.sync(*(entry(id=name, sku=name, quantityOnStock=-3) for name in "ab"))
        items = anna.items()
        anna.edit(items[0], quantityOnStock=20)
        anna.replay(anna.items()[0])
        edited = fix_all.edit_all(
            anna.store, [item.item_id for item in items], {"quantityOnStock": 30}, streams=stream_of, actor=ANNA
        )

        assert edited == [items[1].item_id]

    def test_a_misspelt_field_changes_nothing(self, anna: Triage) -> None:
        anna.sync(*(entry(id=name, sku=name, quantityOnStock=-3) for name in "ab"))
        with pytest.raises(BadRequest, match="Did you mean quantityOnStock"):
            fix_all.edit_all(anna.store, ids(anna), {"quantityOnStok": 1}, streams=stream_of, actor=ANNA)

        assert {item.edited for item in anna.items()} == {None}

    def test_one_that_does_not_take_the_change_stays_and_the_others_have_it(self, anna: Triage) -> None:
        """As the preview said: it counts as one in which the field cannot be set."""
        anna.sync(entry(id="a", sku="a", quantityOnStock=-3, note="x"), entry(id="b", sku="b", quantityOnStock=-3))
        first, second = anna.items()
        changes = {"note": "y"}
        preview = fix_all.preview(anna.store, ids(anna), changes, streams=stream_of)
        assert dict(preview.still_bad)[fix_all.CANNOT_BE_SET] == 1
        edited = fix_all.edit_all(anna.store, ids(anna), changes, streams=stream_of, actor=ANNA)

        assert edited == [first.item_id]
        assert anna.items()[1].edited == second.edited

    def test_too_many_are_refused(self, anna: Triage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fix_all, "MOST", 1)
        anna.sync(*(entry(id=name, sku=name, quantityOnStock=-3) for name in "ab"))
        with pytest.raises(BadRequest, match="too many to edit at once"):
            fix_all.edit_all(anna.store, ids(anna), {"quantityOnStock": 1}, streams=stream_of, actor=ANNA)

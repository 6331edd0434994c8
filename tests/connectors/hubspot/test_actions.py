"""The actions of HubSpot on the sandbox: what each does, and who a customer is."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Failed, InputInvalid, Refused, RefusedBy
from crossdock.integrations.manifests import capability_contract, manifests
from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.connectors.hubspot.account import Account
from tests.connectors.hubspot.conftest import FIRST
from tests.shop import query

KIND = manifests()["hubspot"]
NEW = "ada@crm.example"
LATER = "2036-01-01T00:00:00Z"


def upsert(account: Account, *customers: dict[str, Any], as_of: str = LATER, key: str = "effect-1") -> Any:
    return account.perform("upsert_customers", {"as_of": as_of, "customers": list(customers)}, key=key)


class TestFinding:
    def test_a_customer_is_found_by_the_key_and_by_the_id(self, account: Account) -> None:
        by_key = account.find(FIRST, "order_standing")
        assert by_key is not None
        by_ref = account.read("find_customer", ref=by_key["ref"], attributes=["order_standing"])["customer"]

        assert by_key == by_ref
        assert (by_key["key"], by_key["email"], by_key["attributes"]) == (FIRST, FIRST, {"order_standing": None})
        assert by_key["version"] == account.contact(FIRST).updated_at

    def test_a_customer_that_does_not_exist_is_null_and_no_error(self, account: Account) -> None:
        assert account.find("nobody@crm.example") is None
        assert account.read("find_customer", ref="4711")["customer"] is None

    def test_customers_are_found_together_and_those_that_do_not_exist_are_missing(self, account: Account) -> None:
        """The vendor answers 207 with an error beside the results."""
        found = account.read("find_customers", keys=[FIRST, "nobody@crm.example", "contact00001@crm.example"])

        assert sorted(one["key"] for one in found["customers"]) == [FIRST, "contact00001@crm.example"]

    def test_capitals_and_a_plus_sign_are_of_the_same_customer(self, account: Account) -> None:
        account.perform("create_customer", {"key": "Ada+Shop@CRM.example"})

        for spelling in ("ada+shop@crm.example", "Ada+Shop@CRM.example", "ADA+SHOP@crm.EXAMPLE"):
            found = account.find(spelling)
            assert found is not None
            assert found["key"] == "ada+shop@crm.example"
        assert account.find("adashop@crm.example") is None

    def test_a_merged_customer_is_found_by_both_keys_and_both_ids(self, account: Account) -> None:
        """The shop may know the one or the other."""
        first, second = account.contact(FIRST), account.contact("contact00001@crm.example")
        account.crm.state.merge(first, second)

        by_second = account.find("contact00001@crm.example")
        assert by_second is not None
        assert (by_second["ref"], by_second["key"], by_second["other_keys"]) == (
            first.id,
            FIRST,
            ["contact00001@crm.example"],
        )
        assert account.read("find_customer", ref=second.id)["customer"]["ref"] == first.id
        assert len(account.read("find_customers", keys=[FIRST, "contact00001@crm.example"])["customers"]) == 1

    def test_a_customer_whose_address_changed_is_found_by_the_new_one_and_by_the_id(self, account: Account) -> None:
        contact = account.change(FIRST, email="new@crm.example")

        assert account.find(FIRST) is None
        assert account.find("new@crm.example") is not None
        assert account.read("find_customer", ref=contact.id)["customer"]["key"] == "new@crm.example"

    def test_a_find_does_not_wait_for_the_search_index(self, account: Account) -> None:
        account.perform("create_customer", {"key": NEW})

        assert account.find(NEW) is not None
        assert account.sent(path="search") == 0

    def test_no_path_has_an_address(self, account: Account) -> None:
        """Paths are in messages and in logs."""
        found = account.find(FIRST)
        assert found is not None
        account.perform("create_customer", {"key": NEW})
        account.perform(
            "update_customer",
            {"ref": found["ref"], "version": found["version"], "changes": {"email": "x@crm.example"}},
            key="2",
        )

        assert [entry.path for entry in account.crm.requests if "@" in entry.path or "%40" in entry.path] == []


class TestAnotherKey:
    """The key is a property of the account's own, with unique values."""

    @pytest.fixture
    def account(self, crm: FakeCrm, store: Store) -> Account:
        return Account(crm, store, key_property="customer_number")

    def test_a_customer_is_created_and_found_by_it(self, account: Account) -> None:
        account.perform("create_customer", {"key": "C-17", "email": NEW})

        found = account.find("C-17")
        assert found is not None
        assert (found["key"], found["email"], found["other_keys"]) == ("C-17", NEW, [])

    def test_each_customer_of_a_batch_has_an_outcome_of_its_own(self, account: Account) -> None:
        """By such a key the vendor stores the good ones and names the others."""
        account.perform("create_customer", {"key": "C-1", "email": NEW}, key="0")
        ended = upsert(
            account,
            {"key": "C-1", "last_name": "Byron"},
            {"key": "C-2", "email": "nothing-like-an-address"},
            {"key": "C-3", "email": "c3@crm.example"},
            {"key": "C-4", "email": FIRST},
        )

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert [(one["number"], one["outcome"], one["code"]) for one in ended.output["results"]] == [
            (0, "updated", None),
            (1, "refused", "INVALID_EMAIL"),
            (2, "created", None),
            (3, "refused", "CONFLICT"),
        ]
        assert account.effects == ["created", "updated", "created"]

    def test_a_property_whose_values_are_not_unique_cannot_be_the_key(self, crm: FakeCrm, store: Store) -> None:
        ended = Account(crm, store, key_property="lastname").perform("find_customer", {"key": "Ito"})

        assert isinstance(ended, Refused)
        assert "non-unique" in ended.message


class TestCreating:
    def test_a_customer_has_the_fields_that_were_given(self, account: Account) -> None:
        given = {"key": NEW, "first_name": "Ada", "company_name": None, "attributes": {"lifecyclestage": "customer"}}
        ended = account.perform("create_customer", given)

        found = account.find(NEW, "lifecyclestage")
        assert isinstance(ended, Done)
        assert found is not None
        assert ended.output == {"ref": found["ref"], "version": found["version"]}
        assert (found["first_name"], found["company_name"]) == ("Ada", None)
        assert found["attributes"] == {"lifecyclestage": "customer"}

    def test_one_that_is_there_is_refused_with_its_id(self, account: Account) -> None:
        ended = account.perform("create_customer", {"key": FIRST.upper()})

        assert isinstance(ended, Refused)
        assert (ended.status, account.effects) == (409, [])
        assert f"Existing ID: {account.contact(FIRST).id}" in ended.message

    def test_the_second_address_of_a_merged_customer_is_taken(self, account: Account) -> None:
        """Otherwise the person would be there twice."""
        account.crm.state.merge(account.contact(FIRST), account.contact("contact00001@crm.example"))

        assert isinstance(account.perform("create_customer", {"key": "contact00001@crm.example"}), Refused)
        assert account.effects == ["merged"]

    @pytest.mark.parametrize(
        ("given", "code", "where"),
        [
            ({"key": "nothing-like-an-address"}, "INVALID_EMAIL", "email"),
            ({"key": NEW, "attributes": {"shoe_size": "44"}}, "PROPERTY_DOESNT_EXIST", "shoe_size"),
            ({"key": NEW, "attributes": {"order_standing": "sorry"}}, "INVALID_OPTION", "order_standing"),
        ],
    )
    def test_a_refusal_names_the_property_and_no_value(
        self, account: Account, given: dict[str, Any], code: str, where: str
    ) -> None:
        """The vendor's message quotes the value, which may be personal, and ours are in logs."""
        ended = account.perform("create_customer", given)

        assert isinstance(ended, Refused)
        assert (ended.by, ended.code) == (RefusedBy.DECISION, code)
        assert where in ended.message
        assert "nothing-like" not in ended.message
        assert "sorry" not in ended.message


class TestUpdating:
    def change(self, account: Account, ref: str, version: str, **changes: Any) -> Any:
        return account.perform("update_customer", {"ref": ref, "version": version, "changes": changes})

    def test_the_other_fields_stay_and_null_clears_one(self, account: Account) -> None:
        before = account.find(FIRST)
        assert before is not None
        ended = self.change(account, before["ref"], before["version"], last_name="Byron", first_name=None)

        after = account.find(FIRST)
        assert isinstance(ended, Done)
        assert after is not None
        assert (after["last_name"], after["first_name"]) == ("Byron", None)
        assert after["version"] > before["version"]
        assert {name for name in before if before[name] != after[name]} == {"last_name", "first_name", "version"}

    def test_an_address_of_somebody_else_is_refused(self, account: Account) -> None:
        contact = account.contact(FIRST)

        ended = self.change(account, contact.id, contact.updated_at, email="Contact00001@crm.example")

        assert isinstance(ended, Refused)
        assert (ended.status, account.effects) == (409, [])

    def test_one_that_is_gone_is_refused(self, account: Account) -> None:
        ended = self.change(account, "4711", "2026-01-01T00:00:00.000Z", last_name="Byron")

        assert isinstance(ended, Refused)
        assert ended.status == 404

    def test_what_is_no_id_is_not_put_into_a_path(self, account: Account) -> None:
        with pytest.raises(InputInvalid, match="ref"):
            self.change(account, "../merge", "x", last_name="Byron")
        assert len(account.crm.requests) == 0

    def test_of_merged_customers_the_one_that_is_left_is_updated(self, account: Account) -> None:
        first, second = account.contact(FIRST), account.contact("contact00001@crm.example")
        account.crm.state.merge(first, second)

        ended = self.change(account, second.id, second.updated_at, last_name="Byron")

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert (ended.output["ref"], account.contact(FIRST).properties["lastname"]) == (first.id, "Byron")


class TestUpserting:
    def test_those_that_are_there_are_updated_and_the_others_created(self, account: Account) -> None:
        ended = upsert(account, {"key": NEW, "first_name": "Ada"}, {"key": FIRST.upper(), "last_name": "Byron"})

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert [(one["number"], one["outcome"]) for one in ended.output["results"]] == [(0, "created"), (1, "updated")]
        assert account.contact(FIRST).properties["lastname"] == "Byron"

    def test_twice_creates_nobody_twice(self, account: Account) -> None:
        for key in ("1", "2"):
            assert isinstance(upsert(account, {"key": NEW, "first_name": "Ada"}, key=key), Done)

        assert account.effects == ["created", "updated"]

    def test_by_address_the_vendor_stores_all_or_none(self, account: Account) -> None:
        """It names the wrong ones, and the hub shows no address."""
        ended = upsert(account, {"key": NEW}, {"key": "nothing-like-an-address"})

        assert isinstance(ended, Refused)
        assert (ended.code, account.effects) == ("VALIDATION_ERROR", [])
        assert "nothing-like" not in ended.message

    def test_the_same_customer_twice_is_refused_before_the_call(self, account: Account) -> None:
        """The vendor refuses the whole batch, without saying which."""
        with pytest.raises(InputInvalid, match="/input/customers/1/key"):
            upsert(account, {"key": NEW}, {"key": NEW.upper()})
        assert len(account.crm.requests) == 0

    def test_the_second_address_of_a_merged_customer_does_not_become_the_first(self, account: Account) -> None:
        account.crm.state.merge(account.contact(FIRST), account.contact("contact00001@crm.example"))

        other = "contact00001@crm.example"
        assert isinstance(upsert(account, {"key": other, "email": other, "last_name": "Byron"}), Done)
        assert account.contact(other).properties["email"] == FIRST
        assert account.contact(other).properties["lastname"] == "Byron"

    def test_more_than_a_hundred_are_refused(self, account: Account) -> None:
        with pytest.raises(InputInvalid, match="/input/customers"):
            upsert(account, *({"key": f"c{number}@crm.example"} for number in range(101)))


class TestStanding:
    @pytest.mark.parametrize(
        ("value", "standing"), [("good", "good"), ("blocked", "blocked"), ("review", "unknown"), ("", "unknown")]
    )
    def test_the_named_property_says_who_may_order(self, account: Account, value: str, standing: str) -> None:
        account.change(FIRST, order_standing=value)

        assert account.read("get_standing", key=FIRST) == {"standing": standing, "ref": account.contact(FIRST).id}

    def test_of_somebody_else_and_without_a_property_it_is_unknown(self, account: Account, store: Store) -> None:
        assert account.read("get_standing", key="nobody@crm.example") == {"standing": "unknown", "ref": None}

        account.change(FIRST, order_standing="blocked")
        assert Account(account.crm, store).read("get_standing", key=FIRST)["standing"] == "unknown"

    def test_the_settings_say_which_values_block(self, account: Account, store: Store) -> None:
        other = Account(
            account.crm, store, standing_property="lifecyclestage", blocked_values=["lead"], good_values=["customer"]
        )
        account.change(FIRST, lifecyclestage="lead")

        assert other.read("get_standing", key=FIRST)["standing"] == "blocked"

    def test_while_the_account_does_not_answer_its_last_word_counts(self, account: Account) -> None:
        """An order of a blocked customer must not pass because the CRM is down."""
        account.change(FIRST, order_standing="blocked")
        account.read("get_standing", key=FIRST)
        account.fault({"status": 503}, repeat=True)

        ended = account.perform("get_standing", {"key": FIRST})
        unheard = account.perform("get_standing", {"key": "contact00001@crm.example"})

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert ended.output["standing"] == "blocked"
        assert ended.age_s is not None
        assert isinstance(unheard, Failed)

    def test_after_seven_days_it_counts_no_more(self, account: Account) -> None:
        account.read("get_standing", key=FIRST)
        query(account.store, "UPDATE last_known_read SET read_at = read_at - interval '7 days 1 minute' RETURNING 1")
        account.fault({"status": 503}, repeat=True)

        assert isinstance(account.perform("get_standing", {"key": FIRST}), Failed)

    def test_what_is_kept_has_no_personal_data(self, account: Account) -> None:
        for name in ("get_standing", "find_customer"):
            account.perform(name, {"key": FIRST})

        (kept,) = query(account.store, "SELECT row_to_json(kept)::text FROM last_known_read kept")
        assert "@" not in kept[0]
        assert account.contact(FIRST).properties["firstname"] not in kept[0]


class TestLimits:
    def test_a_limit_of_a_day_is_not_waited_for_and_says_so(self, account: Account) -> None:
        """Four more calls would not help, and a worker's slot is free for others."""
        account.fault({"throttled": "DAILY"}, repeat=True)

        ended = account.perform("create_customer", {"key": NEW})

        assert isinstance(ended, Failed)
        assert "daily" in ended.message
        assert (ended.retry_in_s, account.sent(), account.effects) == (900.0, 1, [])

    def test_a_limit_of_ten_seconds_is_tried_again(self, account: Account) -> None:
        account.fault({"throttled": "TEN_SECONDLY_ROLLING"})

        assert isinstance(account.perform("create_customer", {"key": NEW}), Done)
        assert account.effects == ["created"]


def test_outputs_of_writes_and_of_kept_reads_declare_no_personal_data() -> None:
    """The answers of writes are kept for a repetition; only reads that keep nothing may show a person."""
    for name, action in KIND.actions.items():
        shows = "x-personal" in str(action.output)
        assert shows == (name in {"find_customer", "find_customers"}), name
        assert not (shows and action.fallback != "stop"), name


def test_it_does_all_that_the_hub_asks_of_a_crm() -> None:
    """And as the contract says it: an action of that name with another form would be another action."""
    asked = capability_contract(KIND.provides["crm"])

    assert set(asked["required"]) == set(asked["actions"]) <= set(KIND.actions)
    for name in asked["required"]:
        action = KIND.actions[name]
        assert (action.input, action.output) == (asked["actions"][name]["input"], asked["actions"][name]["output"])

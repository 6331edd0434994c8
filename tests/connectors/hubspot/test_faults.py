"""Each write of HubSpot has one effect whatever becomes of the request or its answer, and never makes two contacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest

from crossdock.connectors.hubspot.actions import CREATE_CUSTOMER, UPDATE_CUSTOMER, UPSERT_CUSTOMERS
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Ended, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import Effect
from crossdock.integrations.attempts.model import Outcome, Resolution
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.chaos import children
from tests.connectors.hubspot.account import IMPATIENT, Account
from tests.connectors.hubspot.conftest import FIRST

NEW = "ada@crm.example"
SECOND = "contact00001@crm.example"
#: After every contact of the sandbox was changed, and before any change of a test.
AS_OF = "2026-02-01T00:00:00Z"


class Case(NamedTuple):
    """A write, and how a test sees its effect."""

    given: Callable[[Account], dict[str, Any]]
    #: What the ledger has after it.
    effects: list[str]
    #: Whose contact has the last name Byron then.
    of: tuple[str, ...]
    #: How many contacts there are more.
    more: int


CASES = {
    "create_customer": Case(lambda _: {"key": NEW, "last_name": "Byron"}, ["created"], (NEW,), 1),
    "update_customer": Case(
        lambda account: {
            "ref": account.contact(FIRST).id,
            "version": account.contact(FIRST).updated_at,
            "changes": {"last_name": "Byron"},
        },
        ["updated"],
        (FIRST,),
        0,
    ),
    "upsert_customers": Case(
        lambda _: {
            "as_of": AS_OF,
            "customers": [{"key": NEW, "last_name": "Byron"}, {"key": SECOND, "last_name": "Byron"}],
        },
        ["created", "updated"],
        (NEW, SECOND),
        1,
    ),
}

#: What somebody else does to the customer of a case.
BY_SOMEBODY_ELSE: dict[str, Callable[[Account], object]] = {
    "create_customer": lambda account: account.crm.state.create({"email": NEW, "lastname": "Lovelace"}),
    "update_customer": lambda account: account.change(FIRST, lastname="Lovelace"),
    "upsert_customers": lambda account: account.change(SECOND, lastname="Lovelace"),
}
#: What goes wrong with the request that writes, and how the call ends. `killed_…` has a test of its own.
FAULTS: dict[str, tuple[Any, type]] = {
    "timeout_before": ({"timeout": "before"}, Done),
    "timeout_after": ({"timeout": "after"}, Done),
    "reset_before": ({"reset": "before"}, Done),
    "reset_after": ({"reset": "after"}, Done),
    "html_502_before": ({"bad_gateway": "before"}, Done),
    "html_502_after": ({"bad_gateway": "after"}, Done),
    "wrong_type": ({"wrong_type": True}, Done),
    "truncated": ({"truncate_json": 0.5}, Done),
    "status_429": ({"throttled": "TEN_SECONDLY_ROLLING"}, Done),
    "status_500": ({"status": 500}, Done),
    "status_403": ({"status": 403}, Refused),
}
#: One of each class in the gate; the others are deep.
IN_THE_GATE = {
    ("create_customer", "timeout_after"),
    ("update_customer", "timeout_before"),
    ("upsert_customers", "html_502_after"),
    ("upsert_customers", "wrong_type"),
    ("create_customer", "reset_before"),
    ("update_customer", "status_429"),
    ("create_customer", "status_403"),
}


def cases() -> list[Any]:
    return [
        pytest.param(name, fault, id=f"{name}-{fault}", marks=() if (name, fault) in IN_THE_GATE else pytest.mark.deep)
        for name, fault in product(CASES, FAULTS)
    ]


each_write = pytest.mark.parametrize("name", CASES)


class World:
    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name, self.case = account, name, CASES[name]
        self.given = self.case.given(account)
        self._count = len(account.crm.contacts)

    def perform(self, key: str = "effect-1", store: Store | None = None) -> Ended:
        return self.account.perform(self.name, self.given, key=key, store=store)

    def assert_one_effect(self) -> None:
        assert self.account.effects == self.case.effects
        assert len(self.account.crm.contacts) == self._count + self.case.more
        assert [self.account.contact(key).properties["lastname"] for key in self.case.of] == ["Byron"] * len(
            self.case.of
        )


def test_each_write_has_a_case_here() -> None:
    assert set(CASES) == {name for name, action in manifests()["hubspot"].actions.items() if action.kind == "write"}


@pytest.mark.parametrize(("name", "fault"), cases())
def test_a_write_has_one_effect_and_its_outcome_is_resolved(account: Account, name: str, fault: str) -> None:
    """Whatever becomes of the answer; and a repetition with the key changes nothing."""
    script, kind = FAULTS[fault]
    world = World(account, name)
    account.fault(script)

    first, again = world.perform(), world.perform()

    assert (type(first), type(again)) == (kind, Done)
    world.assert_one_effect()
    assert account.attempt()[0] == Outcome.DONE


@each_write
def test_while_the_account_is_down_the_outcome_stays_unknown_and_the_next_call_resolves_it(
    account: Account, name: str
) -> None:
    """It can be neither done nor failed: the read that would say so fails too."""
    world = World(account, name)
    account.fault({"reset": "after"}, *[{"status": 503}] * IMPATIENT.attempts)

    assert isinstance(world.perform(), Unknown)
    assert account.attempt() == (Outcome.UNKNOWN, None)
    assert isinstance(world.perform(), Done)
    world.assert_one_effect()
    assert account.attempt() == (Outcome.DONE, Resolution.GET)


@each_write
def test_a_lost_answer_and_a_change_by_somebody_else_are_for_a_person(account: Account, name: str) -> None:
    """Either came first. To send it again would undo the other's change."""
    world = World(account, name)
    account.fault({"reset": "before"}, *[{"status": 503}] * IMPATIENT.attempts)
    world.perform()
    BY_SOMEBODY_ELSE[name](account)
    account.crm.state.ledger.clear()

    assert isinstance(world.perform(), Unknown)
    assert account.effects == []


@each_write
def test_an_account_that_throttles_for_longer_has_not_been_changed(account: Account, name: str) -> None:
    world = World(account, name)
    account.fault(*[{"status": 429}] * IMPATIENT.attempts)

    assert isinstance(world.perform(), Failed)
    assert (account.effects, account.attempt()[0]) == ([], Outcome.FAILED)
    assert isinstance(world.perform(), Done)
    world.assert_one_effect()


def test_a_creation_that_arrives_late_makes_no_second_contact(account: Account) -> None:
    """For all that a read can see the first request was lost, and it is sent again: the key's uniqueness lets one apply."""
    world = World(account, "create_customer")
    account.fault({"timeout": "before"})
    assert isinstance(world.perform(), Done)

    assert isinstance(world.perform("the-late-one"), Refused)
    world.assert_one_effect()


def test_a_lost_answer_to_a_batch_of_which_some_are_wrong_is_resolved_with_their_reasons(
    crm: FakeCrm, store: Store
) -> None:
    """The good ones are there, and the wrong ones are refused again."""
    account = Account(crm, store, key_property="customer_number")
    account.fault({"timeout": "after"})

    ended = account.perform(
        "upsert_customers",
        {"as_of": AS_OF, "customers": [{"key": "C-1", "email": NEW}, {"key": "C-2", "email": "nothing"}]},
    )

    assert isinstance(ended, Done)
    assert ended.output is not None
    assert [one["outcome"] for one in ended.output["results"]] == ["updated", "refused"]
    assert len(crm.contacts) == 6


class ForgetfulCrm(FakeCrm):
    """Says nothing of the last input of an upsert."""

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        response = super().respond(request, route, fault)
        if request.parts[-1] != "upsert":
            return response
        document = json.loads(response.body)
        return json_response(response.status, {**document, "results": document["results"][:-1]})


def test_an_answer_that_leaves_out_a_customer_is_no_answer(store: Store) -> None:
    """It may not have been stored: the contacts are read, and say so."""
    with ForgetfulCrm(count=5) as crm:
        account = Account(crm, store)
        world = World(account, "upsert_customers")
        ended = world.perform()

    assert isinstance(ended, Done)
    assert ended.output is not None
    assert [(one["number"], one["outcome"]) for one in ended.output["results"]] == [(0, "stored"), (1, "stored")]
    world.assert_one_effect()


@pytest.mark.parametrize("mode", ["merged", "renamed"])
def test_a_lost_update_of_a_customer_who_became_another_is_found_by_the_id(account: Account, mode: str) -> None:
    """By the address it would be lost, and by a second one it would be somebody else."""
    world = World(account, "update_customer")
    account.fault({"reset": "after"}, *[{"status": 503}] * IMPATIENT.attempts)
    world.perform()
    if mode == "merged":
        account.crm.state.merge(account.contact(SECOND), account.contact(FIRST))
        assert isinstance(world.perform(), Unknown)
    else:
        account.change(FIRST, email="new@crm.example")
        assert isinstance(world.perform(), Done)
    assert account.effects[0] == "updated"
    assert account.sent(method="PATCH", path=world.given["ref"]) == 1


@pytest.mark.crash
@pytest.mark.parametrize(
    ("killed", "name"),
    [
        pytest.param(
            killed,
            name,
            id=f"{name}-{label}",
            marks=()
            if (name, label) in {("create_customer", "killed_after"), ("upsert_customers", "killed_before")}
            else pytest.mark.deep,
        )
        for (killed, label), name in product(
            (("send.begun", "killed_before"), ("send.answered", "killed_after")), CASES
        )
    ],
)
def test_a_repetition_resolves_what_a_killed_process_left(
    account: Account, hub_dsn: str, killed: str, name: str
) -> None:
    """At once: it need not wait until the call of the dead process would have ended."""
    world = World(account, name)

    assert children.run(lambda: world.perform(store=Store(hub_dsn)), crash_at=killed) == children.KILLED
    assert account.attempt() == (Outcome.OPEN, None)

    assert isinstance(world.perform(), Done)
    world.assert_one_effect()
    assert account.attempt() == (Outcome.DONE, Resolution.GET)


#: A customer as a read gives it.
FOUND = {
    "ref": "51",
    "version": "2026-03-01T00:00:00.000Z",
    "key": NEW,
    "other_keys": ["old@crm.example"],
    "email": NEW,
    "first_name": None,
    "last_name": "Byron",
    "company_name": None,
    "locale": None,
    "attributes": {"lifecyclestage": None},
}


class TestWhatARecordSays:
    """About a write whose answer was lost."""

    @pytest.mark.parametrize(
        ("found", "effect"),
        [
            (None, Effect.ABSENT),
            (FOUND, Effect.VISIBLE),
            (FOUND | {"email": "ADA@CRM.example"}, Effect.VISIBLE),
            (FOUND | {"last_name": "Lovelace"}, Effect.UNCLEAR),
            (FOUND | {"attributes": {"lifecyclestage": "lead"}}, Effect.UNCLEAR),
        ],
    )
    def test_a_creation(self, found: Any, effect: Effect) -> None:
        given = {"key": NEW, "email": NEW, "last_name": "Byron", "attributes": {"lifecyclestage": None}}

        assert CREATE_CUSTOMER.read_back is not None
        assert CREATE_CUSTOMER.read_back.judge(given, {"customer": found}).effect is effect

    @pytest.mark.parametrize(
        ("found", "effect"),
        [
            (None, Effect.UNCLEAR),
            (FOUND | {"version": "2026-03-02T00:00:00.000Z"}, Effect.VISIBLE),
            (FOUND | {"last_name": "Lovelace"}, Effect.ABSENT),
            (FOUND | {"last_name": "Lovelace", "version": "2026-03-02T00:00:00.000Z"}, Effect.UNCLEAR),
        ],
    )
    def test_an_update(self, found: Any, effect: Effect) -> None:
        given = {"ref": "51", "version": "2026-03-01T00:00:00.000Z", "changes": {"last_name": "Byron"}}

        assert UPDATE_CUSTOMER.read_back is not None
        assert UPDATE_CUSTOMER.read_back.judge(given, {"customer": found}).effect is effect

    @pytest.mark.parametrize(
        ("found", "as_of", "effect"),
        [
            ([], AS_OF, Effect.ABSENT),
            ([FOUND], AS_OF, Effect.VISIBLE),
            ([FOUND | {"last_name": "Lovelace"}], "2026-03-01T00:00:00.001Z", Effect.ABSENT),
            ([FOUND | {"last_name": "Lovelace"}], "2026-03-01T00:00:00Z", Effect.UNCLEAR),
            ([FOUND | {"key": "Other@crm.example", "other_keys": [NEW.upper()]}], AS_OF, Effect.VISIBLE),
        ],
    )
    def test_an_upsert(self, found: Any, as_of: str, effect: Effect) -> None:
        """What the CRM changed after the values were true is not overwritten."""
        given = {"as_of": as_of, "customers": [{"key": "Ada@crm.example", "last_name": "Byron"}]}

        assert UPSERT_CUSTOMERS.read_back is not None
        assert UPSERT_CUSTOMERS.read_back.judge(given, {"customers": found}).effect is effect

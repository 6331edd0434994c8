"""A definition with a mistake is refused with its place; a good one is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.workflows.declared.document import MOST_CHARACTERS, schema
from crossdock.workflows.declared.model import Finding, Rule
from crossdock.workflows.declared.validator import validate

PROJECT = Path(__file__).parents[3]
#: `NAME.answers.yaml` are answers for a test run.
EXAMPLES = sorted(path for path in (PROJECT / "docs/workflows").glob("*.yaml") if ".answers" not in path.name)

#: A hub with the integrations of GOOD.
HUB = WorkflowCatalog(
    has_registry=True,
    kinds={"crm": "hubspot", "payments": "stripe", "adyen_eu": "adyen", "shop": "commercetools", "mails": "smtp_relay"},
    tested=frozenset({"crm", "payments", "shop", "mails", "adyen_eu"}),
    webhooks={"taken": "another_workflow"},
)

GOOD = """\
schema: crossdock.workflow/1
id: pay_an_order
version: 1
title: Pay an order
integrations: {crm: hubspot, payments: stripe, shop: commercetools}
params:
  reference: {type: string, default: order-1}
  email: {type: string, default: ada@example.com}
  amount_minor: {type: integer, minimum: 1, default: 4200}
  skus: {type: array, items: {type: object, properties: {key: {type: string}, id: {type: string}}}, default: []}
triggers:
  - cron: "0 3 * * 1-5"
    timezone: Europe/Berlin
  - event: crossdock.order.confirmed
    where: event.data.outcome == "done"
    with: {reference: event.data.reference}
  - webhook: pay
timeout: 1h
do:
  - id: find
    call: crm.find_customer
    with: {key: params.email}
    catch: {errors: [refused], handler: note}
  - id: choose
    switch:
      - when: steps.find.customer == null
        do:
          - id: stop
            raise: The customer is unknown
      - do:
          - id: known
            set: {name: steps.find.customer.first_name}
  - id: both
    fork:
      branches:
        stock: {do: [{id: look, call: shop.get_inventory, with: {sku: "'RING-17'"}}]}
        order: {do: [{id: read, call: shop.get_order, with: {order_number: params.reference}}]}
      join: [stock]
  - id: each_sku
    for: {each: sku, in: params.skus, at_most: 100}
    do:
      - id: change
        call: shop.set_inventory_quantity
        with: {key: sku.key, version: 3, quantity: 40}
        key: sku.id
  - id: approve
    decide: {question: May it be paid, options: [pay, refuse], default: refuse}
    timeout: 2d
  - id: authorise
    if: steps.approve.option == "pay" && params.amount_minor > 0
    call: payments.authorise
    with: {reference: params.reference, amount_minor: params.amount_minor, currency: "'EUR'", payment_method: "'pm_card_visa'"}
    undo:
      call: payments.void
      with: {payment_ref: output.payment_ref, reference: params.reference}
    retry: {limit: 3, delay: 2s, errors: [failed, unknown]}
    timeout: 30s
  - id: pause
    wait: 5m
  - id: capture
    call: payments.capture
    with: {payment_ref: steps.authorise.payment_ref, reference: params.reference, amount_minor: 4200, currency: "'EUR'"}
    pivot: true
  - id: hear
    listen: {event: crossdock.payment.reported, where: has(event.data.reference)}
    timeout: 1d
handlers:
  note:
    do:
      - id: noted
        set: {why: error.message}
"""


def findings(text: str, catalog: WorkflowCatalog = HUB) -> tuple[Finding, ...]:
    return validate(text, catalog).findings


def changed(*pairs: tuple[str, str]) -> str:
    text = GOOD
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


#: Name of the mistake → what is replaced in GOOD, the rule, the pointer, and the text of the line that is named.
SEEDED: dict[str, tuple[list[tuple[str, str]], Rule, str, str]] = {
    "cycle": ([("    wait: 5m\n", "    wait: 5m\n    then: approve\n")], Rule.CYCLE, "/do/6/then", "then: approve"),
    "unknown step in then": ([("    wait: 5m\n", "    wait: 5m\n    then: nowhere\n")], Rule.UNKNOWN_STEP, "/do/6/then", "then: nowhere"),
    "unknown step in a mapping": ([("steps.authorise.payment_ref", "steps.nobody.payment_ref")], Rule.UNKNOWN_STEP, "/do/7/with/payment_ref", "nobody"),
    "step that has not run": ([("{sku: \"'RING-17'\"}", "{sku: steps.read.id}")], Rule.UNKNOWN_STEP, "/do/2/fork/branches/stock/do/0/with/sku", "steps.read"),
    "unreachable step": ([("    wait: 5m\n", "    wait: 5m\n    then: hear\n")], Rule.UNREACHABLE_STEP, "/do/7", "id: capture"),
    "unreachable case": ([("      - when: steps.find.customer == null\n        do:", "      - do:")], Rule.UNREACHABLE_STEP, "/do/1/switch/1", "- do:"),
    "duplicate id": ([("id: known", "id: find")], Rule.DUPLICATE_ID, "/do/1/switch/1/do/0/id", "id: find"),
    "unknown integration": ([("call: crm.find_customer", "call: erp.find_customer")], Rule.UNKNOWN_INTEGRATION, "/do/0/call", "erp"),
    "integration that is not registered": ([("{crm: hubspot,", "{erp: hubspot, crm: hubspot,")], Rule.UNKNOWN_INTEGRATION, "/integrations/erp", "erp"),
    "integration of another kind": ([("{crm: hubspot,", "{crm: hubspot, adyen_eu: stripe,")], Rule.UNKNOWN_INTEGRATION, "/integrations/adyen_eu", "adyen_eu"),
    "unknown action": ([("crm.find_customer", "crm.find_customr")], Rule.UNKNOWN_ACTION, "/do/0/call", "find_customr"),
    "missing argument": ([(", quantity: 40", "")], Rule.MISSING_ARGUMENT, "/do/3/do/0/with", "with: {key"),
    "extra argument": ([("quantity: 40", "quantity: 40, colour: 3")], Rule.EXTRA_ARGUMENT, "/do/3/do/0/with/colour", "colour"),
    "wrongly typed argument": ([("quantity: 40", "quantity: true")], Rule.ARGUMENT_TYPE, "/do/3/do/0/with/quantity", "quantity: true"),
    "argument outside its schema": ([("\"'EUR'\", payment_method", "\"'Euro'\", payment_method")], Rule.ARGUMENT_TYPE, "/do/5/with/currency", "Euro"),
    "wrong field in a mapping": ([("customer.first_name", "customer.fist_name")], Rule.MAPPING_FIELD, "/do/1/switch/1/do/0/set/name", "fist_name"),
    "wrong field in a condition": ([("steps.approve.option ==", "steps.approve.answer ==")], Rule.MAPPING_FIELD, "/do/5/if", "answer"),
    "wrong field in what a question shows": ([("default: refuse}", "default: refuse, shows: {who: steps.find.custmer}}")], Rule.MAPPING_FIELD, "/do/4/decide/shows/who", "custmer"),
    "wrong expression in what a question shows": ([("default: refuse}", "default: refuse, shows: {who: 'a.[b'}}")], Rule.EXPRESSION, "/do/4/decide/shows/who", "a.[b"),
    "wrong type in a mapping": ([("with: {key: params.email}", "with: {key: params.amount_minor}")], Rule.MAPPING_TYPE, "/do/0/with/key", "amount_minor"),
    "loop over what is not a list": ([("in: params.skus", "in: params.email")], Rule.MAPPING_TYPE, "/do/3/for/in", "params.email"),
    "wrong mapping expression": ([("key: sku.key", 'key: "sku.[key"')], Rule.EXPRESSION, "/do/3/do/0/with/key", "sku.[key"),
    "function that does not exist": ([("key: sku.key", 'key: "minus(sku.key, sku.id)"')], Rule.EXPRESSION, "/do/3/do/0/with/key", "minus"),
    "sum of a text": ([("amount_minor: 4200, currency", 'amount_minor: "add(params.email, `1`)", currency')], Rule.MAPPING_FIELD, "/do/7/with/amount_minor", "add(params.email"),
    "wrong condition": ([('steps.approve.option == "pay"', 'steps.approve.option = "pay"')], Rule.EXPRESSION, "/do/5/if", "if:"),
    "condition that compares a text with a number": ([("params.amount_minor > 0", "'a' > 0")], Rule.EXPRESSION, "/do/5/if", "if:"),
    "condition that is not boolean": ([('steps.approve.option == "pay" && params.amount_minor > 0', "params.amount_minor")], Rule.NOT_BOOLEAN, "/do/5/if", "if:"),
    "sum as a condition": ([('steps.approve.option == "pay" && params.amount_minor > 0', "1 + 2")], Rule.NOT_BOOLEAN, "/do/5/if", "if:"),
    "undeclared param": ([("key: params.email", "key: params.mail")], Rule.UNDECLARED_PARAM, "/do/0/with/key", "params.mail"),
    "undeclared param of a trigger": ([("with: {reference: event", "with: {number: event")], Rule.UNDECLARED_PARAM, "/triggers/1/with/number", "number"),
    "param that the trigger does not give": ([("{type: string, default: ada@example.com}", "{type: string}")], Rule.MISSING_ARGUMENT, "/triggers/0", "cron"),
    "default outside its schema": ([("minimum: 1, default: 4200", "minimum: 1, default: 0")], Rule.PARAM_DEFAULT, "/params/amount_minor/default", "default: 0"),
    "param with a pattern": ([("{type: string, default: order-1}", '{type: string, default: a, pattern: "(a+)+$"}')], Rule.PARAM_SCHEMA, "/params/reference", "pattern"),
    "param whose schema is none": ([("{type: string, default: order-1}", "{type: text, default: a}")], Rule.PARAM_SCHEMA, "/params/reference", "type: text"),
    "two triggers of one webhook": ([("  - webhook: pay\n", "  - webhook: pay\n  - webhook: pay\n")], Rule.DUPLICATE_WEBHOOK, "/triggers/3/webhook", "webhook: pay"),
    "webhook of another workflow": ([("webhook: pay", "webhook: taken")], Rule.DUPLICATE_WEBHOOK, "/triggers/2/webhook", "taken"),
    "wrong cron": ([('"0 3 * * 1-5"', '"0 25 * * 1-5"')], Rule.CRON, "/triggers/0/cron", "cron"),
    "cron with seconds": ([('"0 3 * * 1-5"', '"0 0 3 * * 1-5"')], Rule.CRON, "/triggers/0/cron", "cron"),
    "unknown time zone": ([("Europe/Berlin", "Europe/Bern2")], Rule.CRON, "/triggers/0/timezone", "timezone"),
    "unknown event type": ([("event: crossdock.order.confirmed", "event: crossdock.order.confirm")], Rule.UNKNOWN_EVENT, "/triggers/1/event", "confirm"),
    "unknown event type of a listener": ([("crossdock.payment.reported", "crossdock.payment.sent")], Rule.UNKNOWN_EVENT, "/do/8/listen/event", "sent"),
    "filter on a missing field": ([("event.data.outcome ==", "event.data.result ==")], Rule.FILTER_FIELD, "/triggers/1/where", "result"),
    "compensatable step after the pivot": (
        [("    pivot: true\n", ""), ("    wait: 5m\n", "    wait: 5m\n  - id: early\n    call: payments.get_payment\n    with: {payment_ref: \"'pi_1'\"}\n    pivot: true\n"), ("amount_minor: 4200, currency: \"'EUR'\"}\n", "amount_minor: 4200, currency: \"'EUR'\"}\n    undo: {call: payments.get_payment, with: {payment_ref: \"'pi_1'\"}}\n")],
        Rule.UNDO_AFTER_PIVOT, "/do/8/undo", "undo",
    ),
    "two pivots": ([("    catch: {errors: [refused], handler: note}\n", "    catch: {errors: [refused], handler: note}\n    pivot: true\n")], Rule.TWO_PIVOTS, "/do/7/pivot", "pivot: true"),
    "pivot with a condition": ([("    pivot: true\n", "    pivot: true\n    if: params.amount_minor > 5\n")], Rule.PIVOT_PLACE, "/do/7/if", "if:"),
    "pivot inside a loop": ([("    pivot: true\n", ""), ("        key: sku.id\n", "        key: sku.id\n        pivot: true\n")], Rule.PIVOT_PLACE, "/do/3/do/0/pivot", "pivot"),
    "cancel after the pivot": ([("    timeout: 1d\n", "    timeout: 1d\n  - {id: late, cancel: Too late}\n")], Rule.CANCEL_AFTER_PIVOT, "/do/9/cancel", "cancel"),
    "cancel in a handler of a step after the pivot": (
        [("    timeout: 1d\n", "    timeout: 1d\n    catch: {handler: quit}\n"), ("handlers:\n", "handlers:\n  quit:\n    do: [{id: late, cancel: Too late}]\n")],
        Rule.CANCEL_AFTER_PIVOT, "/handlers/quit/do/0/cancel", "cancel",
    ),
    "cancel in the pivot's own handler of an unknown outcome": (
        [("    pivot: true\n", "    pivot: true\n    catch: {errors: [declined, unknown], handler: quit}\n"), ("handlers:\n", "handlers:\n  quit:\n    do: [{id: late, cancel: Too late}]\n")],
        Rule.CANCEL_AFTER_PIVOT, "/handlers/quit/do/0/cancel", "cancel",
    ),
    "cancel in a branch that the pivot does not wait for": (
        [("{order_number: params.reference}}]", "{order_number: params.reference}}, {id: late, cancel: Stop}]")], Rule.CANCEL_AFTER_PIVOT, "/do/2/fork/branches/order/do/1/cancel", "cancel"
    ),
    "undo of another's action": ([("call: payments.void", "call: shop.get_order"), ("{payment_ref: output.payment_ref, reference: params.reference}", "{order_number: params.reference}")], Rule.UNDO_OF_ANOTHER, "/do/5/undo/call", "call: shop.get_order"),
    "write without key": ([("        key: sku.id\n", "")], Rule.WRITE_WITHOUT_KEY, "/do/3/do/0", "id: change"),
    "retry on a decline": ([("errors: [failed, unknown]", "errors: [failed, declined]")], Rule.RETRY_ON_DECLINE, "/do/5/retry/errors", "declined"),
    "timeout zero": ([("timeout: 30s", "timeout: 0s")], Rule.TIMEOUT_ZERO, "/do/5/timeout", "0s"),
    "timeout zero of the workflow": ([("timeout: 1h", "timeout: 0h")], Rule.TIMEOUT_ZERO, "/timeout", "0h"),
    "wait of zero": ([("wait: 5m", "wait: 0m")], Rule.TIMEOUT_ZERO, "/do/6/wait", "0m"),
    "endless wait for an event": ([("    timeout: 1d\n", "")], Rule.ENDLESS_WAIT, "/do/8", "id: hear"),
    "endless wait for a person": ([("    timeout: 2d\n", "")], Rule.ENDLESS_WAIT, "/do/4", "id: approve"),
    "loop without bound": ([(", at_most: 100", "")], Rule.LOOP_WITHOUT_BOUND, "/do/3/for", "for:"),
    "join that waits for nothing": ([("join: [stock]", "join: []")], Rule.EMPTY_JOIN, "/do/2/fork/join", "join: []"),
    "join of a branch that is not there": ([("join: [stock]", "join: [stocks]")], Rule.EMPTY_JOIN, "/do/2/fork/join", "stocks"),
    "unknown handler": ([("    timeout: 1d\n", "    timeout: 1d\n    catch: {handler: notes}\n")], Rule.UNKNOWN_HANDLER, "/do/8/catch/handler", "notes"),
    "handler that nobody calls": ([("    catch: {errors: [refused], handler: note}\n", "")], Rule.UNREACHABLE_STEP, "/handlers/note", "note:"),
    "error handler that calls itself": ([("        set: {why: error.message}\n", "        set: {why: error.message}\n        catch: {handler: note}\n")], Rule.HANDLER_CALLS_ITSELF, "/handlers/note/do/0/catch/handler", "catch"),
    "error handlers that call each other": (
        [("        set: {why: error.message}\n", "        set: {why: error.message}\n        catch: {handler: again}\n  again:\n    do: [{id: a2, set: {x: error.step}, catch: {handler: note}}]\n")],
        Rule.HANDLER_CALLS_ITSELF, "/handlers/again/do/0/catch/handler", "a2",
    ),
    "secret as a literal": ([("\"'pm_card_visa'\"", "\"'sk_live_4eC39HqLyjWDarjtT1zdp7dc'\"")], Rule.SECRET, "/do/5/with/payment_method", "payment_method"),
    "password by its name": ([("set: {why: error.message}", "set: {password: \"'correct horse'\"}")], Rule.SECRET, "/handlers/note/do/0/set/password", "password"),
    "password in what a question shows": ([("default: refuse}", "default: refuse, shows: {password: \"'correct horse'\"}}")], Rule.SECRET, "/do/4/decide/shows/password", "password"),
    "schema version unknown": ([("crossdock.workflow/1", "crossdock.workflow/9")], Rule.SCHEMA_VERSION, "/schema", "schema:"),
    "field that the form does not know": ([("    wait: 5m\n", "    wait: 5m\n    colour: red\n")], Rule.FORM, "/do/6/colour", "colour"),
    "step of two kinds": ([("    wait: 5m\n", "    wait: 5m\n    raise: no\n")], Rule.FORM, "/do/6", "id: pause"),
    "field of another kind of step": ([("    wait: 5m\n", "    wait: 5m\n    pivot: true\n")], Rule.FORM, "/do/6/pivot", "pivot"),
    "default that is not an option": ([("default: refuse}", "default: perhaps}")], Rule.FORM, "/do/4/decide/default", "perhaps"),
    "not YAML": ([("timeout: 1h", "timeout: [1h")], Rule.SYNTAX, "", ""),
    "duplicate key": ([("title: Pay an order\n", "title: Pay an order\ntitle: Pay\n")], Rule.SYNTAX, "/title", "title: Pay"),
    "date instead of a text": ([("title: Pay an order", "title: 2026-11-21")], Rule.SYNTAX, "/title", "2026"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_mistake_is_found_with_its_place_and_nothing_else_is(name: str) -> None:
    pairs, rule, pointer, line = SEEDED[name]
    text = changed(*pairs)

    found = findings(text)

    assert (rule, pointer) in {(finding.rule, finding.pointer) for finding in found}, [str(each) for each in found]
    named = next(finding for finding in found if (finding.rule, finding.pointer) == (rule, pointer))
    assert line in text.splitlines()[named.line - 1]
    assert {finding.rule for finding in found} == {rule}, [str(each) for each in found]


def test_an_untested_integration_is_named() -> None:
    untested = WorkflowCatalog(has_registry=True, kinds=HUB.kinds, tested=HUB.tested - {"payments"})

    assert [(each.rule, each.pointer) for each in findings(GOOD, untested)] == [
        (Rule.UNTESTED_INTEGRATION, "/integrations/payments")
    ]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    """One mistake in the form of a step hides none of the others."""
    names = [
        "wrong cron",
        "unknown action",
        "field of another kind of step",
        "loop without bound",
        "endless wait for an event",
    ]
    text = changed(*(pair for name in names for pair in SEEDED[name][0]))

    found = findings(text)

    assert {each.rule for each in found} == {SEEDED[name][1] for name in names}
    assert [each.line for each in found] == sorted(each.line for each in found)


def test_a_secret_is_never_quoted() -> None:
    found = findings(changed(*SEEDED["secret as a literal"][0]))

    assert found
    assert "sk_live" not in " ".join(map(str, found))


def _step(text: str, head: str = "") -> str:
    """Write a definition of one step."""
    return f"schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\n{head}do:\n  - id: s1\n    {text}\n"


_CRM = "integrations: {crm: hubspot}\n"
#: Definitions in which nothing is wrong.
GOOD_ONES = {
    "all": GOOD,
    "as JSON": json.dumps(yaml.safe_load(GOOD)),
    "as JSON with tabs": json.dumps(yaml.safe_load(GOOD), indent="\t"),
    "with a jump over a step": changed(("    wait: 5m\n", "    wait: 5m\n    if: params.amount_minor > 5\n    then: hear\n")),
    "with an end": changed(("    wait: 5m\n", "    wait: 5m\n    if: params.amount_minor > 5\n    then: end\n")),
    "the seed's mapping": _step("set: {x: '{customerId: data.id}'}", "params: {id: {type: string}}\n"),
    "one wait": _step("wait: 500ms"),
    "a raise": _step("raise: Stop"),
    "a cancel": _step("cancel: Stop"),
    "a cancel before the pivot": changed(("            raise: The customer is unknown", "            cancel: The customer is unknown")),
    "a cancel in a handler of the pivot": changed(("    pivot: true\n", "    pivot: true\n    catch: {errors: [declined], handler: quit}\n"), ("handlers:\n", "handlers:\n  quit:\n    do: [{id: early, cancel: It was declined}]\n")),
    "literals": _step("set: {a: 1, b: true, c: null, d: [1, \"'x'\"], e: {f: 2.5}}"),
    "functions": _step("set: {a: \"length(params.l)\", b: \"join(',', params.l)\", c: \"params.l[0]\", d: \"params.l[?@ == 'x']\"}", "params: {l: {type: array, items: {type: string}}}\n"),
    "a projection": _step("call: crm.find_customers\n    with: {keys: 'params.l[*].key'}", _CRM + "params: {l: {type: array, items: {type: object, properties: {key: {type: string}}}}}\n"),
    "a nullable argument": _step("call: crm.find_customer\n    with: {key: params.k}", _CRM + "params: {k: {type: [string, 'null'], default: null}}\n"),
    "a field of an open object": _step("set: {a: params.o.x.y}", "params: {o: {type: object}}\n"),
    "an undeclared type": _step("call: crm.find_customer\n    with: {key: params.k}", _CRM + "params: {k: {}}\n"),
    "a boolean param as a condition": _step("raise: Stop\n    if: params.b", "params: {b: {type: boolean}}\n"),
    "a condition with a macro": _step("raise: Stop\n    if: params.l.exists(each, each.n > 3)", "params: {l: {type: array}}\n"),
    "a webhook": _step("set: {a: params.a}", "triggers: [{webhook: w2, with: {a: event.data.whatever}}]\nparams: {a: {type: string}}\n"),
    "an optional param": _step("set: {a: params.a}", "triggers: [{cron: '*/5 * * * *'}]\nparams: {a: {type: string, default: x}}\n"),
    "a number for a number": _step("set: {a: params.a}", "params: {a: {type: number, default: 3}}\n"),
    **{path.stem: path.read_text() for path in EXAMPLES},
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_ONES)
def test_nothing_is_found_in_a_good_definition(name: str) -> None:
    catalog = WorkflowCatalog() if name in {path.stem for path in EXAMPLES} else HUB

    assert [str(each) for each in findings(GOOD_ONES[name], catalog)] == []


def warned(text: str) -> list[tuple[str, str]]:
    found = validate(text, HUB)
    assert found.findings == ()
    return [(str(each.rule), each.pointer) for each in found.warnings]


_READS_A = "  - {id: zz, set: {x: steps.aa.n}}\n"
#: Steps, and where each reads what may not be there.
SKIPPED = {
    "a condition": ("  - {id: aa, if: params.b, set: {n: 1}}\n" + _READS_A, ["/do/1/set/x"]),
    "a case": ("  - {id: ss, switch: [{when: params.b, do: [{id: aa, set: {n: 1}}]}]}\n" + _READS_A, ["/do/1/set/x"]),
    "a jump": (
        "  - {id: jj, if: params.b, wait: 1s, then: zz}\n  - {id: aa, set: {n: 1}}\n" + _READS_A,
        ["/do/2/set/x"],
    ),
    "a branch that nothing waits for": (
        "  - {id: ff, fork: {branches: {one: {do: [{id: aa, set: {n: 1}}]}, two: {do: [{id: bb, wait: 1s}]}}, join: [two]}}\n"
        + _READS_A,
        ["/do/1/set/x"],
    ),
    "a condition that reads it": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: zz, if: steps.aa.n == 1, wait: 1s}\n",
        ["/do/1/if"],
    ),
    "what a question shows": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: zz, decide: {question: Q, options: [a1, b1], shows: {x: steps.aa.n}}, timeout: 1d}\n",
        ["/do/1/decide/shows/x"],
    ),
    # Not one of these:
    "certain": ("  - {id: aa, set: {n: 1}}\n" + _READS_A, []),
    "the same case": (
        "  - {id: ss, switch: [{when: params.b, do: [{id: aa, set: {n: 1}}, {id: zz, set: {x: steps.aa.n}}]}]}\n",
        [],
    ),
    "the same condition": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: zz, if: params.b, set: {x: steps.aa.n}}\n",
        [],
    ),
    "looked at before": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: zz, if: steps.aa != null && steps.aa.n == 1, set: {x: steps.aa.n}}\n",
        [],
    ),
    "ended without it": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: ee, if: steps.aa == null, cancel: Nothing}\n" + _READS_A,
        [],
    ),
    "with a value in its place": (
        "  - {id: aa, if: params.b, set: {n: 1}}\n  - {id: zz, set: {x: steps.aa.n || `0`}}\n",
        [],
    ),
    "jumped to by itself alone": (
        "  - {id: aa, if: params.b, set: {n: 1}, then: zz}\n  - {id: ee, wait: 1s, then: end}\n" + _READS_A,
        [],
    ),
    "joined": (
        "  - {id: ff, fork: {branches: {one: {do: [{id: aa, set: {n: 1}}]}, two: {do: [{id: bb, wait: 1s}]}}}}\n"
        + _READS_A,
        [],
    ),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_a_read_of_a_step_that_may_be_skipped_is_a_warning(name: str) -> None:
    steps, places = SKIPPED[name]
    head = "schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\nparams: {b: {type: boolean}}\ndo:\n"

    assert warned(head + steps) == [("may_be_null", place) for place in places]


def test_a_warning_says_why_and_what_is_read_then() -> None:
    (found,) = validate(
        _step("wait: 1s\n    if: params.b\n  - id: zz\n    set: {x: steps.s1}", "params: {b: {type: boolean}}\n"), HUB
    ).warnings

    assert found.message == "s1 may be skipped (it has a condition): this reads null then"


_MAIL = "call: mails.send_mail, with: {reference: \"'R'\", kind: \"'test'\", from: {address: \"'a@b.example'\"}, to: {address: \"'a@b.example'\"}, subject: \"'S'\", text: \"'T'\"}"
_PAUSE = "  - {id: pp, wait: 1s}\n"
#: Steps, and the writes that stay if a later step fails.
STAYS = {
    "before another step": (f"  - {{id: mm, {_MAIL}}}\n{_PAUSE}", ["/do/0"]),
    "the last one": (f"{_PAUSE}  - {{id: mm, {_MAIL}}}\n", []),
    "the pivot": (f"  - {{id: mm, {_MAIL}, pivot: true}}\n{_PAUSE}", []),
    "after the pivot": (f"  - {{id: mm, {_MAIL}, pivot: true}}\n  - {{id: nn, {_MAIL}}}\n{_PAUSE}", []),
    "before the pivot": (f"  - {{id: nn, {_MAIL}}}\n  - {{id: mm, {_MAIL}, pivot: true}}\n", ["/do/0"]),
    "beside another branch": (
        f"  - {{id: ff, fork: {{branches: {{one: {{do: [{{id: mm, {_MAIL}}}]}}, two: {{do: [{{id: pp, wait: 1s}}]}}}}}}}}\n",
        ["/do/0/fork/branches/one/do/0"],
    ),
    "a read": ("  - {id: cc, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n" + _PAUSE, []),
}


@pytest.mark.parametrize("name", STAYS)
def test_a_write_that_nothing_undoes_is_a_warning(name: str) -> None:
    steps, places = STAYS[name]
    head = "schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\nintegrations: {crm: hubspot, mails: smtp_relay}\ndo:\n"

    assert warned(head + steps) == [("not_undone", place) for place in places]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_no_example_has_a_warning(path: Path) -> None:
    assert [str(each) for each in validate(path.read_text(), WorkflowCatalog()).warnings] == []


def test_there_are_twenty_good_definitions_and_thirty_classes_of_mistakes() -> None:
    assert len(GOOD_ONES) >= 20
    assert len({rule for _, rule, _, _ in SEEDED.values()}) >= 30


def test_the_published_schema_is_the_one_that_is_used_and_is_small() -> None:
    published = PROJECT / "docs/reference/workflow.schema.json"

    assert json.loads(published.read_text()) == schema()
    assert published.stat().st_size < 15_000


def test_each_rule_can_be_found() -> None:
    """A rule that no seeded mistake breaks is one that nobody checks."""
    seeded = {rule for _, rule, _, _ in SEEDED.values()}

    assert set(Rule) - seeded == {Rule.TOO_LARGE, Rule.UNTESTED_INTEGRATION}


@pytest.mark.parametrize(("many", "rule"), [(201, Rule.TOO_LARGE), (9_000, Rule.TOO_LARGE), (10_000, Rule.SYNTAX)])
def test_a_definition_of_too_many_steps_has_one_mistake(many: int, rule: Rule) -> None:
    """Ten thousand are more values than the hub reads of any YAML."""
    steps = ", ".join(f"{{id: s{number}, wait: 1s}}" for number in range(many))

    found = findings(f"schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\ndo: [{steps}]\n")

    assert [each.rule for each in found] == [rule]


def test_a_text_beyond_the_largest_is_not_read() -> None:
    assert [each.rule for each in findings("#" * (MOST_CHARACTERS + 1))] == [Rule.TOO_LARGE]


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", "do", "{}", "do: 3", "do: [3]", "do: [{}]", "handlers: 3", "params: {a: 3}"]
)
def test_what_is_not_a_workflow_at_all_has_findings_and_ends(text: str) -> None:
    assert findings(text)

"""./hub workflow: what a developer sees of a definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from crossdock.cli import executions
from crossdock.workflows.model import CANCELLED_BY_FLOW
from tests.cli.conftest import Hub

EXAMPLE = Path(__file__).parents[2] / "docs/workflows/order_flow.yaml"


def test_a_good_file_is_valid_without_a_running_hub(stackless_hub: Hub) -> None:
    ended = stackless_hub("workflow", "validate", str(EXAMPLE), "--json")

    assert (ended.code, ended.document) == (0, {"id": "order_flow", "version": 1, "steps": 9, "warnings": []})


def test_what_is_probably_not_meant_is_a_warning_and_no_mistake(stackless_hub: Hub, tmp_path: Path) -> None:
    doubtful = tmp_path / "doubtful.yaml"
    doubtful.write_text(EXAMPLE.read_text().replace("    timeout: 30s\n", "    if: params.quantity > 1\n"))

    ended = stackless_hub("workflow", "validate", str(doubtful))

    assert ended.code == 0
    warning = (
        "line 31: /do/3/if: check_inventory may be skipped (it has a condition): this reads null then [may_be_null]"
    )
    assert warning in " ".join(ended.err.split())


def test_every_mistake_of_a_file_is_shown_with_its_line_and_pointer(stackless_hub: Hub, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        EXAMPLE.read_text().replace("crm.get_standing", "crm.standing").replace("timeout: 30s", "timeout: 0s")
    )

    ended = stackless_hub("workflow", "validate", str(wrong))

    assert ended.code == 2
    assert "line 21: /do/0/call: crm (hubspot) has no action standing" in " ".join(ended.err.split())
    assert "/do/2/timeout: must be more than zero" in " ".join(ended.err.split())


def test_a_file_that_is_not_there_is_wrong_use(stackless_hub: Hub, tmp_path: Path) -> None:
    assert stackless_hub("workflow", "validate", str(tmp_path / "none.yaml")).code == 2


def test_a_test_run_shows_its_steps_and_ends_like_the_workflow(stackless_hub: Hub, tmp_path: Path) -> None:
    good = stackless_hub("workflow", "test", str(EXAMPLE))
    assert (good.code, "COMPLETED after 0 s" in good.out) == (0, True)

    answers = tmp_path / "answers.yaml"
    answers.write_text("capture: [{status: declined, message: no funds}]")
    failed = stackless_hub("workflow", "test", str(EXAMPLE), "--answers", str(answers), "--json")

    assert (failed.code, failed.document["state"], failed.document["message"]) == (1, "FAILED", "capture: no funds")


ASKED = {"decision_id": 7, "question": "Order it?", "choices": ["order", "leave"]}


@pytest.mark.parametrize(
    ("state", "cancelled_by", "asks", "code"),
    [
        ("COMPLETED", None, [], 0),
        ("FAILED", None, [], 1),
        ("CANCELLED", "airflow:otto", [], 1),
        ("CANCELLED", CANCELLED_BY_FLOW, [], 0),
        ("RUNNING", None, [ASKED], 4),
    ],
)
def test_the_exit_code_says_whether_somebody_has_to_act(
    state: str, cancelled_by: str | None, asks: list[dict[str, Any]], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """An end that the workflow foresees is no failure; and a question is shown with the command that answers it."""
    found = {"execution_id": "exe_1", "workflow_id": "w1", "version": 1, "state": state, "cancelled_by": cancelled_by}
    shown = {**found, "steps": [], "not_undone": [], "waits_for": None, "retried_as": None, "asks": asks}

    ended = 0
    try:
        executions._show_status(shown, as_json=False)
    except typer.Exit as stopped:
        ended = stopped.exit_code

    assert ended == code
    words = " ".join("".join(capsys.readouterr()).split())
    assert ("./hub decisions decide 7 order --reason" in words) is bool(asks)


def test_a_param_that_is_not_valid_is_named(stackless_hub: Hub, tmp_path: Path) -> None:
    params = tmp_path / "params.json"
    params.write_text('{"quantity": 0}')

    ended = stackless_hub("workflow", "test", str(EXAMPLE), "--params", str(params))

    assert (ended.code, "/quantity: must be at least 1" in ended.err) == (2, True)

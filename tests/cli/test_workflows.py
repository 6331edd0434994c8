"""./hub workflow: what a developer sees of a definition."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

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


@pytest.mark.parametrize(
    ("state", "cancelled_by", "code"),
    [
        ("COMPLETED", None, 0),
        ("FAILED", None, 1),
        ("CANCELLED", "airflow:otto", 1),
        ("CANCELLED", CANCELLED_BY_FLOW, 0),
    ],
)
def test_an_end_that_the_workflow_foresees_is_no_failure_of_the_command(
    state: str, cancelled_by: str | None, code: int
) -> None:
    found = {"execution_id": "exe_1", "workflow_id": "w1", "version": 1, "state": state, "cancelled_by": cancelled_by}
    shown = {**found, "steps": [], "not_undone": [], "waits_for": None}

    with nullcontext() if code == 0 else pytest.raises(typer.Exit):
        executions._show_status(shown, as_json=True)


def test_a_param_that_is_not_valid_is_named(stackless_hub: Hub, tmp_path: Path) -> None:
    params = tmp_path / "params.json"
    params.write_text('{"quantity": 0}')

    ended = stackless_hub("workflow", "test", str(EXAMPLE), "--params", str(params))

    assert (ended.code, "/quantity: must be at least 1" in ended.err) == (2, True)

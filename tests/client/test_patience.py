"""A command that watches outlasts a restart of the api-server, and says how to go on when it does not come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crossdock.cli.exit_codes import Exit, exit_of_error
from crossdock.client import dag_runs
from crossdock.client.errors import AirflowRefused, AirflowUnreachable
from crossdock.client.hub import HubRefused, HubUnavailable
from crossdock.client.patience import LostSight, Patience

AWAY = (
    AirflowUnreachable("GET /", "ConnectionError"),
    AirflowRefused("GET /", 502, "Bad Gateway"),
    HubUnavailable({"detail": "the database is away"}),
    HubRefused({"status": 500}),
)


def answering(*answers: Any) -> Callable[[], Any]:
    each = iter(answers)

    def find() -> Any:
        answer = next(each)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return find


class Api:
    """Airflow's API, and the hub's, as a restart has them."""

    url = "http://hub.test"

    def __init__(self, *states: Any) -> None:
        self._states = answering(*states)

    def dag_run(self, _dag_id: str, _run_id: str) -> dict[str, Any]:
        return {"state": self._states()}


@pytest.mark.parametrize("away", AWAY, ids=lambda error: type(error).__name__)
def test_a_run_is_followed_through_a_restart(away: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dag_runs, "_runs", lambda *_: [{"run_id": "r", "landed": 1, "counts": {"read": 1}, "expected_records": 1}]
    )
    said: list[str] = []
    state, runs = dag_runs.follow(
        Api("running", away, away, "success"),  # type: ignore[arg-type]  the calls that are made
        "shop.orders",
        "manual__1",
        lambda sentence, **_: said.append(sentence),
    )

    assert (state, len(runs)) == ("success", 1)
    assert said.count("The api-server does not answer; waiting for it") == 2


def test_one_that_stays_away_ends_with_the_command_that_shows_how_it_ended() -> None:
    patience = Patience("DAG run manual__1", "./hub runs --stream shop.orders", patience_s=0)
    with pytest.raises(LostSight) as lost:
        patience.look(answering(AWAY[0]))

    assert "DAG run manual__1 goes on without this command" in str(lost.value)
    assert str(lost.value).endswith("To see how it ended: ./hub runs --stream shop.orders")
    assert exit_of_error(lost.value) is Exit.PARTIAL


def test_what_no_wait_mends_ends_it_at_once() -> None:
    with pytest.raises(AirflowRefused):
        Patience("DAG run manual__1", "").look(answering(AirflowRefused("GET /", 404, "not found")))

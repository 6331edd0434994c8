"""Routes in files: each mistake has its line, and a file with one leaves its routes as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.db.database import Store
from crossdock.maintenance.alerting import declared, repository, service
from crossdock.maintenance.alerting.declared import InvalidRoutes
from crossdock.observability import alerts
from tests.maintenance.alerting.receivers import add_route
from tests.shop import query

VALID = """\
routes:
  - name: on-call
    integration: ops_mail
    recipients: [ada@shop.example]
    severity: critical
  - name: office
    integration: ops_slack
    kinds: ["run_*", rows_rejected]
    streams: ["shop_eu.*"]
    quiet:
      zone: Europe/Berlin
      windows:
        - {from: "18:00", to: "08:00"}
        - {days: [sat, sun], from: "00:00", to: "00:00"}
      critical_passes: true
    digest_over: 5
    remind_every_hours: 4
"""


def names(store: Store) -> dict[str, str | None]:
    with store.transaction() as work:
        return {each.route.name: each.declared_in for each in repository.routes(work)}


def mistakes_in(path: Path) -> list[tuple[int, str]]:
    with pytest.raises(InvalidRoutes) as error:
        declared.read(path)
    return [(mistake.line, mistake.pointer) for mistake in error.value.mistakes]


def open_alerts(store: Store) -> dict[str, str]:
    with store.transaction() as work:
        return {alert.subject: alert.message for alert in alerts.find(work)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes" / "ops.yaml"
    path.parent.mkdir()
    path.write_text(VALID)
    return path


def test_a_route_means_the_same_in_a_file_and_in_the_database(file: Path, store: Store) -> None:
    service.sync_declared(store, str(file))

    with store.transaction() as work:
        stored = [each.route for each in repository.routes(work)]
    assert stored == sorted(declared.read(file), key=lambda route: route.name)
    assert names(store) == {"on-call": "ops.yaml", "office": "ops.yaml"}


def test_each_mistake_has_its_line(file: Path) -> None:
    file.write_text(
        VALID.replace("critical\n", "dire\n", 1)
        .replace("Europe/Berlin", "Berlin")
        .replace("digest_over: 5", "digest_ove: 5")
        .replace('from: "18:00"', 'from: "6 pm"')
    )

    assert mistakes_in(file) == [
        (5, "/routes/0/severity"),
        (11, "/routes/1/quiet/zone"),
        (13, "/routes/1/quiet/windows/0/from"),
        (16, "/routes/1/digest_ove"),
    ]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("", [(1, "")]),
        ("routes: [", [(2, "")]),
        ("routes:\n  - name: a\n", [(2, "/routes/0/integration")]),
        ("routes:\n- {name: a, integration: bb}\n- {name: a, integration: bb}\n", [(3, "/routes/1/name")]),
        ("routes:\n- {name: a, integration: bb}\nroutes: []\n", [(3, "/routes")]),
    ],
)
def test_other_mistakes_have_theirs(file: Path, text: str, mistakes: list[tuple[int, str]]) -> None:
    file.write_text(text)

    assert mistakes_in(file) == mistakes


def test_a_file_with_a_mistake_leaves_its_routes_and_is_an_alert(file: Path, store: Store) -> None:
    """Whoever is on call must not lose the alerts by a typing mistake in the file that sends them."""
    service.sync_declared(store, str(file.parent))
    file.write_text(VALID.replace("critical\n", "dire\n", 1))
    service.sync_declared(store, str(file.parent))

    assert set(names(store)) == {"on-call", "office"}
    assert "line 5: /routes/0/severity" in open_alerts(store)["ops.yaml"]
    file.write_text(VALID)
    service.sync_declared(store, str(file.parent))
    assert open_alerts(store) == {}


def test_a_route_that_left_its_file_is_removed_and_one_over_rest_stays(file: Path, store: Store) -> None:
    add_route(store, "mine")
    service.sync_declared(store, str(file.parent))
    file.write_text("routes: []")
    service.sync_declared(store, str(file.parent))

    assert names(store) == {"mine": None}


def test_a_place_that_is_not_there_removes_nothing(file: Path, store: Store) -> None:
    """A volume that is not mounted must not silence the alerts."""
    service.sync_declared(store, str(file.parent))
    file.parent.rename(file.parent.with_name("gone"))
    service.sync_declared(store, str(file.parent))

    assert set(names(store)) == {"on-call", "office"}
    assert "HUB_ALERT_ROUTES" in next(iter(open_alerts(store).values()))


def test_a_name_in_two_files_is_a_mistake_of_the_second(file: Path) -> None:
    file.with_name("zz.yaml").write_text("routes:\n- {name: office, integration: other}\n")
    found = declared.read_all(str(file.parent))

    assert {route.integration for route in found.routes} == {"ops_mail", "ops_slack"}
    assert "ops.yaml" in found.invalid["zz.yaml"]


def test_a_route_that_cannot_be_read_stops_no_other_and_is_an_alert_until_it_is_added_again(
    store: Store, tmp_path: Path
) -> None:
    """Another version has written it, or its time zone is no more: the whole sender stood still, and the list of routes."""
    add_route(store, "mine")
    add_route(store, "other")
    query(
        store,
        "UPDATE alert_route SET definition = definition || '{\"severity\": \"dire\"}' WHERE name = 'other' RETURNING 1",
    )
    service.sync_declared(store, str(tmp_path))

    assert names(store) == {"mine": None}
    assert "other cannot be read" in open_alerts(store)["route other"]
    add_route(store, "other")
    service.sync_declared(store, str(tmp_path))
    assert set(names(store)) == {"mine", "other"}
    assert open_alerts(store) == {}

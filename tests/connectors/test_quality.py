"""A connector's quality is what tests prove: a claim without its tests is found."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crossdock.integrations.actions.model import ActionKind
from crossdock.integrations.manifests import Manifest, Quality, manifests
from tests.contracts.alert_channels import CHANNELS
from tests.contracts.benches import CONNECTORS
from tests.contracts.gateways import GATEWAYS
from tests.contracts.mailers import MAILERS

PROJECT = Path(__file__).parents[2]
LEVELS = list(Quality)
#: The faults under which each writing action of a gold connector has one effect, as the IDs of its tests name them.
FAULT_KIT = frozenset(
    {
        "timeout_before",
        "timeout_after",
        "reset_before",
        "reset_after",
        "html_502_before",
        "html_502_after",
        "wrong_type",
        "status_429",
        "killed_before",
        "killed_after",
    }
)
#: The name of a test → the words in the brackets of each of its cases.
Collected = dict[str, list[frozenset[str]]]


def collect(files: set[str]) -> Collected:
    """Collect the tests of *files* as pytest does: what a manifest names must exist, with its parameters."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(files)]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    found: Collected = {}
    for line in ended.stdout.splitlines():
        name, _, case = line.partition("[")
        if "::" in name:
            found.setdefault(name, []).append(frozenset(case.removesuffix("]").split("-")) if case else frozenset())
    return found


def claimed(manifest: Manifest) -> list[Quality]:
    return LEVELS[: LEVELS.index(manifest.quality) + 1] if manifest.quality else []


def shortfalls(manifest: Manifest, tests: Collected) -> Iterator[str]:
    """Yield what *manifest* claims and *tests* do not show."""
    for level in claimed(manifest):
        evidence = manifest.evidence.get(level, ())
        cases = [case for name in evidence for case in _cases(tests, name)]
        yield from (f"{level}: {name} does not exist" for name in evidence if not _cases(tests, name))
        yield from (f"{level}: {needed}" for needed in _uncovered(manifest, level, cases))
    if manifest.quality is Quality.GOLD:
        yield from _undocumented(manifest)
        yield from (
            f"gold: the unknown outcome of {name} needs a person"
            for name, action in manifest.actions.items()
            if action.unknown == "person"
        )


def _cases(tests: Collected, name: str) -> list[frozenset[str]]:
    """List the cases of a test, or of all tests of a file."""
    return [case for test, cases in tests.items() if test == name or test.startswith(f"{name}::") for case in cases]


def _uncovered(manifest: Manifest, level: Quality, cases: list[frozenset[str]]) -> Iterator[str]:
    match level:
        case Quality.BRONZE:
            suites = (CONNECTORS, GATEWAYS, MAILERS, CHANNELS)
            names = [[each.name for each in suite if each.kind == manifest.kind] for suite in suites]
            shown = [any(set(name.split("-")) <= case for name in own for case in cases) for own in names if own]
            if not (shown and all(shown)):
                yield "the contract suite does not run for it"
        case Quality.SILVER:
            channel = ["alert_channel"] if "alert_channel" in manifest.provides else []
            for needed in (*(stream.resource for stream in manifest.streams), *manifest.actions, *channel):
                if not any(set(needed.split("-")) <= case for case in cases):
                    yield f"nothing validates {needed}"
        case Quality.GOLD:
            for name, action in manifest.actions.items():
                met = {word for case in cases if name in case for word in case}
                if action.kind is ActionKind.WRITE and FAULT_KIT - met:
                    yield f"{name} does not meet {', '.join(sorted(FAULT_KIT - met))}"


def _undocumented(manifest: Manifest) -> Iterator[str]:
    page = (PROJECT / "docs/reference/connectors.md").read_text()
    yield from (f"gold: docs lack {name}" for name in manifest.actions if not re.search(rf"`{name}`", page))


def files_of(manifest: Manifest) -> set[str]:
    return {name.partition("::")[0] for tests in manifest.evidence.values() for name in tests}


@pytest.fixture(scope="module")
def tests() -> Collected:
    return collect({file for manifest in manifests().values() for file in files_of(manifest)})


@pytest.mark.parametrize("kind", manifests())
def test_the_quality_of_a_connector_is_proved(kind: str, tests: Collected) -> None:
    assert list(shortfalls(manifests()[kind], tests)) == []


class TestAClaimWithoutEvidence:
    """The check above must be able to fail, for each thing that it asks."""

    gold = manifests()["commercetools"]

    def found(self, manifest: Manifest, tests: Collected) -> str:
        return "; ".join(shortfalls(manifest, tests))

    @pytest.mark.parametrize("level", LEVELS)
    def test_each_level_needs_evidence(self, tests: Collected, level: Quality) -> None:
        evidence = {other: names for other, names in self.gold.evidence.items() if other is not level}

        assert f"{level}: " in self.found(replace(self.gold, evidence=evidence), tests)

    def test_a_test_that_does_not_exist_is_named(self, tests: Collected) -> None:
        evidence = {**self.gold.evidence, Quality.GOLD: ("tests/api/test_actions.py::test_of_dreams",)}

        assert "test_of_dreams does not exist" in self.found(replace(self.gold, evidence=evidence), tests)

    def test_a_connector_that_the_suite_does_not_run_for_is_not_bronze(self, tests: Collected) -> None:
        assert "contract suite" in self.found(replace(self.gold, kind="acme"), tests)

    def test_a_new_action_needs_tests_of_its_own(self, tests: Collected) -> None:
        more = {**self.gold.actions, "cancel_order": self.gold.actions["change_order_state"]}
        found = self.found(replace(self.gold, actions=more), tests)

        assert "silver: nothing validates cancel_order" in found
        assert "gold: cancel_order does not meet html_502_after" in found
        assert "gold: docs lack cancel_order" in found

    def test_a_capability_without_its_own_suite_is_not_bronze(self, tests: Collected) -> None:
        """SMTP sends mails and alerts: the suite of one says nothing of the other."""
        mailer = manifests()["smtp_relay"]
        fewer = mailer.evidence[Quality.BRONZE][:1]

        assert "contract suite" in self.found(
            replace(mailer, evidence={**mailer.evidence, Quality.BRONZE: fewer}), tests
        )

    def test_a_channel_needs_a_reader_of_its_own(self, tests: Collected) -> None:
        more = {**manifests()["stripe"].provides, "alert_channel": "crossdock.connectors.stripe.channel:Channel"}

        assert "silver: nothing validates alert_channel" in self.found(
            replace(manifests()["stripe"], provides=more), tests
        )

    def test_a_fault_that_is_left_out_is_named(self, tests: Collected) -> None:
        (name, _) = self.gold.evidence[Quality.GOLD]
        fewer = {**tests, name: [case for case in tests[name] if "timeout_after" not in case]}

        assert "set_inventory_quantity does not meet timeout_after" in self.found(self.gold, fewer)

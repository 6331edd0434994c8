"""A test of a connection: each check says what it found, and the first that fails what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from crossdock.core.errors import HubError, SystemRefused, SystemUnavailable
from crossdock.http.ssrf_guard import AddressRules
from crossdock.http.transport import Tls as Trust
from crossdock.integrations import connection_test as checks
from crossdock.integrations.model import Check, Outcome

from tests.http.raw_server import Door, answer

#: This machine, for doors that a test opens.
HERE = AddressRules.of({"allowed_networks": ["127.0.0.0/8", "::1/128"]})
OK, FAILED, SKIPPED = Outcome.OK, Outcome.FAILED, Outcome.SKIPPED


@dataclass
class Probed:
    """A connector whose answers are told beforehand: a sentence, or the error that it raises."""

    url: str
    told: dict[str, str | HubError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def credentials(self) -> str:
        return self._tell("credentials")

    def scope(self) -> str:
        return self._tell("scope")

    def sample(self) -> str:
        return self._tell("sample")

    def _tell(self, name: str) -> str:
        self.asked.append(name)
        said = self.told.get(name, "well")
        if isinstance(said, HubError):
            raise said
        return said


def outcomes(found: tuple[Check, ...]) -> list[Outcome]:
    return [check.outcome for check in found]


def test_tls_is_looked_at_with_the_connections_own_authorities(tls: Any) -> None:
    """A company's own authority is known to nobody else, and the connector would trust it."""
    with Door(answer(), tls=tls.context) as door:
        unknown = checks.run(Probed(door.url), addresses=HERE)
        known = checks.run(Probed(door.url), addresses=HERE, tls=Trust(ca_file=tls.ca_file))

    assert outcomes(unknown) == [OK, FAILED, SKIPPED, SKIPPED, SKIPPED]
    assert "certificate" in unknown[1].message
    assert outcomes(known) == [OK] * 5
    assert known[1].message.startswith("TLSv1.")


def test_a_certificate_of_another_host_fails(tls_of_another_host: Any) -> None:
    with Door(answer(), tls=tls_of_another_host.context) as door:
        found = checks.run(Probed(door.url), addresses=HERE, tls=Trust(ca_file=tls_of_another_host.ca_file))

    assert found[1].outcome is FAILED
    assert "127.0.0.1" in found[1].message


@pytest.mark.parametrize("failing", ["credentials", "scope", "sample"])
def test_after_a_failure_nothing_more_is_asked(failing: str) -> None:
    with Door(answer()) as door:
        probe = Probed(door.url, {failing: SystemRefused("acme", 403, "no")})
        found = checks.run(probe, addresses=HERE)

    assert probe.asked[-1] == failing
    failed = next(check for check in found if check.name == failing)
    assert failed.hint == checks.HINTS[failing]
    assert not checks.passed(found)


def test_a_busy_system_is_no_reason_to_look_for_a_mistake() -> None:
    with Door(answer()) as door:
        probe = Probed(door.url, {"credentials": SystemUnavailable("acme", "GET /x answered HTTP 503")})
        found = checks.run(probe, addresses=HERE)

    assert found[2].hint == "The system was busy or down; test again when it is up"


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "http://169.254.169.254",
        "http://192.168.1.1:8080",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://0x7f000001:1",
        "http://2130706433:1",
        "http://0177.0.0.1:1",
        "http://127.1:1",
        "https://[::ffff:169.254.169.254]",
        "https://[64:ff9b::a9fe:a9fe]",
        "https://localhost",
    ],
)
def test_an_address_of_our_own_network_is_refused_before_it_is_called(url: str) -> None:
    """Who may add an integration must not be able to look around in the network behind the hub."""
    probe = Probed(url)
    found = checks.run(probe)

    assert found[0].outcome is FAILED
    assert "is not a public address" in found[0].message
    assert probe.asked == []


def test_a_network_that_is_allowed_by_name_is_called() -> None:
    with Door(answer()) as door:
        by_name = door.url.replace("127.0.0.1", "localhost")
        refused = checks.run(Probed(by_name))
        allowed = checks.run(Probed(by_name), addresses=HERE)

    assert "allowed_networks" in refused[0].message
    assert (refused[0].hint or "").startswith("If that network is meant, set allowed_networks to [")
    assert allowed[0].outcome is OK

"""The connection test: each check reports what it found, and a failed check what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from crossdock.core.errors import HubError, SystemRefused, SystemUnavailable
from crossdock.http.ssrf_guard import AllowedNetworks
from crossdock.http.transport import Tls
from crossdock.integrations import connection_test
from crossdock.integrations.model import Check, Outcome
from tests.http.raw_server import RawServer, answer

#: This machine, for the servers that a test starts.
HERE = AllowedNetworks.from_extra({"allowed_networks": ["127.0.0.0/8", "::1/128"]})
OK, FAILED, SKIPPED = Outcome.OK, Outcome.FAILED, Outcome.SKIPPED


@dataclass
class FakeTest:
    """A connector's checks with prepared results: a sentence, or the error that a check raises."""

    url: str
    results: dict[str, str | HubError] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)

    def credentials(self) -> str:
        return self._result("credentials")

    def scope(self) -> str:
        return self._result("scope")

    def sample(self) -> str:
        return self._result("sample")

    def _result(self, name: str) -> str:
        self.called.append(name)
        result = self.results.get(name, "well")
        if isinstance(result, HubError):
            raise result
        return result


def outcomes(found: tuple[Check, ...]) -> list[Outcome]:
    return [check.outcome for check in found]


def test_tls_is_checked_with_the_connections_own_authorities(tls: Any) -> None:
    """No public store knows a company's own authority, but the connector trusts it."""
    with RawServer(answer(), tls=tls.context) as server:
        unknown = connection_test.run_checks(FakeTest(server.url), allowed=HERE)
        known = connection_test.run_checks(FakeTest(server.url), allowed=HERE, tls=Tls(ca_file=tls.ca_file))

    assert outcomes(unknown) == [OK, FAILED, SKIPPED, SKIPPED, SKIPPED]
    assert "certificate" in unknown[1].message
    assert outcomes(known) == [OK] * 5
    assert known[1].message.startswith("TLSv1.")


def test_a_certificate_of_another_host_fails(tls_of_another_host: Any) -> None:
    with RawServer(answer(), tls=tls_of_another_host.context) as server:
        found = connection_test.run_checks(
            FakeTest(server.url), allowed=HERE, tls=Tls(ca_file=tls_of_another_host.ca_file)
        )

    assert found[1].outcome is FAILED
    assert "127.0.0.1" in found[1].message


@pytest.mark.parametrize("failing", ["credentials", "scope", "sample"])
def test_after_a_failure_no_later_check_runs(failing: str) -> None:
    with RawServer(answer()) as server:
        test = FakeTest(server.url, {failing: SystemRefused("acme", 403, "no")})
        found = connection_test.run_checks(test, allowed=HERE)

    assert test.called[-1] == failing
    failed = next(check for check in found if check.name == failing)
    assert failed.hint == connection_test.HINTS[failing]
    assert not connection_test.all_passed(found)


def test_a_busy_system_is_not_reported_as_a_mistake() -> None:
    with RawServer(answer()) as server:
        test = FakeTest(server.url, {"credentials": SystemUnavailable("acme", "GET /x answered HTTP 503")})
        found = connection_test.run_checks(test, allowed=HERE)

    assert found[2].hint == "The system was busy or down; test again when it is available"


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
    """Adding an integration must not be a way to scan the network behind the hub (SSRF)."""
    test = FakeTest(url)
    found = connection_test.run_checks(test)

    assert found[0].outcome is FAILED
    assert "is not a public address" in found[0].message
    assert test.called == []


def test_a_network_that_is_allowed_by_name_is_called() -> None:
    with RawServer(answer()) as server:
        by_name = server.url.replace("127.0.0.1", "localhost")
        refused = connection_test.run_checks(FakeTest(by_name))
        allowed = connection_test.run_checks(FakeTest(by_name), allowed=HERE)

    assert "allowed_networks" in refused[0].message
    assert (refused[0].hint or "").startswith("If this network is intended, set allowed_networks to [")
    assert allowed[0].outcome is OK

"""The connection test: each check reports what it found, and a failed check what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from crossdock.core.errors import HubError, SourceInvalid, SystemRefused, SystemUnavailable, Throttled
from crossdock.http.ssrf_guard import AllowedNetworks
from crossdock.http.transport import Tls
from crossdock.integrations import connection_test
from crossdock.integrations.model import Check, CheckOutcome
from tests.http.raw_server import RawServer, answer

#: This machine, for the servers that a test starts.
HERE = AllowedNetworks.from_extra({"allowed_networks": ["127.0.0.0/8", "::1/128"]})
OK, FAILED, SKIPPED = CheckOutcome.OK, CheckOutcome.FAILED, CheckOutcome.SKIPPED


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


def outcomes(found: tuple[Check, ...]) -> list[CheckOutcome]:
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


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        ("credentials", SystemRefused("acme", 401, "no")),
        ("credentials", SystemRefused("acme", 400, "invalid_client")),
        ("scope", SystemRefused("acme", 403, "no")),
        ("scope", SystemRefused("acme", 400, "invalid_scope")),
        ("sample", SourceInvalid("acme", "GET /x", 200, "is no list")),
    ],
)
def test_after_a_failure_no_later_check_runs(failing: str, error: HubError) -> None:
    with RawServer(answer()) as server:
        test = FakeTest(server.url, {failing: error})
        found = connection_test.run_checks(test, allowed=HERE)

    assert test.called[-1] == failing
    failed = next(check for check in found if check.name == failing)
    assert failed.hint == connection_test.HINTS[failing]
    assert not connection_test.all_passed(found)


BLAME = [
    (
        SystemUnavailable("acme", "no answer from h to GET /x: Connection reset by peer"),
        "was not reached or did not answer",
    ),
    (SystemUnavailable("acme", "GET /x at h answered HTTP 503", status=503), "The system was busy or down; test again"),
    (Throttled("acme", "GET /x at h answered HTTP 429", status=429), "The system was busy or down; test again"),
    (SourceInvalid("acme", "GET /x", 200, "has no Date header"), "returns records as its documentation says"),
    (SystemRefused("acme", 401, "no"), "Enter the ID and the secret again"),
    (SystemRefused("acme", 403, "no"), "Grant the credentials access"),
    (SystemRefused("acme", 404, "no"), "Check what follows the host"),
    (SystemRefused("acme", 423, "the shop is locked"), "its reply says why"),
]


@pytest.mark.parametrize("check", ["credentials", "scope", "sample"])
@pytest.mark.parametrize(("error", "hint"), BLAME, ids=lambda given: str(given)[:40])
def test_what_happened_is_blamed_and_not_the_check_that_met_it(check: str, error: HubError, hint: str) -> None:
    """Whatever went wrong, people were sent to their credentials, of a system without any."""
    with RawServer(answer()) as server:
        found = connection_test.run_checks(FakeTest(server.url, {check: error}), allowed=HERE)

    (failed,) = [found_check for found_check in found if found_check.outcome is FAILED]
    assert hint in str(failed.hint)


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

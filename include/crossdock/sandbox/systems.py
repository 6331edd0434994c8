"""The registry of simulated systems: one line for each."""

from pkgutil import resolve_name

from crossdock.sandbox.engine.system import SimulatedSystem

#: Name → its class as `module:class`, so that a process loads only the system it serves.
SYSTEMS = {
    "adyen": "crossdock.sandbox.adyen.platform:FakeAdyen",
    "commercetools": "crossdock.sandbox.commercetools.retailer:FakeRetailer",
    "hubspot": "crossdock.sandbox.hubspot.crm:FakeCrm",
    "stripe": "crossdock.sandbox.stripe.provider:FakeStripe",
    "sendgrid": "crossdock.sandbox.sendgrid.mail_system:FakeMailSystem",
    "smtp": "crossdock.sandbox.smtp.mail_server:FakeMailServer",
    "slack_webhook": "crossdock.sandbox.slack_webhook.workspace:FakeSlack",
    "teams_webhook": "crossdock.sandbox.teams_webhook.flow:FakeTeams",
    "signed_webhook": "crossdock.sandbox.signed_webhook.verifier:FakeReceiver",
}

DEFAULT = "commercetools"


def system_named(name: str) -> type[SimulatedSystem]:
    """
    Load the class of a registered system.

    Raises:
        KeyError: no system has that name.

    """
    system: type[SimulatedSystem] = resolve_name(SYSTEMS[name])
    return system

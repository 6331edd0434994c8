"""The simulated mail systems of the local stack: a mail server and SendGrid, and the integrations that send over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from crossdock.core.ids import NO_PORT, prefixed
from crossdock.core.stack_proof import KEY_VARIABLE
from crossdock.stack import airflow, ports, processes
from crossdock.stack.secrets import Secrets

MAIL_SERVER, SENDGRID = "mail-server", "sendgrid"
#: Process → the ports that it listens on, the one of its control API first.
PORTS: Mapping[str, tuple[str, ...]] = {MAIL_SERVER: (MAIL_SERVER, "smtp"), SENDGRID: (SENDGRID,)}
_SMTP_USER = "sandbox"


def start(name: str, numbers: Mapping[str, int], secrets: Secrets) -> None:
    """Start one of `PORTS`, detached."""
    arguments = {
        MAIL_SERVER: ["--system", "smtp", "--smtp-port", str(numbers["smtp"])],
        SENDGRID: ["--system", "sendgrid"],
    }[name]
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--port", str(numbers[name]), *arguments]
    environment = {
        **airflow.child_environment(),
        KEY_VARIABLE: secrets.stack_key,
        "SANDBOX_SMTP_PASSWORD": secrets.sandbox_client_secret,
        "SANDBOX_SENDGRID_KEY": secrets.sandbox_client_secret,
    }
    processes.start(name, command, environment=environment, port=numbers[name])


def connections(numbers: Mapping[str, int], secrets: Secrets) -> list[dict[str, Any]]:
    """Describe the integrations' connections, as Airflow's API has them."""
    # Both are on this machine; without this, no connection may lead into a network of our own.
    extra = {"allowed_networks": ["127.0.0.0/8"]}
    return [
        {
            "connection_id": prefixed("mail_server"),
            "conn_type": "smtp_relay",
            "host": f"smtp://{ports.LOOPBACK}:{numbers['smtp']}",
            "port": NO_PORT,
            "login": _SMTP_USER,
            "password": secrets.sandbox_client_secret,
            "extra": json.dumps({**extra, "allow_plain": True}),
        },
        {
            "connection_id": prefixed("sendgrid"),
            "conn_type": "sendgrid",
            "host": f"http://{ports.LOOPBACK}:{numbers[SENDGRID]}",
            "port": NO_PORT,
            "password": secrets.sandbox_client_secret,
            "extra": json.dumps(extra),
        },
    ]

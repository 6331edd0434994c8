"""
What a person can do about an error, as each door to the hub says it.

An error's own words are for every door: the command line, REST, a log, the ledger. What to do next is told apart, because
who reads it has either `./hub` or an HTTP client at hand.
"""

from __future__ import annotations

import msgspec


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """`{says}: {command}` on the command line, `{says}: {request}` over REST."""

    #: What comes of it: "Those there are".
    says: str
    #: None where the command line has no verb for it.
    command: str | None = None
    #: Method and path; None where only the machine's own command line can do it.
    request: str | None = None

    @property
    def for_command_line(self) -> str:
        return f"{self.says}: {self.command or self.request}"


LETTERS = Remedy(says="Those there are", command="./hub dead-letters list", request="GET /hub/v1/dead-letters")
ITEMS = Remedy(says="Those there are", command="./hub quarantine list", request="GET /hub/v1/quarantine")
EVENTS = Remedy(says="The newest", command="./hub events tail", request="GET /hub/v1/events")
EVENT_TYPES = Remedy(says="What events have", request="GET /hub/v1/event-types")
REPLAYS = Remedy(says="Those there are", command="./hub events status", request="GET /hub/v1/replays")
RUNS = Remedy(says="The newest ones", command="./hub runs", request="GET /hub/v1/runs")
INTEGRATIONS = Remedy(says="Those there are", command="./hub integration list", request="GET /hub/v1/integrations")
DELIVERY = Remedy(says="Where each reader stands", command="./hub events status", request="GET /hub/v1/delivery")
MIGRATE = Remedy(says="If a migration is missing", command="./hub up")


def look_at_run(run_id: str) -> Remedy:
    return Remedy(says="See that run", command=f"./hub run show {run_id}", request=f"GET /hub/v1/runs/{run_id}")


def look_at_integration(integration_id: str) -> Remedy:
    return Remedy(
        says="Look at it",
        command=f"./hub integration show {integration_id}",
        request=f"GET /hub/v1/integrations/{integration_id}",
    )


def connect_declared(name: str) -> Remedy:
    return Remedy(
        says="Connect it",
        command=f"./hub integration add {name} --kind declared",
        request="POST /hub/v1/integrations",
    )


def rotate(integration_id: str) -> Remedy:
    return Remedy(
        says="Give its credentials again",
        command=f"./hub integration rotate {integration_id}",
        request=f"POST /hub/v1/integrations/{integration_id}/rotate",
    )


def change(integration_id: str) -> Remedy:
    return Remedy(
        says="Set it",
        command=f"./hub integration change {integration_id} --set NAME=VALUE",
        request=f"PATCH /hub/v1/integrations/{integration_id}",
    )


def resume(integration_id: str) -> Remedy:
    return Remedy(
        says="To go on",
        command=f"./hub integration resume {integration_id}",
        request=f"POST /hub/v1/integrations/{integration_id}/resume",
    )


def allow_shrink(entity: str) -> Remedy:
    return Remedy(
        says="If the source really shrank",
        command=f"./hub sync {entity} --full --allow-shrink",
        request=f"POST /api/v2/dags/sync_{entity}/dagRuns with the conf full and allow_shrink",
    )

"""Plan a subscriber: its handler in the `subscribers.py` of its subject, its line in `app/subscribers.py`, and a test."""

from __future__ import annotations

from crossdock.cli.new import dataset_code
from crossdock.cli.new.files import Plan, rendered
from crossdock.core.errors import Conflict

_OF_APP = "include/crossdock/app/subscribers.py"
_FUTURE = "from __future__ import annotations\n"
#: What the handler uses. What the module imports already is merged when the file is formatted.
_IMPORTS = """
from collections.abc import Sequence
import msgspec
from crossdock.commerce.{subject}.schema import {record}
from crossdock.core.errors import BadEvent
from crossdock.core.log import logger
from crossdock.db.database import Work
from crossdock.events.model import Event
"""
_LOG = "log = logger(__name__)\n"


def plan_subscriber(plan: Plan, subject: str, name: str) -> str:
    """
    Plan the subscriber *name* of *subject*; return the folder of its test.

    Raises:
        BadRequest: the subject has no dataset.
        Conflict: there is a subscriber of that name.

    """
    record = dataset_code.record_class(subject)
    handler = "".join(part.capitalize() for part in name.split("_"))
    values = {
        "name": name,
        "subject": subject,
        "dataset": record.schema.name,
        "record": record.__name__,
        "event_type": record.schema.event_type,
        "handler": handler,
        "data": f"_{handler}Data",
    }
    module, tests = f"include/crossdock/commerce/{subject}/subscribers.py", f"tests/commerce/{subject}"
    if not plan.exists(module):
        plan.create(module, f'"""Reactions to events about {subject}."""\n\n{_FUTURE}')
    plan.change(module, lambda text: _with_handler(text, values))
    plan.change(_OF_APP, lambda text: _with_line(text, values))
    plan.create(f"{tests}/test_{name}.py", rendered("subscriber/test_subscriber", values))
    return tests


def _with_handler(module: str, values: dict[str, str]) -> str:
    if f"class {values['handler']}" in module:
        raise Conflict(f"{values['handler']} exists in the subscribers of {values['subject']}. Choose another name")
    imported = module.replace(_FUTURE, _FUTURE + _IMPORTS.format_map(values), 1)
    if _LOG not in imported:
        # After the last import, wherever the formatter moves those that were added.
        head, last, rest = imported.rpartition("\nfrom crossdock.")
        line, _, body = rest.partition("\n")
        imported = f"{head}{last}{line}\n\n{_LOG}{body}"
    return imported + rendered("subscriber/subscriber", values)


def _with_line(module: str, values: dict[str, str]) -> str:
    name, subject, handler = values["name"], values["subject"], values["handler"]
    if f'"{name}":' in module:
        raise Conflict(f"A subscriber {name!r} exists. Choose another name")
    imported = f"from crossdock.commerce.{subject} import subscribers as {subject}_subscribers\n"
    line = (
        f'        "{name}": Subscriber(types={subject}_subscribers.{handler}.handles, '
        f"apply={subject}_subscribers.{handler}().apply),\n"
    )
    head, end, rest = module.replace(_FUTURE, f"{_FUTURE}\n{imported}", 1).rpartition("    }\n")
    return f"{head}{line}{end}{rest}"

"""The services of a process: built once, without opening anything."""

from __future__ import annotations

import subprocess
import sys

from crossdock.app.services import services
from crossdock.app.subscribers import subscribers

_NAMES_ONLY = """
import sys
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
print(*subscribers(services()), *{"airflow", "great_expectations", "pandas", "pyarrow", "fastapi"} & set(sys.modules))
"""


def test_a_process_that_needs_only_the_names_of_subscribers_opens_nothing() -> None:
    """The API and the command line list them. There is no hub here, no connection and no setting."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", _NAMES_ONLY], env={}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == list(subscribers(services()))


def test_a_process_has_its_services_once() -> None:
    """Two of them would keep the same systems open twice."""
    assert services() is services()

"""Fail a step of the demo when a check does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossdock.client.errors import StackError
from crossdock.db.database import Store
from crossdock.sync import records
from crossdock.sync.dataset import Schema


class DemoFailed(StackError):
    """A step found something wrong: a wrong count, a missing record. Never that it took long."""


def expect(truth: bool, otherwise: str, look: str = "") -> None:
    """
    Check that *truth* holds.

    Args:
        truth: What was found.
        otherwise: What is wrong if it does not hold.
        look: The command that shows the record.

    Raises:
        DemoFailed: it does not hold; the message says how to look at the record.

    """
    if not truth:
        raise DemoFailed(f"{otherwise}. To look at it: {look}" if look else otherwise)


def expect_in_hub(
    store: Store, schema: Schema, integration: str, changed: Sequence[dict[str, Any]], look: str = ""
) -> None:
    """
    Expect each change in the hub, whichever run has loaded it: a scheduled one may have come first.

    Raises:
        DemoFailed: a record is missing, or in an older version; as `expect`.

    """
    with store.transaction() as work:
        versions = records.versions(work, schema, integration)
    missing = [row["id"] for row in changed if versions.get(row["id"], 0) < row["version"]]
    expect(
        not missing,
        f"{len(missing)} of {len(changed)} changes of {integration} are not in the hub, such as {missing[:3]}",
        look,
    )

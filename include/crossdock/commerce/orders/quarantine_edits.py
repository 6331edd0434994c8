"""Edit many orders in quarantine at once, by a mapping of their line codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from crossdock.commerce.orders.schema import LINE_KINDS
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.observability import audit
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine.repository import Item


def set_line_kinds(store: Store, items: Sequence[Item], kinds: Mapping[str, str], *, actor: str) -> int:
    """
    Set the kind of each line whose code *kinds* (code → kind) names, and return how many of *items* have such a line.

    Codes are compared in upper case, as the mapping cleanses them. Other records are not changed.

    Raises:
        BadRequest: an unknown kind.

    """
    unknown = sorted(set(kinds.values()) - LINE_KINDS)
    if unknown:
        raise BadRequest(f"Unknown kind of line {unknown[0]!r}. Use one of: {', '.join(sorted(LINE_KINDS))}")
    kind_by_code = {code.strip().upper(): kind for code, kind in kinds.items()}
    edited = 0
    with store.transaction() as work:
        for item in items:
            record = json.loads(item.edited or item.raw)
            if not _set_kinds(record, kind_by_code):
                continue
            quarantine_repository.save_edit(work, item.item_id, json.dumps(record).encode())
            detail = {"kinds": dict(kinds)}
            audit.add(work, actor=actor, act="quarantine.fix", subject=f"quarantine/{item.item_id}", detail=detail)
            edited += 1
    return edited


def _set_kinds(record: Any, kinds: Mapping[str, str]) -> bool:
    """Set the kinds of the lines of *record*; True if a line was changed."""
    is_changed = False
    lines = record.get("lineItems") if isinstance(record, dict) else None
    for line in lines if isinstance(lines, list) else ():
        # The record is in quarantine because it is wrong: any value in it may have the wrong type.
        variant = line.get("variant") if isinstance(line, dict) else None
        code = variant.get("sku") if isinstance(variant, dict) else None
        kind = kinds.get(str(code or "").strip().upper())
        if kind:
            line.setdefault("custom", {}).setdefault("fields", {})["kind"] = kind
            is_changed = True
    return is_changed

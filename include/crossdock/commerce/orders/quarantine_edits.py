"""Edit many orders in quarantine at once, by a rule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from crossdock.commerce.orders.schema import LINE_KINDS
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.observability import audit
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine.repository import Item


def set_line_kinds(store: Store, items: Sequence[Item], kinds: Mapping[str, str], *, actor: str) -> int:
    """
    How many of *items* have a line whose code *kinds* (code → what it is) names, and now say what it is.

    Codes are compared as the mapping cleanses them, in upper case. Other records are left alone.

    Raises:
        BadRequest: a kind that no line has.

    """
    unknown = sorted(set(kinds.values()) - LINE_KINDS)
    if unknown:
        raise BadRequest(f"There is no kind {unknown[0]!r} of line. There are: {', '.join(sorted(LINE_KINDS))}")
    wanted = {code.strip().upper(): kind for code, kind in kinds.items()}
    mended = 0
    with store.transaction() as work:
        for item in items:
            record = json.loads(item.mended or item.raw)
            if not _told_kinds(record, wanted):
                continue
            quarantine.mend(work, item.item_id, json.dumps(record).encode())
            detail = {"kinds": dict(kinds)}
            audit.add(work, actor=actor, act="quarantine.fix", subject=f"quarantine/{item.item_id}", detail=detail)
            mended += 1
    return mended


def _told_kinds(record: Any, kinds: Mapping[str, str]) -> bool:
    """Whether *record* had a line to which a kind was written."""
    told = False
    lines = record.get("lineItems") if isinstance(record, dict) else None
    for line in lines if isinstance(lines, list) else ():
        # A record is here because it is wrong: nothing in it need be what it should.
        variant = line.get("variant") if isinstance(line, dict) else None
        code = variant.get("sku") if isinstance(variant, dict) else None
        kind = kinds.get(str(code or "").strip().upper())
        if kind:
            line.setdefault("custom", {}).setdefault("fields", {})["kind"] = kind
            told = True
    return told

"""What each fault did to a stack under load, and the tables made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from crossdock.bench.report import markdown_table
from crossdock.core.decoding import prepare

#: A cell without a value.
_NONE = "\N{EN DASH}"


_BY_HAND = "¹ Measured by hand at commit {}, under about the same load; nobody measured when the last process was back."


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a command said while the fault lasted."""

    command: str
    #: Seconds from the fault to the start of the command.
    at_s: float
    #: None when it gave no answer in time.
    exit_code: int | None
    #: The parts that it named, with its words.
    words: tuple[str, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: seconds from its beginning; None where it did not happen before a person helped."""

    name: str
    what: str
    #: Until webhooks were taken again; 0 where none was refused.
    webhook_s: float | None
    #: Until a change made since was in the hub.
    record_s: float | None
    #: Until a sync that began since had ended well.
    sync_s: float | None
    #: Until every process of the stack ran and was healthy.
    whole_s: float | None
    #: None where the fault is a command that a person gave.
    by_itself: bool | None
    #: What a person did, in order.
    help: tuple[str, ...] = ()
    #: Until all of it worked again, with the help.
    helped_s: float | None = None
    #: Webhooks that were acknowledged, and changes at the source, from the fault to the end.
    acknowledged: int = 0
    refused: int = 0
    changes: int = 0
    #: Acknowledged webhooks that are not stored, and changes that are not in the hub at the end.
    lost: int = 0
    #: Versions of a record whose change was published twice.
    doubled: int = 0
    dead_letters: int = 0
    #: Syncs that ended as failed in Airflow; the next one reads what they did not.
    failed_runs: int = 0
    said: tuple[Said, ...] = ()
    #: Kinds and subjects of the alerts that opened.
    alerts: tuple[str, ...] = ()
    #: Processes that wanted the machine's cores at the same time, the other programs' included.
    load_average: float = 0
    #: Of an earlier measurement by hand: its commit.
    by_hand: str = ""
    #: Why it could not be measured.
    skipped: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one state of the code."""

    commit: str
    measured_at: str
    machine: str
    #: How long it was watched before a person helped.
    patience_s: float
    took_s: float = 0
    rows: tuple[Row, ...] = ()

    def with_row(self, row: Row, took_s: float) -> Measured:
        """Replace the row of that name, or add it."""
        names = [known.name for known in self.rows]
        rows = [row if known.name == row.name else known for known in self.rows]
        both = rows if row.name in names else [*rows, row]
        return msgspec.structs.replace(self, rows=tuple(both), took_s=self.took_s + took_s)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


prepare(Measured)


def page_part(before: Measured | None, after: Measured | None, order: Sequence[str]) -> str:
    """Write the generated part of docs/reliability.md: fault, before, after, and what was said."""
    old, new = _by_name(before), _by_name(after)
    # What is known of a fault: by the newest measurement.
    found = {**old, **new}
    names = [name for name in order if name in found]
    each = ["by itself", "lost / doubled / dead letters"]
    head = ["fault", "before", *each, "now", *each]
    rows = [
        [
            found[name].what,
            *(cell(row) for row in (old.get(name), new.get(name)) for cell in (_seconds, _by_itself, _counts)),
        ]
        for name in names
    ]
    said = [
        [found[name].what, *(_words(new.get(name), of) for of in ("status", "doctor")), _alerts(new.get(name))]
        for name in names
    ]
    parts = [
        *[_origin(when, measured) for when, measured in (("Before", before), ("Now", after)) if measured],
        *[_BY_HAND.format(row.by_hand) for row in list(old.values()) if row.by_hand][:1],
        markdown_table(head, rows),
        "### What was said meanwhile",
        markdown_table(["fault", "`status`", "`doctor`", "alerts"], said),
    ]
    return "\n\n".join(parts)


def _by_name(measured: Measured | None) -> Mapping[str, Row]:
    return {row.name: row for row in measured.rows} if measured else {}


def _origin(when: str, measured: Measured) -> str:
    busy = [row.load_average for row in measured.rows if row.load_average]
    took = f" in {measured.took_s / 60:.0f} minutes" if measured.took_s else ""
    loaded = f" (load average {min(busy):.0f} to {max(busy):.0f})" if busy else ""
    return (
        f"{when}: commit {measured.commit}, measured {measured.measured_at} on {measured.machine}{loaded}; {len(measured.rows)} "
        f"faults{took}; a person helped after {measured.patience_s:.0f} s."
    )


def _seconds(row: Row | None) -> str:
    if row is None or row.skipped:
        return row.skipped if row else _NONE
    shown: tuple[float | None, ...] = (row.webhook_s, row.record_s, row.sync_s, row.whole_s)
    # By hand nobody measured when the last process was back.
    shown = shown[:3] if row.by_hand else shown
    mark = " ¹" if row.by_hand else ""
    return " / ".join(_NONE if seconds is None else f"{seconds:.0f}" for seconds in shown) + mark


def _by_itself(row: Row | None) -> str:
    if row is None or row.skipped:
        return _NONE
    if row.by_itself is None:
        return f"`{', then '.join(row.help)}` ({_whole(row.helped_s)})" if row.help else _NONE
    if row.by_itself:
        return "yes"
    end = _whole(row.helped_s) if row.helped_s or not row.by_hand else "not measured"
    return f"**no**: {', then '.join(row.help)} ({end})"


def _whole(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"


def _counts(row: Row | None) -> str:
    if row is None or row.skipped:
        return _NONE
    made = row.acknowledged + row.changes
    return f"{row.lost}{f' of {made}' if made else ''} / {row.doubled} / {row.dead_letters}"


def _words(row: Row | None, command: str) -> str:
    found = [said for said in row.said if said.command == command] if row else []
    texts = []
    for said in found:
        code = "no answer" if said.exit_code is None else f"exit {said.exit_code}"
        texts.append(f"after {said.at_s:.0f} s {code}" + (f": {'; '.join(said.words)}" if said.words else ""))
    return _cell(" · ".join(texts)) or _NONE


def _alerts(row: Row | None) -> str:
    return _cell(", ".join(row.alerts)) if row and row.alerts else _NONE


def _cell(text: str) -> str:
    """Keep a cell on one line, and within its column."""
    return " ".join(text.replace("|", "/").split())

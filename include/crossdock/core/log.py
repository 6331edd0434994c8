"""The loggers of the hub: each of their lines is one line, whatever came from outside."""

from __future__ import annotations

import logging

from crossdock.core.printable import printable, printable_lines


def logger(name: str) -> logging.Logger:
    """Get the logger of the module *name*."""
    found = logging.getLogger(name)
    found.addFilter(_PRINTABLE)
    return found


class _Printable(logging.Filter):
    """
    Makes a record printable before any handler has it, ours or Airflow's.

    A message of a source must not begin a line of its own in a log, nor reach a terminal that shows it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = printable(record.getMessage()), ()
        except Exception:  # noqa: BLE001  arguments that do not fit: the handler reports them, and nothing fails for a log line
            return True
        if record.exc_info and not record.exc_text:
            record.exc_text = printable_lines(_FORMATTER.formatException(record.exc_info))
        return True


_FORMATTER = logging.Formatter()
#: One for all, so that a logger has it once.
_PRINTABLE = _Printable()

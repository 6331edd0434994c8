"""
The engine of every sync: extract → validate → load.

A sync consists of a `Stream` (`stream`) and these three functions; only the run's id travels
between them, so each can be retried separately. `replay` loads records out of quarantine in the same way.
"""

from crossdock.sync.extract import extract
from crossdock.sync.failure import mark_failed
from crossdock.sync.load import load
from crossdock.sync.replay import replay
from crossdock.sync.stream import Stream, Systems
from crossdock.sync.validate import validate

__all__ = ["Stream", "Systems", "extract", "load", "mark_failed", "replay", "validate"]

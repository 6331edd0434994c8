"""Limits that settings and engines share."""

#: Into how many shards one sync may be divided, one for each worker.
MAX_SHARDS = 16

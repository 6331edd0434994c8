"""Limits that settings and engines share."""

#: Among how many workers one sync may be shared.
MAX_SHARDS = 16

"""
The hub's memory: all SQL, and the files that pages land in.

`database` opens transactions; the other modules are one table each and take the open transaction
(`work`) as their first argument, so that a flow decides what is committed together.
"""

"""
The event engine: store, delivery, dead letters, replay, webhooks.

Importing it makes each connection check the store's epoch: all code that reads or writes events has imported it.
"""

from crossdock.db.database import on_connect
from crossdock.events.epochs import begin_where_moved

on_connect(begin_where_moved)

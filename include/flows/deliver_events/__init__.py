"""
Every event to every subscriber: at least once, with one effect, in order per key.

`deliver` lives for minutes under a continuous DAG, one beside the other; a lease says which of them reads
which key partition, so that one that dies is replaced in seconds, whatever Airflow knows of it by then.
"""

from include.flows.deliver_events.housekeeping import Rules
from include.flows.deliver_events.partition import Pace
from include.flows.deliver_events.reader import Place
from include.flows.deliver_events.worker import Delivered, deliver

__all__ = ["Delivered", "Pace", "Place", "Rules", "deliver"]

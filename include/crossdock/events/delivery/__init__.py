"""
Every event to every subscriber: at least once, with one effect, in order per key.

`deliver` lives for minutes under a continuous DAG, one beside the other; a lease says which of them reads
which key partition, so that one that dies is replaced in seconds, whatever Airflow knows of it by then.
"""

from crossdock.events.delivery.consumer import Place
from crossdock.events.delivery.partition import Pace
from crossdock.events.delivery.worker import Background, Delivered, deliver

__all__ = ["Background", "Delivered", "Pace", "Place", "deliver"]

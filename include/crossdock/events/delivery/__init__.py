"""
Deliver every event to every subscriber: at least once, with one effect, in order per key.

`deliver` runs for minutes under a continuous DAG, several workers beside each other. A lease says which worker reads
which key partition, so that a worker that dies is replaced within seconds, before Airflow notices.
"""

from crossdock.events.delivery.consumer import PartitionAssignment
from crossdock.events.delivery.partition import PollingConfig
from crossdock.events.delivery.worker import Background, DeliveryReport, deliver

__all__ = ["Background", "DeliveryReport", "PartitionAssignment", "PollingConfig", "deliver"]

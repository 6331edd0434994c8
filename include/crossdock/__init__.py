"""Crossdock: a commerce integration hub on Apache Airflow."""

import time

__version__ = "0.1.0"
#: When this process began to load the hub's code. A forked process has it from its parent, as it has the code.
LOADED_AT = time.time()

"""Paths of the hub's and Airflow's APIs, as those of any other API."""

from crossdock.core.paths import path_of

__all__ = ["path_of"]

"""Crossdock: a commerce integration hub on Apache Airflow."""

__version__ = "0.1.0"

"""Clients of the HTTP APIs of Airflow, the hub and the sandbox."""

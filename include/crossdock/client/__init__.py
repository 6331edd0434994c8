"""The HTTP APIs of Airflow, the hub and the sandbox, as seen from outside."""

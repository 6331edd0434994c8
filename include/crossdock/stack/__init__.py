"""The local stack: two PostgreSQL servers, the sandbox and a whole Airflow, on loopback, without Docker or root."""

"""
The hub's REST API, inside Airflow's api-server under `/hub`.

`app` puts the parts together, `access` maps Airflow's roles to ours, `problems` turns errors into answers, and each
resource is one module. All of Airflow's processes import this room: it must stay light.
"""

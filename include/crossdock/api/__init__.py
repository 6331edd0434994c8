"""
The questions that the hub answers over HTTP, inside Airflow's api-server under `/hub`.

`app` puts the parts together; `access` says who may ask what; `problems` is every answer that is not what
was asked for. One module a resource. All of Airflow's processes import this room: it must stay light.
"""

"""
What a person does with an integration: add, change, test, rotate, pause, resume, remove (`desk`).

Each is a story of three rooms: the connector's schema and test (`connectors`), Airflow's connections (a
`ConnectionBook`, which the API hands in), the registry with its audit trail (`store`). what a sync
asks of it is `registered`.
"""

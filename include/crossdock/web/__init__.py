"""
The hub's pages in Airflow's UI, under `/hub/pages`.

`app` puts them together, `page` renders, `forms` reads what a person sent and refuses what was not sent by one of our pages, and
each subject is one module with a template of its name. A page calls the same use cases as the API's routes, under the same guards.
"""

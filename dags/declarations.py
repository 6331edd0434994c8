"""
Show the mistakes of the declarations in `dags/integrations` as an import error. Defines no DAG.

The DAGs of declared integrations are in other files: a mistake here takes none of them away, and the last valid version of a
declaration keeps running.
"""

from crossdock.app.airflow.declaration_errors import raise_mistakes

# Airflow skips a file that has not both of the words "airflow" and "dag".
raise_mistakes()

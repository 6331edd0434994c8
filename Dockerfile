# The image of every Crossdock process. Why not apache/airflow: docs/decisions/, "the image is built from our own lock".
# For Astro this file is replaced by one line: docs/how-to/deploy.md.
FROM python:3.12.12-slim-bookworm

ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/crossdock

# The packages first: they change seldom, and their layer is the slow one.
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary=:all: --requirement requirements.lock

# A named volume takes its owner from the folder that it covers: without these it would be root's.
RUN useradd --uid 50000 --create-home crossdock \
    && mkdir -p /opt/airflow/config /opt/airflow/logs /opt/airflow/private /var/lib/crossdock \
    # Great Expectations is loaded once, before the worker forks: include/crossdock/app/airflow/warm_up.py.
    && echo "from crossdock.app.airflow.warm_up import *  # noqa" > /opt/airflow/config/airflow_local_settings.py \
    && chown -R crossdock:crossdock /opt/airflow /var/lib/crossdock

# Our own package, built by what the lock has already installed: nothing is fetched.
COPY pyproject.toml ./
COPY include include
RUN pip install --no-deps --no-build-isolation --no-index .

COPY airflow_settings.yaml ./
COPY plugins plugins
COPY dags dags
RUN python -m compileall -q dags

USER 50000:50000

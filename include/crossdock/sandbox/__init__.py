r"""
Simulated systems that speak the HTTP APIs of real ones offline, with faults on demand.

The sandbox imports no other room. It listens on the loopback interface only.

    SANDBOX_CLIENT_SECRET=secret python -m crossdock.sandbox --port 8090 --inventory 1000

    python -m crossdock.sandbox --port 8090 --dataset online_retail_2010.parquet

Get a token, and a page of inventory with it:

    curl -s -u sandbox:secret -d grant_type=client_credentials http://127.0.0.1:8090/oauth/token
    curl -s -H "Authorization: Bearer $TOKEN" -G http://127.0.0.1:8090/demo/inventory -d limit=2 \
         --data-urlencode 'where=lastModifiedAt > "2026-03-01T00:00:00.000Z"' --data-urlencode 'sort=lastModifiedAt asc'

Put two faults on the next requests, and read the log afterwards:

    curl -s -X PUT http://127.0.0.1:8090/_sandbox/faults \
         -d '{"route": "inventory", "script": [{"status": 429, "retry_after": 2}, {"truncate": 0.6}]}'
    curl -s http://127.0.0.1:8090/_sandbox/requests

The control API needs no token: `/_sandbox/faults` (PUT, GET, DELETE; see `engine/faults.py`), `/_sandbox/requests`
(GET `?after=n`, DELETE), and `/_sandbox` itself, which describes the system. Each system adds routes of its own.

`engine/` is what every system runs on. It knows none of them. Each system has a folder with a class derived from
`engine.system.SimulatedSystem`, and one line in `systems.py`, by which `--system NAME` finds it. The folder's
docstring describes the system; `commercetools/` is the default.
"""

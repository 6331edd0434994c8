"""
The pretend world: an offline retailer that speaks the commercetools HTTP API, with faults on demand.

It imports none of the other rooms, listens on the loopback interface only, and makes its data from a seed, or
from a file with the lines of a real shop's invoices.

    SANDBOX_CLIENT_SECRET=secret python -m crossdock.sandbox --port 8090 --inventory 1000

    python -m crossdock.sandbox --port 8090 --dataset online_retail_2010.parquet

A token, and a page of inventory with it:

    curl -s -u sandbox:secret -d grant_type=client_credentials http://127.0.0.1:8090/oauth/token
    curl -s -H "Authorization: Bearer $TOKEN" -G http://127.0.0.1:8090/demo/inventory -d limit=2 \
         --data-urlencode 'where=lastModifiedAt > "2026-03-01T00:00:00.000Z"' --data-urlencode 'sort=lastModifiedAt asc'

Two faults for the next requests, the log afterwards:

    curl -s -X PUT http://127.0.0.1:8090/_sandbox/faults \
         -d '{"route": "inventory", "script": [{"status": 429, "retry_after": 2}, {"truncate": 0.6}]}'
    curl -s http://127.0.0.1:8090/_sandbox/requests

The retailer: `POST /oauth/token`, and under `/{project}`: `inventory`, `product-projections`, `products`,
`orders`, `customers`, each as a list (`where`, `var.x`, `sort`, `limit`, `offset`, `withTotal`), by id and by
`key=` (orders: `order-number=`); updates with `version` and `actions`, `DELETE ?version=`, `POST /inventory`;
`POST graphql` for reading `inventoryEntries`, `products` and `orders`.

The control, without a token: `/_sandbox/faults` (PUT, GET, DELETE; what there is: `faults.py`),
`/_sandbox/requests` (GET `?after=n`, DELETE), `/_sandbox/life` (POST, DELETE), `/_sandbox/checksum/{entity}`,
`/_sandbox/flaws/{entity}`, `/_sandbox/resource/{entity}/{id}` (GET, PATCH), `/_sandbox/tokens` (GET, PUT, DELETE),
`/_sandbox/reset` (POST), and `/_sandbox` itself, which says how large the shop is.

With `--dataset` (in process: `Sandbox(dataset=Path(…))`) every line of the file is a line of exactly one order, as
dirty as it comes; what the vendor asks for and the file does not know (stock, e-mail addresses) is derived, and says
so in `custom.fields`. The rules are in `data/retail.py`. Sentences about the loading go to standard error.

Reading on: `world.py` holds the state, `data/` makes it, `dataset.py` reads a real one, `shelf.py` finds pages in it, `predicates.py` is the query
language, `api.py` the vendor's routes, `control.py` ours, `server.py` the socket.
"""

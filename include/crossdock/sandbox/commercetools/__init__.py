"""
A fake retailer that speaks the commercetools HTTP API, from generated data or from the lines of real invoices.

Under `/{project}`: `inventory`, `product-projections`, `products`, `orders` and `customers`, each as a list (`where`,
`var.x`, `sort`, `limit`, `offset`, `withTotal`), by ID and by `key=` (orders: `order-number=`); updates with `version`
and `actions`, `DELETE ?version=`, `POST /inventory`; `POST graphql` reads `inventoryEntries`, `products` and `orders`.
Tokens come from `POST /oauth/token`.

Its own control routes: `/_sandbox/life` (POST, DELETE), `/_sandbox/checksum/{entity}`, `/_sandbox/flaws/{entity}`,
`/_sandbox/resource/{entity}/{id}` (GET, PATCH), `/_sandbox/tokens` (GET, PUT, DELETE), `/_sandbox/clock` (PUT) and `/_sandbox/reset` (POST).

With a dataset every line of the file is a line of exactly one order, uncleaned; what the vendor requires and the file
does not have (stock, e-mail addresses) is derived, and `custom.fields` says so. The rules are in
`data/from_invoices.py`.

Where to read on: `retailer.py` puts the parts together. `state.py` holds the data, `data/` generates it, `dataset.py`
reads a file, `collection.py` finds pages, `predicates.py` is the query language, `routes.py` has the vendor's routes
and `control.py` ours.
"""

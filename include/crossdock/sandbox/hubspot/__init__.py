"""
A simulated CRM with the shape of HubSpot's API for CRM objects (v3): contacts, read and written with a private app's token.

Under `/crm/v3/objects/contacts`: list, create, get and update by ID or by `idProperty`, `batch/read`, `batch/upsert`,
`search` and `merge`; `/crm/v3/properties/contacts/{name}` describes a property.

It has no idempotency keys. E-mail addresses and the property `customer_number` are unique. A search sees a change only
after `search_lag_s`; a read sees it at once. `state.ledger` lists every effect, for tests.

Where to read on: `crm.py` has the routes, `state.py` the data and their rules, `batches.py` and `search.py` the calls for
many contacts, `properties.py` the properties that a contact may have, and `contacts.py` generates the contacts.
"""

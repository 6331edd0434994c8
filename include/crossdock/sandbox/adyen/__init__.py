"""
A simulated payment platform with the shape of Adyen's Checkout API v71: payments with stored methods, captures, cancels, refunds.

Its stored methods (`stored_methods.py`) say by their name what becomes of a payment. As at the vendor no payment can be
read: outcomes come by signed webhooks, which wait until they are given a URL. What really happened is in the ledger of the
control API.

    python -m crossdock.sandbox --system adyen --port 8092
    curl -s -X PUT http://127.0.0.1:8092/_sandbox/webhooks -d '{"url": "http://127.0.0.1:8080/hub/v1/webhooks/adyen"}'
    curl -s http://127.0.0.1:8092/_sandbox/ledger
"""

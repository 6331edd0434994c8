"""
A simulated payment provider with the shape of Stripe's API: payment intents, refunds, charges, disputes and events.

    SANDBOX_STRIPE_KEY=sk_test_sandbox python -m crossdock.sandbox --system stripe --port 8092

It takes the test payment methods that the vendor documents (`payment_methods.py`), treats idempotency keys as the vendor
does (`idempotency.py`), and sends signed webhooks (`webhooks.py`). What money moved is in its ledger, which only the
control API shows: `GET /_sandbox/ledger`. The other control routes are in `control.py`.
"""

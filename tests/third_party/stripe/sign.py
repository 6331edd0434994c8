"""Run by the SDK's own Python: sign the bodies on standard input as the SDK does. The secret comes from SANDBOX_STRIPE_SECRET."""

import json
import os
import sys
import time

import stripe

at = int(time.time())


def signed(body: str) -> str:
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{body}", os.environ["SANDBOX_STRIPE_SECRET"])
    return f"t={at},{stripe.WebhookSignature.EXPECTED_SCHEME}={signature}"


json.dump([signed(body) for body in json.load(sys.stdin)], sys.stdout)

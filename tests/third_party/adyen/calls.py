"""
Run by the SDK's own Python, never by ours: every call that the connector makes, as the vendor's own client makes it.

Takes the sandbox's address and the merchant account; the API key comes from SANDBOX_ADYEN_API_KEY, the webhooks' key from
SANDBOX_ADYEN_HMAC_KEY. Writes what it was answered as one JSON document.
"""

import json
import os
import sys
import urllib.request
from typing import Any

import Adyen
from Adyen.exceptions import AdyenError
from Adyen.util import generate_notification_sig, is_valid_hmac_notification

url, account = sys.argv[1:]
hmac_key = os.environ["SANDBOX_ADYEN_HMAC_KEY"]
adyen = Adyen.Adyen()
adyen.client.xapikey = os.environ["SANDBOX_ADYEN_API_KEY"]
adyen.client.platform = "test"
payments, modifications = adyen.checkout.payments_api, adyen.checkout.modifications_api
payments.baseUrl = modifications.baseUrl = f"{url}/v71"


def answer(result: Any) -> dict[str, Any]:
    """What the SDK made of an answer: its status, the reference it found, and the message."""
    return {"status": result.status_code, "psp": result.psp, "message": result.message}


def pay(method: str, reference: str, key: str, **changed: Any) -> dict[str, Any]:
    request = {
        "merchantAccount": account,
        "amount": {"value": 1999, "currency": "EUR"},
        "reference": reference,
        "paymentMethod": {"type": "scheme", "storedPaymentMethodId": method},
        "shopperReference": "customer-1",
        "shopperInteraction": "ContAuth",
        "recurringProcessingModel": "CardOnFile",
        "returnUrl": "https://shop.example.com/checkout",
        "additionalData": {"manualCapture": "true"},
        **changed,
    }
    return answer(payments.payments(request, idempotency_key=key))


def refused(call: Any, *arguments: Any, **options: Any) -> list[Any]:
    """How the SDK understands a refusal."""
    try:
        call(*arguments, **options)
    except AdyenError as error:
        return [type(error).__name__, getattr(error, "status_code", None), getattr(error, "error_code", None)]
    return ["nothing"]


document: dict[str, Any] = {}
methods = "stored_authorised stored_refused_balance stored_refused_fraud stored_error stored_redirect stored_challenge stored_pending"
for method in methods.split():
    document[method] = pay(method, f"order-{method}", f"key-{method}")
document["again"] = pay("stored_authorised", "order-stored_authorised", "key-stored_authorised")

redirected = {"details": {"redirectResult": document["stored_redirect"]["psp"]}}
document["finish"] = answer(payments.payments_details(redirected, idempotency_key="key-finish"))

psp = document["stored_authorised"]["psp"]
part = {"merchantAccount": account, "amount": {"value": 1200, "currency": "EUR"}, "reference": "part-1"}
document["capture"] = answer(modifications.capture_authorised_payment(part, psp, idempotency_key="key-capture"))
document["refund"] = answer(modifications.refund_captured_payment(part, psp, idempotency_key="key-refund"))
other = pay("stored_authorised", "order-2", "key-2")["psp"]
void = {"merchantAccount": account, "reference": "void-1"}
document["void"] = answer(
    modifications.cancel_authorised_payment_by_psp_reference(void, other, idempotency_key="key-void")
)
document["methods"] = answer(payments.payment_methods({"merchantAccount": account}))

document["no such payment"] = refused(modifications.capture_authorised_payment, part, "NOSUCHPAYMENT123")
document["wrong account"] = refused(payments.payment_methods, {"merchantAccount": "AnotherECOM"})
document["invalid"] = refused(pay, "stored_authorised", "order-3", "key-3", amount={"value": -1, "currency": "EUR"})
adyen.client.xapikey = "guess"
document["wrong key"] = refused(payments.payment_methods, {"merchantAccount": account})

with urllib.request.urlopen(f"{url}/_sandbox/webhooks") as response:  # noqa: S310  loopback
    items = [sending["item"] for sending in json.load(response)["items"]]
notifications = [{"live": "false", "notificationItems": [{"NotificationRequestItem": item}]} for item in items]
document["webhooks"] = [[item["eventCode"], item["success"]] for item in items]
document["verified"] = [is_valid_hmac_notification(notification, hmac_key) for notification in notifications]
forged = json.loads(json.dumps(notifications[0]))
forged["notificationItems"][0]["NotificationRequestItem"]["amount"]["value"] += 1
document["forged is verified"] = is_valid_hmac_notification(forged, hmac_key)

own = {
    "pspReference": "7914073381342284",
    "originalReference": "",
    "merchantAccountCode": account,
    "merchantReference": "Bestellung Nr. 7: ä\\",
    "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "AUTHORISATION",
    "success": "true",
}
own["additionalData"] = {"hmacSignature": generate_notification_sig(own, hmac_key).decode()}
document["signed by the SDK"] = {"live": "false", "notificationItems": [{"NotificationRequestItem": own}]}

json.dump(document, sys.stdout)
